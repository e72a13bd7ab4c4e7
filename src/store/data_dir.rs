//! The data directory, and the lock that makes it one process's own.
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Missing rights, a full disk, or a file in its place.
    #[error("the data directory {path} can't be used: {source}")]
    Unusable {
        /// The path that failed.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A second server on the same directory.
    #[error("another countermark (pid {pid}) is using {path}: stop it, or choose another --data-dir")]
    InUse {
        /// The process, as it wrote itself into the lock.
        pid: String,
        /// The directory.
        path: PathBuf,
    },
}

/// A data directory that is ours: whoever has this value has the lock, until it is dropped or the process ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Creates the directory if it is missing (mode 0700) and takes its lock.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path, source| DataDirError::Unusable { path: path.to_owned(), source };
        create_private(path).map_err(|source| failed(path, source))?;
        // Absolute and without links: the private Redis has another working directory.
        let path = fs::canonicalize(path).map_err(|source| failed(path, source))?;
        let mode = fs::metadata(&path).map_err(|source| failed(&path, source))?.permissions().mode();
        if mode & 0o077 != 0 {
            // Not refused: volumes in containers come like this, and what is secret in it has its own mode.
            tracing::warn!(directory = %path.display(), "others can look into the data directory: chmod 700 is better");
        }
        let file = path.join("lock");
        // Not truncated here: until the lock is ours, what is in it is the other process's number.
        let mut lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(|source| failed(&file, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = fs::read_to_string(&file).unwrap_or_default();
                let pid = if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() };
                return Err(DataDirError::InUse { pid, path });
            }
            Err(TryLockError::Error(source)) => return Err(failed(&file, source)),
        }
        // On a full disk the private Redis has something laid aside.
        super::private::make_room(&path.join("redis"));
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|source| failed(&file, source))?;
        Ok(Self { path, lock })
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing is not enough: a process that is being forked elsewhere at this moment has the file open too, until it
        // becomes another program. If this fails, the end of that moment unlocks it.
        let _ = self.lock.unlock();
    }
}

/// Makes a directory for its owner alone, and the ones above it as usual.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_made_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(&directory.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(data.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(data.path().is_absolute());
    }

    #[test]
    fn a_second_lock_is_refused_by_the_number_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDir::open(directory.path()).unwrap();
        let text = DataDir::open(directory.path()).unwrap_err().to_string();
        let expected = format!("another countermark (pid {}) is using {}", std::process::id(), first.path().display());
        assert!(text.starts_with(&expected), "{text}");
        drop(first);
        DataDir::open(directory.path()).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Unusable { .. })));
    }
}
