//! Files that are either the old or the new content, whole and on disk, whatever happens while they are written.
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::clock::random;

/// A name for what is going to be this file, beside it. Random: in a container every process has the same number, and would
/// meet what the one before it left behind.
pub fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let random = random::<8>().map_err(io::Error::other)?;
    Ok(directory_of(path).join(format!("{}{:016x}", beginning(&name), u64::from_be_bytes(random))))
}

/// How such names begin.
fn beginning(name: &str) -> String {
    format!(".{name}.new-")
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces `path` with `content`, with these permission bits from the first byte on.
///
/// Written beside it, synced, renamed over it, and the directory synced: a crash leaves the old file or the new one. What is there
/// and no file (`/dev/null`, a pipe, a terminal) is not replaced, but an error.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, |beside| create_new(beside, mode))
}

/// The same for a file of the service: it belongs to whoever its directory does.
pub fn write_for_owner(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, |beside| create_new_for_owner(beside, mode))
}

fn replace(path: &Path, content: &[u8], create: impl FnOnce(&Path) -> io::Result<File>) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no regular file; name another one"));
    }
    let beside = beside(path)?;
    let written = create(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    });
    if written.is_err() {
        // What failed is reported; a file that can't be removed either changes nothing about that.
        let _ = std::fs::remove_file(&beside);
        return written;
    }
    File::open(directory_of(path))?.sync_all()
}

/// Renames a file that is whole and on disk already over another, and the name is on disk too.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    File::open(directory_of(to))?.sync_all()
}

/// Gives a file that is whole and on disk already a name that is not taken; never over another file.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that knows no such renaming: linking replaces nothing either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)?;
        }
        renamed => renamed?,
    }
    File::open(directory_of(to))?.sync_all()
}

/// Removes what processes that ended in between have left of these files: it may hold a secret, and is nobody's. Only where
/// nobody else writes them now.
pub fn remove_leftovers(directory: &Path, names: &[&str]) -> io::Result<()> {
    let begins: Vec<String> = names.iter().map(|name| beginning(name)).collect();
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if begins.iter().any(|beginning| name.to_string_lossy().starts_with(beginning.as_str())) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Files that are being written beside this one, or were when their process ended: all that have such a name as [`beside`] makes.
pub fn unfinished_beside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let is_one = |name: &str| {
        let (beginning, end) = name.rsplit_once(".new-")?;
        Some(beginning.starts_with('.') && end.len() == 16 && end.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory_of(path))? {
        let entry = entry?;
        if entry.file_name().to_str().and_then(is_one) == Some(true) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A file that was not there, with these permission bits.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

/// The same for a file of the service: it belongs to whoever its directory does.
pub fn create_new_for_owner(path: &Path, mode: u32) -> io::Result<File> {
    let file = create_new(path, mode)?;
    give_to_owner(path, &file)?;
    Ok(file)
}

/// The same for a directory.
pub fn create_directory_for_owner(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(mode).create(path)?;
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    give_to_owner(path, &OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?)
}

/// Root may run a command beside the service, which has to go on with what that leaves. Nobody but root can give anything away, nor has
/// to. Only what was just made is given: the owner may have put anything else under its name.
fn give_to_owner(path: &Path, made: &File) -> io::Result<()> {
    let owner = std::fs::metadata(directory_of(path))?;
    if made.metadata()?.uid() == owner.uid() {
        return Ok(());
    }
    match std::os::unix::fs::fchown(made, Some(owner.uid()), Some(owner.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

/// Between these, a tenth of the disk has to be free for what adds something: the store's file is written anew now and then, and
/// others write to the disk too.
const AMPLE: std::ops::RangeInclusive<u64> = 8 * 1024 * 1024..=64 * 1024 * 1024;

/// Bytes that are free on this directory's disk, and how many would be ample. `None` where the system does not tell: then nothing
/// is refused for it.
pub fn room(directory: &Path) -> Option<(u64, u64)> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    let ample = disk.f_blocks.saturating_mul(disk.f_frsize) / 10;
    Some((disk.f_bavail.saturating_mul(disk.f_frsize), ample.clamp(*AMPLE.start(), *AMPLE.end())))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_a_crash_left_behind_is_in_nobodys_way_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        // Of a process with our number, as every one in a container is.
        for number in 0..100 {
            std::fs::write(at(&format!(".a.{}-{number}", std::process::id())), "half").unwrap();
        }
        write(&at("a"), b"one", 0o600).unwrap();
        std::fs::write(at(&format!("{}0123", beginning("a"))), "half").unwrap();
        std::fs::write(at(&format!("{}0123", beginning("b"))), "another's").unwrap();
        remove_leftovers(directory.path(), &["a"]).unwrap();
        let left = || std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!left().any(|name| name.to_string_lossy().starts_with(".a.new-")));
        assert!(at("a").exists() && left().any(|name| name.to_string_lossy().starts_with(".b.new-")));
        remove_leftovers(&at("missing"), &["a"]).unwrap();
    }

    /// As where root makes a backup, of a service that another user runs.
    #[test]
    fn what_root_makes_for_the_service_belongs_to_whoever_has_its_directory() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("NOT TESTED: whose files are that root makes. This is not root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let owner = |name: &str| std::fs::symlink_metadata(at(name)).unwrap().uid();
        std::os::unix::fs::chown(directory.path(), Some(12_345), Some(12_345)).unwrap();
        write(&at("ours"), b"x", 0o600).unwrap();
        for _ in 0..2 {
            write_for_owner(&at("file"), b"x", 0o600).unwrap();
        }
        create_new_for_owner(&at("new"), 0o600).unwrap();
        create_directory_for_owner(&at("directory"), 0o700).unwrap();
        assert_eq!(["file", "new", "directory"].map(owner), [12_345; 3]);
        assert_eq!(owner("ours"), 0);
        // What the owner of the directory has put there is not given to him.
        std::os::unix::fs::symlink(at("ours"), at("link")).unwrap();
        assert!(create_new_for_owner(&at("link"), 0o600).is_err());
        assert!(create_directory_for_owner(&at("link"), 0o700).is_err());
        assert_eq!(owner("ours"), 0);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        for path in [&socket, &link, &directory.path().to_owned()] {
            let refused = write(path, b"x", 0o600).unwrap_err();
            assert!(refused.to_string().contains("no regular file"), "{refused}");
        }
        assert!(std::os::unix::net::UnixStream::connect(&link).is_ok());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_name_that_is_taken_is_not_given_away() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("new"), "new").unwrap();
        rename_new(&at("new"), &at("a")).unwrap();
        std::fs::write(at("new"), "newer").unwrap();
        assert_eq!(rename_new(&at("new"), &at("a")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(at("a")).unwrap(), b"new");
        assert!(at("new").exists());
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
