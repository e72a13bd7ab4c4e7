//! The files that the entries are in.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::{Entry, JournalError, unusable};

const BEGINS: &str = "changes-";

/// The longest line: whoever wrote a longer one was not us.
const LINE: u64 = 1024 * 1024;

/// A file, and its place among them.
#[derive(Debug, Clone)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Nothing comes after it: whoever writes it may be killed in the middle of a line.
    is_last: bool,
}

pub(super) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{BEGINS}{number:012}"))
}

/// All of a journal, the oldest first.
pub(super) fn all_in(directory: &Path) -> Result<Vec<SegmentFile>, JournalError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unusable(directory))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(unusable(directory))?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix(BEGINS)?.parse().ok());
        all.extend(number.map(|number| SegmentFile { number, path, is_last: false }));
    }
    all.sort_unstable_by_key(|file| file.number);
    if let Some(last) = all.last_mut() {
        last.is_last = true;
    }
    Ok(all)
}

/// Each entry of a file in its order. Returns how many bytes are whole.
pub(super) fn read(file: &SegmentFile, mut each: impl FnMut(Entry)) -> Result<u64, JournalError> {
    let failed = || unusable(&file.path);
    let opened = match File::open(&file.path) {
        // What replaces it was read before.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_last => return Ok(0),
        opened => opened.map_err(failed())?,
    };
    let mut reader = BufReader::new(opened);
    let (mut whole, mut number, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        let length = io::Read::take(&mut reader, LINE).read_until(b'\n', &mut line).map_err(failed())?;
        number += 1;
        if length == 0 {
            return Ok(whole);
        }
        match Entry::parse(&line) {
            Some(entry) => each(entry),
            None if file.is_last && is_tail(&mut reader, &line).map_err(failed())? => return Ok(whole),
            None => return Err(JournalError::Damaged { path: file.path.clone(), line: number }),
        }
        whole += length as u64;
    }
}

/// Whether nothing whole comes after what can't be read: a write that was cut short, or blocks that never reached the disk.
fn is_tail(reader: &mut BufReader<File>, first: &[u8]) -> io::Result<bool> {
    if !first.contains(&0) {
        return Ok(!first.ends_with(b"\n") && reader.fill_buf()?.is_empty());
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::Read::take(&mut *reader, LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(true);
        }
        if Entry::parse(&line).is_some() {
            return Ok(false);
        }
    }
}
