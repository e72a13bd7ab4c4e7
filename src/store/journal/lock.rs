//! Who may do what at the same time, in this process and in others.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::{JournalError, unusable};

/// Of the last segment.
const ENTRIES: &str = "lock";
/// Of which files there are.
const FILES: &str = "files.lock";
/// Of the compaction, of which there is one at a time.
const COMPACTION: &str = "compaction.lock";

/// Goes with it when it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _held: File,
}

/// Nobody else writes for as long as this is held, and nobody reads the last segment.
pub(super) fn writing(directory: &Path) -> Result<Lock, JournalError> {
    alone(directory, ENTRIES)
}

/// The last segment stays as it is: no line in it is about to become whole.
pub(super) fn reading(directory: &Path) -> Result<Option<Lock>, JournalError> {
    shared(directory, ENTRIES)
}

/// No file goes away.
pub(super) fn files(directory: &Path) -> Result<Option<Lock>, JournalError> {
    shared(directory, FILES)
}

/// Nobody needs the files that were replaced.
pub(super) fn removing(directory: &Path) -> Result<Lock, JournalError> {
    alone(directory, FILES)
}

/// Nobody else compacts. `None`: somebody does.
pub(super) fn compacting(directory: &Path) -> Result<Option<Lock>, JournalError> {
    let file = open(directory, COMPACTION)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _held: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(unusable(&directory.join(COMPACTION))(error)),
    }
}

/// Makes what readers lock: they make nothing, since they may be another user.
pub(super) fn prepare(directory: &Path) -> Result<(), JournalError> {
    [ENTRIES, FILES].into_iter().try_for_each(|name| open(directory, name).map(|_| ()))
}

fn alone(directory: &Path, name: &str) -> Result<Lock, JournalError> {
    let file = open(directory, name)?;
    file.lock().map_err(unusable(&directory.join(name)))?;
    Ok(Lock { _held: file })
}

/// `None`: nobody has ever written here.
fn shared(directory: &Path, name: &str) -> Result<Option<Lock>, JournalError> {
    let path = directory.join(name);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unusable(&path))?,
    };
    file.lock_shared().map_err(unusable(&path))?;
    Ok(Some(Lock { _held: file }))
}

fn open(directory: &Path, name: &str) -> Result<File, JournalError> {
    let path = directory.join(name);
    let there = || File::options().read(true).write(true).open(&path);
    let made = match there() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => crate::durable::create_new_for_owner(&path, 0o600),
        opened => opened,
    };
    match made {
        // Somebody else has made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => there(),
        opened => opened,
    }
    .map_err(unusable(&path))
}
