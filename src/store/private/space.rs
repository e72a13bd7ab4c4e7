//! Room on the disk of the private Redis.
//!
//! A Redis that writes through (`appendfsync always`) and finds the disk full ends itself, because it can't take back what it
//! has already carried out. It starts again and answers, until the next write. So nothing is written that may not fit: what
//! adds something needs ample room, what only takes something away (a token, an account) is let through for as long as
//! possible, out of a reserve that is given up for it.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::durable::room;

const MIB: u64 = 1024 * 1024;
/// What has to be free for the smallest of writes.
const LEAST: u64 = MIB;
/// What is kept for when nothing else is free; less than what would be ample.
const RESERVE: u64 = 4 * MIB;
/// How long a write that failed counts, whatever the disk says: a quota does not show in what is free.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// The disk that the private Redis writes to.
#[derive(Debug)]
pub struct Space {
    directory: PathBuf,
    failed: Mutex<Option<Instant>>,
    told: AtomicBool,
}

impl Space {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), failed: Mutex::new(None), told: AtomicBool::new(false) }
    }

    /// Whether there is room for what adds something.
    pub fn is_ample(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_none_or(|failed| failed.elapsed() >= FAILED_FOR)
            && room(&self.directory).is_none_or(|(free, ample)| free >= ample)
    }

    /// Whether there is room for what only takes something away, after the reserve was given up for it.
    pub fn is_enough(&self) -> bool {
        make_room(&self.directory)
    }

    /// A write failed for want of room: the reserve is given up, whatever the disk says is free.
    pub(super) fn failed(&self) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        give_up(&self.directory);
    }

    /// Tells the operator what has changed, and lays the reserve aside again.
    pub(super) fn look(&self) {
        let ample = self.is_ample();
        if self.told.swap(!ample, Ordering::Relaxed) == ample {
            let directory = self.directory.display();
            if ample {
                tracing::info!(%directory, "there is room on the store's disk again: changes are made again");
            } else {
                tracing::error!(
                    %directory,
                    "the store's disk is full: only revoking, disabling and deleting go on, and the audit waits elsewhere. Make room"
                );
            }
        }
        if ample
            && room(&self.directory).is_some_and(|(free, ample)| free >= ample + RESERVE)
            && let Err(error) = lay_aside(&self.directory)
        {
            tracing::warn!(%error, "no reserve on the store's disk");
        }
    }
}

/// Gives the reserve up if hardly anything else is free. Whether the smallest of writes fit.
pub(in crate::store) fn make_room(directory: &Path) -> bool {
    let fits = || room(directory).is_none_or(|(free, _)| free >= LEAST);
    if fits() {
        return true;
    }
    give_up(directory);
    fits()
}

fn give_up(directory: &Path) {
    if fs::remove_file(reserve(directory)).is_ok() {
        tracing::warn!("the reserve on the store's disk was given up");
    }
}

fn reserve(directory: &Path) -> PathBuf {
    directory.join("reserve")
}

fn lay_aside(directory: &Path) -> io::Result<()> {
    let path = reserve(directory);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == RESERVE) {
        return Ok(());
    }
    let mut file: File = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path)?;
    // Written, not only claimed: a hole would take no room.
    let block = vec![0; 64 * 1024];
    let written = (0..RESERVE / (64 * 1024)).try_for_each(|_| file.write_all(&block)).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_failed_gives_the_reserve_up_also_where_the_disk_says_that_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let space = Space::of(directory.path());
        lay_aside(directory.path()).unwrap();
        assert!(space.is_ample(), "this needs some room on the disk of temporary files");
        // As under a quota.
        space.failed();
        assert!(!reserve(directory.path()).exists() && !space.is_ample() && space.is_enough());
        // What was given up is needed for a while.
        space.look();
        assert!(!reserve(directory.path()).exists());
    }
}
