//! A file of JSON lines. It is opened for each delivery, by its name: whoever renames it (logrotate) finds the next events in a new
//! one, and needs to tell nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags, flock};
use tokio::sync::Semaphore;

use super::{Item, NotDelivered};

/// Longer than any line of ours.
const LONGEST_LINE: u64 = 1024 * 1024;

/// The file.
pub struct AppendedFile {
    path: PathBuf,
    /// A disk that hangs keeps one who writes, and no more.
    writing: Arc<Semaphore>,
}

impl AppendedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, writing: Arc::new(Semaphore::new(1)) }
    }

    pub(super) async fn deliver(&self, items: &[Item]) -> Result<(), NotDelivered> {
        let Ok(turn) = Arc::clone(&self.writing).try_acquire_owned() else {
            return Err(NotDelivered(format!("{}: what was written last has no end yet", self.path.display())));
        };
        let mut lines = String::new();
        for item in items {
            lines.push_str(&item.json());
            lines.push('\n');
        }
        let path = self.path.clone();
        let appended = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            append(&path, lines.as_bytes()).map_err(|error| NotDelivered(format!("{}: {error}", path.display())))
        });
        appended.await.unwrap_or_else(|_| Err(NotDelivered("the file could not be written".into())))
    }
}

/// Whole lines, or none, that are on disk when it returns.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        // Opening a pipe would wait for a reader.
        .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    // Somebody who was stopped in the middle may go on when another has taken over.
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let before = whole_lines(&mut file)?;
    let written = file.write_all(lines).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // What is written of them is written again: no half of a line stays.
        let _ = file.set_len(before);
        return Err(error);
    }
    if is_new {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// The length of what ends with a line. What is beyond was written by a process that died in the middle, and is taken off: it comes
/// again.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_LINE);
    let mut end = vec![0; 1];
    if length == 0 {
        return Ok(0);
    }
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut end)?;
    if end == b"\n" {
        return Ok(length);
    }
    file.seek(SeekFrom::Start(from))?;
    end.clear();
    file.take(LONGEST_LINE).read_to_end(&mut end)?;
    // Of what was not on disk when the machine stopped, only the length may be there.
    while end.last() == Some(&0) {
        end.pop();
    }
    let torn = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    // Whoever named the wrong file loses nothing of it.
    if !matches!(end.get(torn), None | Some(b'{')) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it ends with something else than a line of ours"));
    }
    let whole = from + torn as u64;
    file.set_len(whole)?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn lines_are_appended_to_a_file_that_others_can_t_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl");
        append(&path, b"{}\n").unwrap();
        append(&path, b"[]\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n[]\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::rename(&path, directory.path().join("a.jsonl.1")).unwrap();
        append(&path, b"1\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
        assert_eq!(std::fs::read_to_string(directory.path().join("a.jsonl.1")).unwrap(), "{}\n[]\n");
    }

    #[test]
    fn half_a_line_of_a_process_that_died_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl");
        for (torn, expected) in [
            ("{}\n\0\0", "{}\n1\n"),
            ("{}\n{\"a\0", "{}\n1\n"),
            ("{}\n{\"a\":", "{}\n1\n"),
            ("{\"a\"", "1\n"),
            ("", "1\n"),
            ("{}\n", "{}\n1\n"),
        ] {
            std::fs::write(&path, torn).unwrap();
            append(&path, b"1\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
        let large = format!("{{}}\n{{{}", "x".repeat(usize::try_from(LONGEST_LINE).unwrap()));
        for of_others in [large.as_str(), "[mysqld]\nuser=x"] {
            std::fs::write(&path, of_others).unwrap();
            assert!(append(&path, b"1\n").is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), of_others);
        }
    }

    #[test]
    fn what_is_full_or_no_file_is_an_error_and_two_do_not_write_at_once() {
        let directory = tempfile::tempdir().unwrap();
        assert!(append(Path::new("/dev/full"), b"1\n").is_err());
        assert!(append(directory.path(), b"1\n").is_err());
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        assert!(append(&pipe, b"1\n").is_err());
        let path = directory.path().join("a.jsonl");
        let other = File::create(&path).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        assert!(append(&path, b"1\n").is_err());
        drop(other);
        append(&path, b"1\n").unwrap();
    }
}
