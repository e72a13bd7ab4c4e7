//! A segment on its way to the disk: written beside, synced, renamed; whatever ends in between leaves nothing that counts.

use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use crate::audit::archive::SegmentName;
use crate::audit::block::hex;
use crate::durable;

/// Events tell who did what, from where.
const MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
const BUFFER: usize = 1 << 20;

/// A file that is being written.
pub(super) struct SegmentFile {
    file: BufWriter<File>,
    directory: PathBuf,
    beside: PathBuf,
    digest: Context,
    /// So far.
    pub(super) bytes: u64,
    is_kept: bool,
}

impl SegmentFile {
    /// Begins one. The directory is made if it is not there.
    pub(super) fn create(directory: &Path, stream: &str, number: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        let beside = durable::beside(&directory.join(SegmentName::stem(stream, number)))?;
        let file = BufWriter::with_capacity(BUFFER, durable::create_new(&beside, MODE)?);
        let (directory, digest) = (directory.to_owned(), Context::new(&SHA256));
        Ok(Self { file, directory, beside, digest, bytes: 0, is_kept: false })
    }

    /// Writes some lines, each with its end.
    pub(super) fn write(&mut self, lines: &str) -> io::Result<()> {
        self.digest.update(lines.as_bytes());
        self.bytes += lines.len() as u64;
        self.file.write_all(lines.as_bytes())
    }

    /// The SHA-256 of all lines so far, in hex.
    pub(super) fn lines(&self) -> String {
        hex(self.digest.clone().finish().as_ref())
    }

    /// It is whole: from now on it has its name, and is on the disk.
    pub(super) fn keep(mut self, name: &SegmentName) -> io::Result<PathBuf> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        let path = self.directory.join(name.file());
        durable::rename(&self.beside, &path)?;
        self.is_kept = true;
        Ok(path)
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // What failed is told; a file that can't be removed either is nobody's.
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

/// Puts aside what can't count any more, now that the segment of this name does: other ones of its number. Beginnings of it go.
/// What is whole is not removed: where a store has lost something, it may be all that is left of that.
pub(super) fn put_others_aside(directory: &Path, counts: &SegmentName) -> io::Result<()> {
    durable::remove_leftovers(directory, &[&SegmentName::stem(&counts.stream, counts.number)])?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Some(name) = SegmentName::read(&entry.file_name().to_string_lossy()) else { continue };
        if (&name.stream, name.number) == (&counts.stream, counts.number) && name != *counts {
            let mut aside = entry.path().into_os_string();
            aside.push(".aside");
            std::fs::rename(entry.path(), aside)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_segment_is_there_when_it_is_whole_and_others_of_its_number_go() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("archive");
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(&directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        drop(SegmentFile::create(&directory, "0", 1).unwrap());
        assert!(names().is_empty());
        let [first, other, later, acts] =
            [("0", 1, "a"), ("0", 1, "b"), ("0", 2, "c"), ("acts", 1, "d")].map(|(stream, number, seal)| {
                let mut file = SegmentFile::create(&directory, stream, number).unwrap();
                file.write("x\n").unwrap();
                let name = SegmentName::of(stream, number, seal);
                let path = file.keep(&name).unwrap();
                assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, MODE);
                name
            });
        // What a process that was killed has left.
        std::mem::forget(SegmentFile::create(&directory, "0", 1).unwrap());
        assert_eq!(names().len(), 5);
        put_others_aside(&directory, &first).unwrap();
        let mut expected = [first.file(), format!("{}.aside", other.file()), later.file(), acts.file()];
        expected.sort();
        assert_eq!(names(), expected);
        assert!(!directory.join(other.file()).exists());
    }
}
