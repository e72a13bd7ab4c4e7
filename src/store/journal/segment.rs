//! The files that the entries are in.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::entry::{self, Noted};
use super::{JournalError, lock, unusable};

const SEGMENT: &str = "changes-";
const COMPACTED: &str = "compacted-";

/// The longest line: whoever wrote a longer one was not us.
const LINE: u64 = 1024 * 1024;

/// A file, and its place among them.
#[derive(Debug, Clone)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Lines say where they were noted; else that is where they stand.
    is_compacted: bool,
    /// Nothing comes after it: whoever writes it may be killed in the middle of a line.
    is_last: bool,
}

/// All of a journal.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// What stays of all segments up to its number, sorted by what it is about.
    pub(super) compacted: Option<SegmentFile>,
    /// Those after that, the oldest first.
    pub(super) segments: Vec<SegmentFile>,
    /// What is in the compacted file.
    pub(super) replaced: Vec<PathBuf>,
}

impl Files {
    /// The number of the segment that comes next.
    pub(super) fn next(&self) -> u64 {
        self.segments.last().or(self.compacted.as_ref()).map_or(1, |last| last.number + 1)
    }

    /// Whether all are there that come before the last. Looked at where nobody removes any.
    pub(super) fn are_whole(&self, directory: &Path) -> Result<(), JournalError> {
        let first = self.compacted.as_ref().map_or(1, |compacted| compacted.number + 1);
        match (first..).zip(&self.segments).find(|(number, segment)| segment.number != *number) {
            Some((number, _)) => Err(JournalError::Missing { path: path_of(directory, number) }),
            None => Ok(()),
        }
    }
}

impl SegmentFile {
    /// Sorted lines that say where they were noted.
    pub(super) fn sorted(path: PathBuf, number: u64) -> Self {
        Self { number, path, is_compacted: true, is_last: false }
    }

    pub(super) fn length(&self) -> Result<u64, JournalError> {
        std::fs::metadata(&self.path).map(|there| there.len()).map_err(unusable(&self.path))
    }
}

pub(super) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{SEGMENT}{number:012}"))
}

pub(super) fn compacted_path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{COMPACTED}{number:012}"))
}

/// What there is. Whoever reads it holds [`lock::files`].
pub(super) fn all_in(directory: &Path) -> Result<Files, JournalError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Files::default()),
        entries => entries.map_err(unusable(directory))?,
    };
    let (mut compacted, mut segments) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.map_err(unusable(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = |begins: &str| name.strip_prefix(begins)?.parse::<u64>().ok();
        if let Some(number) = number(COMPACTED) {
            compacted.push(SegmentFile::sorted(path, number));
        } else if let Some(number) = number(SEGMENT) {
            segments.push(SegmentFile { number, path, is_compacted: false, is_last: false });
        }
    }
    compacted.sort_unstable_by_key(|file| file.number);
    segments.sort_unstable_by_key(|file| file.number);
    let latest = compacted.pop();
    let through = latest.as_ref().map_or(0, |latest| latest.number);
    let later = segments.split_off(segments.partition_point(|file| file.number <= through));
    let replaced = compacted.into_iter().chain(segments).map(|file| file.path).collect();
    let mut files = Files { compacted: latest, segments: later, replaced };
    if let Some(last) = files.segments.last_mut() {
        last.is_last = true;
    }
    Ok(files)
}

/// Each file, the latest first, until there is enough. All of it stands still meanwhile; others can write once the last segment is read.
pub(super) fn backwards(
    directory: &Path,
    mut each: impl FnMut(&SegmentFile) -> Result<ControlFlow<()>, JournalError>,
) -> Result<(), JournalError> {
    let _stays = lock::files(directory)?;
    let mut last = lock::reading(directory)?;
    let files = all_in(directory)?;
    files.are_whole(directory)?;
    for file in files.segments.iter().rev().chain(&files.compacted) {
        if each(file)?.is_break() {
            break;
        }
        drop(last.take());
    }
    Ok(())
}

/// Each entry of a file in its order. Returns how many bytes are whole.
pub(super) fn read(file: &SegmentFile, mut each: impl FnMut(Noted)) -> Result<u64, JournalError> {
    let mut lines = Lines::of(file)?;
    while let Some(noted) = lines.next()? {
        each(noted);
    }
    Ok(lines.whole)
}

/// The entries of a file, one by one.
pub(super) struct Lines<'a> {
    file: &'a SegmentFile,
    reader: BufReader<File>,
    line: Vec<u8>,
    number: usize,
    /// So many bytes were read.
    pub(super) whole: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn of(file: &'a SegmentFile) -> Result<Self, JournalError> {
        let reader = BufReader::new(File::open(&file.path).map_err(unusable(&file.path))?);
        Ok(Self { file, reader, line: Vec::new(), number: 0, whole: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Option<Noted>, JournalError> {
        let failed = || unusable(&self.file.path);
        self.line.clear();
        let length = io::Read::take(&mut self.reader, LINE).read_until(b'\n', &mut self.line).map_err(failed())? as u64;
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        let noted = if self.file.is_compacted {
            entry::parse(&self.line)
        } else {
            let place = (self.file.number, self.number as u64);
            entry::parse(&self.line).map(|entry| Noted { place, entry })
        };
        if noted.is_some() {
            self.whole += length;
        } else if !(self.file.is_last && self.is_tail().map_err(failed())?) {
            return Err(JournalError::Damaged { path: self.file.path.clone(), line: self.number });
        }
        Ok(noted)
    }

    /// Whether nothing whole comes after what can't be read: a write that was cut short, blocks that never reached the disk, or room
    /// that is kept.
    fn is_tail(&mut self) -> io::Result<bool> {
        if !self.line.contains(&0) {
            return Ok(!self.line.ends_with(b"\n") && self.reader.fill_buf()?.is_empty());
        }
        loop {
            self.line.clear();
            if io::Read::take(&mut self.reader, LINE).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(true);
            }
            if entry::parse::<super::Entry>(&self.line).is_some() {
                return Ok(false);
            }
        }
    }
}
