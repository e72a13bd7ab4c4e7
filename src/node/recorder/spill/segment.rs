use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::record::{self, End, Placed, Record};

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
    file: File,
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
        Ok(Self { number, node: node.to_owned(), length: first_line.len() as u64, waiting: 0, path, file })
    }

    /// One that an earlier process has written, with its records. `None`: nothing is in it.
    pub(super) fn open(number: u64, path: PathBuf) -> io::Result<Option<(Self, Vec<Placed>)>> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let size = file.metadata()?.len();
        let mut records = Vec::new();
        let (node, length, end) = record::read(&file, |record| records.push(record))?;
        let unread = size.saturating_sub(length);
        let mut at = path;
        match end {
            End::Whole => {}
            End::Torn => tracing::warn!(
                file = %at.display(),
                unread,
                "the last events of the audit before this process was killed are not whole"
            ),
            End::Damaged => {
                // Kept for whoever wants to know. It is renamed before anything is sent, and never read again.
                let aside = at.with_extension(DAMAGED);
                std::fs::copy(&at, &aside)?;
                tracing::error!(
                    file = %aside.display(),
                    unread,
                    "events of the audit that waited on disk are damaged: those after the damage are lost, and the file is kept"
                );
            }
        }
        let Some(node) = node else {
            std::fs::remove_file(&at)?;
            return Ok(None);
        };
        if end == End::Damaged {
            // What was read is not told of twice.
            file.set_len(length)?;
        }
        let waiting = records.iter().filter(|placed| matches!(placed.record, Record::Batch { .. })).count();
        let path = std::mem::take(&mut at);
        Ok(Some((Self { number, node, length, waiting, path, file }, records)))
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

    pub(super) fn read(&self, place: u64, length: usize) -> io::Result<String> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, place)?;
        let lines = record::lines_of(&bytes).ok_or_else(|| io::Error::other("they are not what was written"))?;
        Ok(lines.to_owned())
    }

    pub(super) fn sync(&self) {
        if let Err(error) = self.file.sync_data() {
            tracing::debug!(%error, "events of the audit that wait are not on disk yet");
        }
    }

    pub(super) fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, file = %self.path.display(), "a file of events that the store has can't be removed");
        }
    }
}
