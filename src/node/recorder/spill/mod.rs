//! Where events wait that the store has not taken yet: files in a directory of this process (protocols, section 6, A2).
//!
//! Every batch is written here first, and sent from here: so whoever kills the process takes the batch in the making with him, and
//! nothing else. Files are segments, which are written to their end and removed when the store has all of their batches. They are not
//! synced while the store takes what comes: it is the process that may be killed, not the machine. While it is away, they are, once a
//! second.
//!
//! Where a batch can't be written, because there is no room (the store may need what is left of the disk) or no disk, it waits in
//! memory, and so do those after it until there is: in their order with the others.

mod record;
mod segment;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{BATCH, Lines};
use crate::durable::room;
use segment::{Opened, Segment};

/// So many segments at the most, each of which is removed as a whole.
const SEGMENTS: u64 = 64;
/// Of so many batches that an earlier process has left it may be unknown whether the store has them.
const UNKNOWN: usize = 10_000;

/// See the module.
pub(super) struct Spill {
    node: String,
    directory: PathBuf,
    most_bytes: u64,
    /// Held while files are written and read: for those alone who may wait for a disk.
    state: Mutex<State>,
    /// A batch waits.
    pub(super) news: Notify,
    waiting: Waiting,
}

/// For those who may not wait.
#[derive(Default)]
struct Waiting {
    batches: AtomicUsize,
    bytes: AtomicU64,
    in_memory: AtomicUsize,
}

struct State {
    /// The oldest first. The last one may be the one that is written.
    segments: VecDeque<Segment>,
    /// Whether the last segment is written.
    is_open: bool,
    batches: VecDeque<Batch>,
    /// The last batch that is on its way.
    sent: u64,
    /// Of the next segment.
    next_segment: u64,
    /// Of the next batch.
    next_batch: u64,
    /// Held for as long as this process writes here.
    lock: Option<File>,
}

/// One that waits, or some that lie one behind the other.
struct Batch {
    /// Of the last of them.
    number: u64,
    /// Events.
    count: usize,
    place: Place,
}

enum Place {
    Disk {
        segment: u64,
        place: u64,
        length: usize,
        /// Batches.
        batches: usize,
        /// The first event, of one that an earlier process has written, and of which it is not known whether the store has it.
        first: Option<Uuid>,
    },
    Memory(Lines),
}

/// What became of a batch.
pub(super) enum Kept {
    /// It lies on disk: its memory is free.
    OnDisk(Lines),
    /// It waits in memory, because of this.
    InMemory(io::Error),
}

/// Batches that are to be written as one block.
pub(super) struct Next {
    /// The last of them.
    pub(super) through: u64,
    pub(super) lines: Lines,
    /// Events that lay there and can't be read any more.
    pub(super) lost: usize,
}

/// What an earlier process has left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Events.
    pub(super) events: usize,
    /// Events that can't be read any more, as far as that can be told.
    pub(super) lost: usize,
}

/// Of what was found it is not known whether the store has it.
pub(super) struct Unknown {
    /// Which batch it is, by its first event.
    pub(super) batches: HashMap<Uuid, u64>,
    /// The first of these events.
    pub(super) oldest: Uuid,
    /// Under which names it may have been sent.
    pub(super) nodes: BTreeSet<String>,
}

impl Spill {
    /// Of this node, with what an earlier process has left there.
    pub(super) fn open(node: &str, directory: &Path, most_bytes: u64) -> io::Result<(Self, Found)> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(directory.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another process has its events there")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut state = State {
            segments: VecDeque::new(),
            is_open: false,
            batches: VecDeque::new(),
            sent: 0,
            next_segment: 1,
            next_batch: 1,
            lock: Some(lock),
        };
        let mut lost = 0;
        for (number, path) in segment::all_in(directory)? {
            state.next_segment = number + 1;
            lost += state.take_in(number, path)?;
        }
        state.remove_done();
        let later = state.batches.split_off(UNKNOWN.min(state.batches.len()));
        for mut batch in later {
            if let Place::Disk { first, .. } = &mut batch.place {
                *first = None;
            }
            state.add(batch);
        }
        let found = Found { events: state.batches.iter().map(|batch| batch.count).sum(), lost };
        let spill = Self {
            node: node.to_owned(),
            directory: directory.to_owned(),
            most_bytes,
            state: Mutex::new(state),
            news: Notify::new(),
            waiting: Waiting::default(),
        };
        if !spill.state().batches.is_empty() {
            // Whoever comes after us has to know that it may have been sent under this name, too.
            let mut state = spill.state();
            spill.begin_segment(&mut state)?;
        }
        spill.waiting.is(&spill.state().batches);
        Ok((spill, found))
    }

    /// Takes a batch; it waits from then on, on disk or in memory.
    pub(super) fn push(&self, lines: Lines) -> Kept {
        let mut state = self.state();
        let (number, count) = (state.next_batch, lines.count);
        state.next_batch += 1;
        let (place, kept) = match self.write(&mut state, &record::batch(number, &lines), true) {
            Ok((segment, place, length)) => {
                (Place::Disk { segment, place, length, batches: 1, first: None }, Kept::OnDisk(lines))
            }
            Err(error) => (Place::Memory(lines), Kept::InMemory(error)),
        };
        let batch = Batch { number, count, place };
        self.waiting.add(&batch);
        state.add(batch);
        drop(state);
        self.news.notify_one();
        kept
    }

    /// The next batches, with as many events as that, or one batch.
    pub(super) fn next(&self, most: usize) -> Option<Next> {
        let mut state = self.state();
        let mut next = Next { through: 0, lines: Lines::default(), lost: 0 };
        let mut taken = 0;
        while let Some(batch) = state.batches.get(taken) {
            if taken > 0 && next.lines.count + batch.count > most {
                break;
            }
            next.through = batch.number;
            taken += 1;
            match &batch.place {
                Place::Memory(lines) => {
                    next.lines.text.push_str(&lines.text);
                    next.lines.count += lines.count;
                }
                Place::Disk { segment, place, length, .. } => {
                    let lines = state.read(*segment, *place, *length);
                    next.lost += batch.count.saturating_sub(lines.count);
                    next.lines.text.push_str(&lines.text);
                    next.lines.count += lines.count;
                }
            }
        }
        state.sent = state.sent.max(next.through);
        (taken > 0).then_some(next)
    }

    /// The store has all up to this batch. Returns what lay in memory, and how many events these were altogether.
    pub(super) fn done(&self, through: u64) -> (Vec<Lines>, usize) {
        let mut state = self.state();
        let (mut from_memory, mut events) = (Vec::new(), 0);
        while state.batches.front().is_some_and(|batch| batch.number <= through) {
            let Some(batch) = state.batches.pop_front() else { break };
            events += batch.count;
            match batch.place {
                Place::Memory(lines) => from_memory.push(lines),
                Place::Disk { segment, batches, .. } => state.forget(segment, batches),
            }
        }
        self.waiting.is(&state.batches);
        state.remove_done();
        // Where it can't be written down, whoever comes next finds in the store what that has.
        if !state.segments.is_empty()
            && let Err(error) = self.write(&mut state, &record::done(through), false)
        {
            tracing::debug!(%error, "it can't be noted which events of the audit the store has");
        }
        (from_memory, events)
    }

    /// Of what earlier processes have left, that of which it is not known whether the store has it.
    pub(super) fn unknown(&self) -> Option<Unknown> {
        let state = self.state();
        let found = state.batches.iter().filter_map(|batch| match batch.place {
            Place::Disk { first, .. } => first.map(|first| (first, batch.number)),
            Place::Memory(_) => None,
        });
        let batches: HashMap<Uuid, u64> = found.collect();
        let oldest = *batches.keys().min()?;
        Some(Unknown { batches, oldest, nodes: state.segments.iter().map(|segment| segment.node.clone()).collect() })
    }

    /// Brings what waits to the disk: not for those who bring events, who may not wait for it.
    pub(super) fn sync(&self) {
        let files: Vec<Arc<File>> = self.state().segments.iter().rev().take(2).map(Segment::file).collect();
        for file in files {
            if let Err(error) = file.sync_data() {
                tracing::debug!(%error, "events of the audit that wait are not on disk yet");
            }
        }
    }

    /// This process writes no more: where nothing waits, no file is left, and another one may have the rest.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_open = false;
        state.remove_done();
        state.lock = None;
    }

    /// How many bytes wait on disk, and how many events in memory.
    pub(super) fn waiting(&self) -> (u64, usize) {
        (self.waiting.bytes.load(Ordering::Relaxed), self.waiting.in_memory.load(Ordering::Relaxed))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.batches.load(Ordering::SeqCst) == 0
    }

    /// Writes a record into the last segment, whole or not at all: its segment, place and length.
    fn write(&self, state: &mut State, bytes: &[u8], is_batch: bool) -> io::Result<(u64, u64, usize)> {
        let length = bytes.len() as u64;
        let is_new = !state.is_open
            || state.segments.back().is_some_and(|last| is_batch && last.length >= self.most_bytes / SEGMENTS);
        if is_batch {
            let used: u64 = state.segments.iter().map(|segment| segment.length).sum();
            let full = |what| Err(io::Error::new(io::ErrorKind::StorageFull, what));
            if used + length > self.most_bytes {
                return full("as much waits there as may");
            }
            // The store may write to the same disk, and it has to be possible to take a token away.
            if room(&self.directory).is_some_and(|(free, ample)| free < ample.saturating_mul(2)) {
                return full("the disk has not much room");
            }
        }
        if is_new {
            self.begin_segment(state)?;
        }
        let Some(last) = state.segments.back_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        match last.append(bytes, is_batch) {
            Ok(place) => Ok((last.number, place, bytes.len())),
            Err((error, is_clean)) => {
                state.is_open &= is_clean;
                Err(error)
            }
        }
    }

    fn begin_segment(&self, state: &mut State) -> io::Result<()> {
        state.is_open = false;
        let first_line = record::first_line(&self.node);
        let segment = Segment::create(&self.directory, state.next_segment, &self.node, &first_line)?;
        state.next_segment += 1;
        state.remove_done();
        state.segments.push_back(segment);
        state.is_open = true;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&self, batch: &Batch) {
        self.batches.fetch_add(1, Ordering::SeqCst);
        match &batch.place {
            Place::Disk { length, .. } => self.bytes.fetch_add(*length as u64, Ordering::Relaxed),
            Place::Memory(_) => self.in_memory.fetch_add(batch.count, Ordering::Relaxed) as u64,
        };
    }

    fn is(&self, batches: &VecDeque<Batch>) {
        let (mut bytes, mut in_memory) = (0, 0);
        for batch in batches {
            match &batch.place {
                Place::Disk { length, .. } => bytes += *length as u64,
                Place::Memory(_) => in_memory += batch.count,
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        self.in_memory.store(in_memory, Ordering::Relaxed);
        self.batches.store(batches.len(), Ordering::SeqCst);
    }
}

impl State {
    /// One that follows the last one on disk, and will be in one block with it, is one with it.
    fn add(&mut self, batch: Batch) {
        if let Some(Batch { number, count, place: Place::Disk { segment, place, length, batches, first: None } }) =
            self.batches.back_mut()
            && let Place::Disk { segment: its_segment, place: its_place, length: its_length, batches: more, .. } =
                batch.place
            && *number > self.sent
            && (its_segment, its_place) == (*segment, *place + *length as u64)
            && *count + batch.count <= BATCH
        {
            *number = batch.number;
            *count += batch.count;
            *length += its_length;
            *batches += more;
        } else {
            self.batches.push_back(batch);
        }
    }

    /// Takes in what an earlier process has left. Returns how many events can't be read any more.
    fn take_in(&mut self, number: u64, path: PathBuf) -> io::Result<usize> {
        let Opened { segment, records, lost } = Segment::open(number, path)?;
        let Some(segment) = segment else { return Ok(lost) };
        let mut done = 0;
        for record::Placed { place, length, record } in records {
            match record {
                record::Record::Done(through) => done = done.max(through),
                record::Record::Batch { number, count, first } => {
                    self.next_batch = self.next_batch.max(number + 1);
                    let place = Place::Disk { segment: segment.number, place, length, batches: 1, first };
                    self.batches.push_back(Batch { number, count, place });
                }
            }
        }
        self.next_batch = self.next_batch.max(done + 1);
        self.segments.push_back(segment);
        let gone: Vec<u64> = self
            .batches
            .iter()
            .filter(|batch| batch.number <= done)
            .filter_map(|batch| if let Place::Disk { segment, .. } = batch.place { Some(segment) } else { None })
            .collect();
        self.batches.retain(|batch| batch.number > done);
        gone.into_iter().for_each(|segment| self.forget(segment, 1));
        Ok(lost)
    }

    fn segment(&self, number: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.number == number)
    }

    fn read(&self, segment: u64, place: u64, length: usize) -> Lines {
        let read = match self.segment(segment) {
            Some(segment) => segment.read(place, length),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        read.unwrap_or_else(|error| {
            tracing::error!(%error, segment, place, "events of the audit that waited on disk can't be read");
            Lines::default()
        })
    }

    /// So many batches of this segment less wait.
    fn forget(&mut self, number: u64, batches: usize) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == number) {
            segment.waiting = segment.waiting.saturating_sub(batches);
        }
    }

    /// Segments of which no batch waits are of no use, but for the one that is written. They go in their order: a later one says under
    /// which name earlier batches may have been sent.
    fn remove_done(&mut self) {
        let kept = usize::from(self.is_open);
        while self.segments.len() > kept
            && let Some(first) = self.segments.pop_front_if(|first| first.waiting == 0)
        {
            first.remove();
        }
    }
}

#[cfg(test)]
mod tests;
