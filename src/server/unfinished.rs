//! A backup that is being written: it has no name yet, and goes unless it gets one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::authority::backup::is_backup;
use crate::durable;

/// As much of a file as says what it is.
const BEGINNING: u64 = 64;

/// See the module. Whoever writes it holds its lock.
pub(super) struct Unfinished {
    pub(super) file: File,
    beside: PathBuf,
    is_named: bool,
}

impl Unfinished {
    /// A new file, mode 0600, beside the one that it is to become. What was left there by whoever was killed while he wrote one goes.
    pub(super) fn beside(out: &Path) -> io::Result<Self> {
        let beside = durable::beside(out)?;
        remove_left(out);
        let file = durable::create_new(&beside, 0o600)?;
        let unfinished = Self { file, beside, is_named: false };
        // Where the file system has no locks, it takes nothing of anybody for left either.
        let _ = unfinished.file.try_lock();
        Ok(unfinished)
    }

    /// Gives it its name; never over another file.
    pub(super) fn becomes(mut self, out: &Path) -> io::Result<()> {
        durable::rename_new(&self.beside, out)?;
        self.is_named = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_named {
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

/// Removes unfinished backups in the directory of this one that nobody writes any more. What can't be removed is in nobody's way.
fn remove_left(out: &Path) {
    for left in durable::unfinished_beside(out).unwrap_or_default() {
        // A pipe is not waited for, and a link not followed.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&left) else {
            continue;
        };
        let mut begins = Vec::new();
        let is_ours = file.metadata().is_ok_and(|facts| facts.is_file())
            && file.try_lock().is_ok()
            && (&file).take(BEGINNING).read_to_end(&mut begins).is_ok()
            && is_backup(&begins);
        if is_ours {
            let _ = std::fs::remove_file(&left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_one_left_goes_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let text = "countermark backup\n{}\n";
        for (name, text) in [
            (".old.backup.new-0123456789abcdef", text),
            (".held.backup.new-0123456789abcdef", text),
            (".server.key.new-0123456789abcdef", "another's"),
            (".new.backup.new-0123456789abcdef", ""),
            (".old.backup.new-0123", text),
            ("old.backup", text),
        ] {
            std::fs::write(at(name), text).unwrap();
        }
        let held = File::open(at(".held.backup.new-0123456789abcdef")).unwrap();
        held.lock().unwrap();
        std::os::unix::fs::symlink(at("old.backup"), at(".link.new-0123456789abcdef")).unwrap();
        let unfinished = Unfinished::beside(&at("new.backup")).unwrap();
        let left = || std::fs::read_dir(directory.path()).unwrap().count();
        assert!(!at(".old.backup.new-0123456789abcdef").exists());
        assert_eq!(left(), 7);
        drop(unfinished);
        assert_eq!(left(), 6);
        Unfinished::beside(&at("new.backup")).unwrap().becomes(&at("new.backup")).unwrap();
        assert!(Unfinished::beside(&at("new.backup")).unwrap().becomes(&at("new.backup")).is_err());
        assert_eq!(left(), 7);
        drop(held);
        Unfinished::beside(&at("x")).unwrap();
        assert!(!at(".held.backup.new-0123456789abcdef").exists());
    }
}
