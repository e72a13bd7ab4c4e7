use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Lines;
use super::record::{self, End, Placed, Record, Seen};

const BEGINS: &str = "spill-";
const DAMAGED: &str = "damaged";

/// A file of batches.
pub(super) struct Segment {
    pub(super) number: u64,
    /// Who wrote it.
    pub(super) node: String,
    /// Its whole records.
    pub(super) length: u64,
    /// Batches that wait.
    pub(super) waiting: usize,
    path: PathBuf,
    file: Arc<File>,
    /// It is kept for whoever wants to know.
    is_damaged: bool,
}

/// What an earlier process has written.
pub(super) struct Opened {
    /// `None`: nothing is in it.
    pub(super) segment: Option<Segment>,
    pub(super) records: Vec<Placed>,
    /// Events that can't be read any more, as far as that can be told.
    pub(super) lost: usize,
}

/// All in a directory, in their order.
pub(super) fn all_in(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix(BEGINS)?.parse().ok());
        all.extend(number.map(|number| (number, entry.path())));
    }
    all.sort_unstable();
    Ok(all)
}

impl Segment {
    pub(super) fn create(directory: &Path, number: u64, node: &str, first_line: &str) -> io::Result<Self> {
        let path = directory.join(format!("{BEGINS}{number:012}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all_at(first_line.as_bytes(), 0) {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self {
            number,
            node: node.to_owned(),
            length: first_line.len() as u64,
            waiting: 0,
            path,
            file: Arc::new(file),
            is_damaged: false,
        })
    }

    /// One that an earlier process has written.
    pub(super) fn open(number: u64, path: PathBuf) -> io::Result<Opened> {
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        let mut records = Vec::new();
        let Seen { node, length, end, lost } = record::read(&file, |record| records.push(record))?;
        let unread = size.saturating_sub(length);
        match end {
            End::Whole => {}
            End::Torn => tracing::warn!(
                file = %path.display(),
                unread,
                "the last events of the audit before this process was killed are not whole"
            ),
            End::Damaged => tracing::error!(
                file = %path.display(),
                unread,
                lost,
                "events of the audit that waited on disk are damaged and lost; the file is kept"
            ),
        }
        let waiting = records.iter().filter(|placed| matches!(placed.record, Record::Batch { .. })).count();
        let (is_damaged, has_node) = (end == End::Damaged, node.is_some());
        let (node, file) = (node.unwrap_or_default(), Arc::new(file));
        let segment = Self { number, node, length, waiting, path, file, is_damaged };
        if has_node {
            return Ok(Opened { segment: Some(segment), records, lost });
        }
        segment.remove();
        Ok(Opened { segment: None, records, lost })
    }

    /// Writes at the end: where. Otherwise why not, and whether the segment is as it was before.
    pub(super) fn append(&mut self, bytes: &[u8], is_batch: bool) -> Result<u64, (io::Error, bool)> {
        let place = self.length;
        match self.file.write_all_at(bytes, place) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                self.waiting += usize::from(is_batch);
                Ok(place)
            }
            Err(error) => Err((error, self.file.set_len(place).is_ok())),
        }
    }

    /// The lines that lie there, as far as they are what was written.
    pub(super) fn read(&self, place: u64, length: usize) -> io::Result<Lines> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, place)?;
        Ok(record::lines_of(&bytes))
    }

    /// For whoever syncs it.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// The store has all of it. What is damaged gets another name.
    pub(super) fn remove(&self) {
        let done = if self.is_damaged {
            let random = u64::from_be_bytes(crate::clock::random().unwrap_or_default());
            std::fs::rename(&self.path, self.path.with_extension(format!("{DAMAGED}-{random:016x}")))
        } else {
            std::fs::remove_file(&self.path)
        };
        if let Err(error) = done {
            tracing::warn!(%error, file = %self.path.display(), "a file of events that the store has can't be removed");
        }
    }
}
