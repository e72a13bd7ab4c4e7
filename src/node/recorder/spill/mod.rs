//! Where events wait that the store has not taken yet: files in a directory of this process (protocols, section 6, A2).
//!
//! Every batch is written here first, and sent from here: so whoever kills the process takes the batch in the making with him, and
//! nothing else. Files are segments, which are written to their end and removed when the store has all of their batches. They are not
//! synced while the store takes what comes: it is the process that may be killed, not the machine. While it is away, they are, once a
//! second.
//!
//! Where a batch can't be written, because there is no room or no disk, it waits in memory, and so do those after it until there is:
//! in their order with the others.

mod record;
mod segment;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Lines;
use segment::Segment;

/// How often what waits is synced while the store is away.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// So many segments at the most, each of which is removed as a whole.
const SEGMENTS: u64 = 64;

/// See the module.
pub(super) struct Spill {
    node: String,
    directory: PathBuf,
    most_bytes: u64,
    state: Mutex<State>,
    /// A batch waits.
    pub(super) news: Notify,
}

struct State {
    /// The oldest first. The last one may be the one that is written.
    segments: VecDeque<Segment>,
    /// Whether the last segment is written.
    is_open: bool,
    batches: VecDeque<Batch>,
    /// Of the next segment.
    next_segment: u64,
    /// Of the next batch.
    next_batch: u64,
    synced: Instant,
    /// Held for as long as this process writes here.
    lock: Option<File>,
}

/// One that waits.
struct Batch {
    number: u64,
    count: usize,
    place: Place,
}

enum Place {
    Disk {
        segment: u64,
        place: u64,
        length: usize,
        /// The first event's id, of one that an earlier process has written.
        first: Option<String>,
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

impl Spill {
    /// Of this node, with what an earlier process has left there, and how many events that is.
    pub(super) fn open(node: &str, directory: &Path, most_bytes: u64) -> io::Result<(Self, usize)> {
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
            next_segment: 1,
            next_batch: 1,
            synced: Instant::now(),
            lock: Some(lock),
        };
        for (number, path) in segment::all_in(directory)? {
            state.next_segment = number + 1;
            state.take_in(number, path)?;
        }
        state.remove_done();
        let found = state.batches.iter().map(|batch| batch.count).sum();
        let (node, directory) = (node.to_owned(), directory.to_owned());
        Ok((Self { node, directory, most_bytes, state: Mutex::new(state), news: Notify::new() }, found))
    }

    /// Takes a batch; it waits from then on, on disk or in memory. `is_away`: the store does not take any.
    pub(super) fn push(&self, lines: Lines, is_away: bool) -> Kept {
        let mut state = self.state();
        let number = state.next_batch;
        state.next_batch += 1;
        let count = lines.count;
        let (place, kept) = match self.write(&mut state, &record::batch(number, &lines), true) {
            Ok((segment, place, length)) => (Place::Disk { segment, place, length, first: None }, Kept::OnDisk(lines)),
            Err(error) => (Place::Memory(lines), Kept::InMemory(error)),
        };
        state.batches.push_back(Batch { number, count, place });
        if is_away && state.synced.elapsed() >= SYNC_EVERY {
            state.sync();
        }
        drop(state);
        self.news.notify_one();
        kept
    }

    /// The next batches, with as many events as that, or one batch.
    pub(super) fn next(&self, most: usize) -> Option<Next> {
        let state = self.state();
        let mut next = Next { through: 0, lines: Lines::default(), lost: 0 };
        let mut taken = 0;
        while let Some(batch) = state.batches.get(taken) {
            if taken > 0 && next.lines.count + batch.count > most {
                break;
            }
            next.through = batch.number;
            taken += 1;
            let text = match &batch.place {
                Place::Memory(lines) => Some(std::borrow::Cow::Borrowed(lines.text.as_str())),
                Place::Disk { segment, place, length, .. } => state.read(*segment, *place, *length).map(Into::into),
            };
            match text {
                Some(text) => {
                    next.lines.text.push_str(&text);
                    next.lines.count += batch.count;
                }
                None => next.lost += batch.count,
            }
        }
        state.batches.front().is_some().then_some(next)
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
                Place::Disk { segment, .. } => state.forget(segment),
            }
        }
        state.remove_done();
        // Where it can't be written down, whoever comes next finds in the store what that has.
        if !state.segments.is_empty()
            && let Err(error) = self.write(&mut state, &record::done(through), false)
        {
            tracing::debug!(%error, "it can't be noted which events of the audit the store has");
        }
        (from_memory, events)
    }

    /// Of batches that earlier processes have left, the ids of their first events, by the node that they were of.
    pub(super) fn found(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let state = self.state();
        let mut found = BTreeMap::<String, BTreeMap<String, u64>>::new();
        for batch in &state.batches {
            if let Place::Disk { segment, first: Some(first), .. } = &batch.place
                && let Some(segment) = state.segment(*segment)
            {
                found.entry(segment.node.clone()).or_default().insert(first.clone(), batch.number);
            }
        }
        found
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
        let state = self.state();
        let in_memory = state.batches.iter().filter(|batch| matches!(batch.place, Place::Memory(_)));
        let events = in_memory.map(|batch| batch.count).sum();
        let on_disk = state.batches.iter().map(|batch| match batch.place {
            Place::Disk { length, .. } => length as u64,
            Place::Memory(_) => 0,
        });
        (on_disk.sum(), events)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().batches.is_empty()
    }

    /// Writes a record into the last segment, whole or not at all: its segment, place and length.
    fn write(&self, state: &mut State, bytes: &[u8], is_batch: bool) -> io::Result<(u64, u64, usize)> {
        let length = bytes.len() as u64;
        let is_new = !state.is_open
            || state.segments.back().is_some_and(|last| is_batch && last.length >= self.most_bytes / SEGMENTS);
        let first_line = record::first_line(&self.node);
        let used: u64 = state.segments.iter().map(|segment| segment.length).sum();
        if is_batch && used + length + (if is_new { first_line.len() as u64 } else { 0 }) > self.most_bytes {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spill file has no room for further events"));
        }
        if is_new {
            state.is_open = false;
            let segment = Segment::create(&self.directory, state.next_segment, &self.node, &first_line)?;
            state.next_segment += 1;
            state.remove_done();
            state.segments.push_back(segment);
            state.is_open = true;
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes in what an earlier process has left.
    fn take_in(&mut self, number: u64, path: PathBuf) -> io::Result<()> {
        let Some((segment, found)) = Segment::open(number, path)? else { return Ok(()) };
        let mut done = 0;
        for record::Placed { place, length, record } in found {
            match record {
                record::Record::Done(through) => done = done.max(through),
                record::Record::Batch { number, count, first } => {
                    self.next_batch = self.next_batch.max(number + 1);
                    let place = Place::Disk { segment: segment.number, place, length, first: Some(first) };
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
        gone.into_iter().for_each(|segment| self.forget(segment));
        Ok(())
    }

    fn segment(&self, number: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.number == number)
    }

    fn read(&self, segment: u64, place: u64, length: usize) -> Option<String> {
        self.segment(segment)?
            .read(place, length)
            .inspect_err(|error| {
                tracing::error!(%error, segment, place, "events of the audit that waited on disk can't be read");
            })
            .ok()
    }

    /// One batch of this segment less waits.
    fn forget(&mut self, number: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == number) {
            segment.waiting = segment.waiting.saturating_sub(1);
        }
    }

    /// Segments of which no batch waits are of no use, but for the one that is written.
    fn remove_done(&mut self) {
        let last = self.segments.back().filter(|_| self.is_open).map(|last| last.number);
        self.segments.retain(|segment| {
            let stays = segment.waiting > 0 || Some(segment.number) == last;
            if !stays {
                segment.remove();
            }
            stays
        });
    }

    fn sync(&mut self) {
        self.synced = Instant::now();
        let with_events: BTreeSet<u64> = self.segments.iter().rev().take(2).map(|segment| segment.number).collect();
        for segment in self.segments.iter().filter(|segment| with_events.contains(&segment.number)) {
            segment.sync();
        }
    }
}

#[cfg(test)]
mod tests;
