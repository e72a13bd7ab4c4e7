//! Files that tokens are believed by: whoever can write to one could make tokens.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{OFlags, StatVfsMountFlags};

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Reads a file that only this process' user, or root, can write to or replace.
pub(super) fn read(path: &Path, most_bytes: usize) -> io::Result<Vec<u8>> {
    // Nobody waits for the other end of a pipe.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    check_owner(&facts)?;
    if facts.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(io::Error::other("others may write to it: chmod go-w"));
    }
    check_directory_of(path)?;
    // A link's own directory and that of the file.
    check_directory_of(&path.canonicalize()?)?;
    bounded(file, most_bytes)
}

fn bounded(file: File, most_bytes: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(u64::try_from(most_bytes).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut text)?;
    if text.len() > most_bytes {
        return Err(io::Error::other(format!("it has more than {most_bytes} bytes")));
    }
    Ok(text)
}

/// Whoever may write to the directory could put another file in the place of this one, unless there each may remove but his own.
fn check_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As what an orchestrator mounts: its bits say nothing.
    if rustix::fs::statvfs(directory).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return Ok(());
    }
    let facts = directory.metadata()?;
    check_owner(&facts).map_err(|error| io::Error::other(format!("of its directory: {error}")))?;
    if facts.mode() & WRITABLE_BY_OTHERS != 0 && facts.mode() & STICKY == 0 {
        return Err(io::Error::other("others may write to its directory: chmod go-w"));
    }
    Ok(())
}

fn check_owner(facts: &Metadata) -> io::Result<()> {
    let (owner, own) = (facts.uid(), rustix::process::geteuid().as_raw());
    if is_trusted(owner, own) { Ok(()) } else { Err(io::Error::other(format!("it belongs to the user {owner}"))) }
}

fn is_trusted(owner: u32, own: u32) -> bool {
    owner == own || owner == 0
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    const MOST: usize = 100;

    fn refusal(path: &Path) -> String {
        read(path, MOST).unwrap_err().to_string()
    }

    #[test]
    fn a_file_of_our_own_is_read_and_one_that_others_could_write_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        assert_eq!(read(&path, MOST).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "text").unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(&path, 0o644);
        assert_eq!(read(&path, MOST).unwrap(), b"text");
        for writable in [0o664, 0o646] {
            mode(&path, writable);
            assert!(refusal(&path).contains("others may write to it"));
        }
        mode(&path, 0o600);
        for writable in [0o777, 0o770] {
            mode(directory.path(), writable);
            assert!(refusal(&path).contains("its directory"));
        }
        mode(directory.path(), 0o1777);
        assert!(read(&path, MOST).is_ok());
        assert!(is_trusted(0, 1) && is_trusted(1, 1) && !is_trusted(2, 1));
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(65534), None).unwrap();
            assert!(refusal(&path).contains("belongs to the user 65534"));
        }
    }

    #[test]
    fn behind_a_link_the_directory_of_the_file_counts_too() {
        let (open, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        set_permissions(open.path(), Permissions::from_mode(0o777)).unwrap();
        let link = own.path().join("link");
        symlink(open.path().join("a"), &link).unwrap();
        std::fs::write(open.path().join("a"), "text").unwrap();
        assert!(refusal(&link).contains("its directory"));
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(refusal(&pipe).contains("no regular file"));
        assert!(refusal(directory.path()).contains("no regular file"));
        assert!(refusal(Path::new("/dev/zero")).contains("no regular file"));
        let large = directory.path().join("large");
        std::fs::write(&large, [b'a'; MOST + 1]).unwrap();
        assert!(refusal(&large).contains("more than 100 bytes"));
    }
}
