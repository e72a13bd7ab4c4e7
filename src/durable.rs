//! Files that are either the old or the new content, whole and on disk, whatever happens while they are written.
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Replaces `path` with `content`, with these permission bits from the first byte on.
///
/// Written beside it, synced, renamed over it, and the directory synced: a crash leaves the old file or the new one.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // Unique in this machine's processes; a leftover of a crashed one with our number is refused by create_new below
    // only until the counter passes it.
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let beside = directory.join(format!(".{name}.{}-{number}", std::process::id()));
    let written = create(&beside, content, mode).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // What failed is reported; a file that can't be removed either changes nothing about that.
        let _ = std::fs::remove_file(&beside);
        return written;
    }
    File::open(directory)?.sync_all()
}

fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::create_dir(&path).unwrap();
        assert!(write(&path, b"one", 0o600).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
