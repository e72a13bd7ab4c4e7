//! Room on the disk for what is about to be noted, which nobody else can take.
//!
//! A change that was made and can't be noted would be lost with its server. So nothing is made before there is room for its entry: behind
//! the last one there is always reserved what all processes that write here may have promised.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Change, Entry};

/// So many bytes one process has promised at the most.
const PROMISED: u32 = 256 * 1024;

/// What is reserved behind the last entry: enough for four processes, a server and the commands beside it. Each looks after it
/// when it has written, and promises nothing more once it is not all there.
pub(super) const KEPT: u64 = 4 * PROMISED as u64;

/// A change has two lines at the most: it is asked for again where the server that made it was lost, and is noted where it was made then.
const LINES: usize = 2;

/// What a process has promised.
#[derive(Debug)]
pub(super) struct Promises(Arc<Semaphore>);

/// Room for what is written of one change.
#[derive(Debug)]
pub struct Promise {
    change: Change,
    /// The line that is there.
    noted: Mutex<Option<Entry>>,
    _room: OwnedSemaphorePermit,
}

impl Promises {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(PROMISED as usize)))
    }

    /// Waits until other changes are noted, where they need all the room.
    pub(super) async fn room_for(&self, change: &Change) -> io::Result<Promise> {
        let bytes = LINES * change.longest_line();
        let permits = u32::try_from(bytes).ok().filter(|bytes| *bytes <= PROMISED);
        let permits = permits.ok_or_else(|| io::Error::other(format!("{bytes} bytes are too long for one change")))?;
        let room = Arc::clone(&self.0).acquire_many_owned(permits).await.map_err(io::Error::other)?;
        Ok(Promise { change: change.clone(), noted: Mutex::default(), _room: room })
    }
}

impl Promise {
    /// Of what.
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// Whether that is there already: whoever asks again for an answer that was lost hears of the same change.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.as_ref().is_some_and(|noted| (&noted.server, noted.epoch) == (&entry.server, entry.epoch))
    }

    pub(super) fn is_noted(&self, entry: &Entry) {
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry.clone());
    }
}

/// Reserves a file's room up to there. Fails where the disk has not so much.
pub(super) fn reserve(file: &File, until: u64) -> io::Result<()> {
    let reserved = rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, until));
    match reserved {
        // A file system that has no such thing.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => with_zeros(file, until),
        reserved => Ok(reserved?),
    }
}

/// The same by writing zeros behind what is there: nobody takes them for an entry, and entries are written over them.
pub(super) fn with_zeros(file: &File, until: u64) -> io::Result<()> {
    let block = [0; 64 * 1024];
    let mut at = file.metadata()?.len();
    while at < until {
        let some = usize::try_from(until - at).unwrap_or(block.len()).min(block.len());
        file.write_all_at(block.get(..some).unwrap_or(&block), at)?;
        at += some as u64;
    }
    file.sync_data()
}

/// Whether there is nothing but zeros from here on.
pub(super) fn is_empty_from(file: &File, from: u64) -> io::Result<bool> {
    let mut block = [0; 64 * 1024];
    let mut at = from;
    loop {
        let read = file.read_at(&mut block, at)?;
        if read == 0 {
            return Ok(true);
        }
        if block.iter().take(read).any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += read as u64;
    }
}
