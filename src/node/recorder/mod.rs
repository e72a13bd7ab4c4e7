//! Events on their way to the firehose (A2): a bounded queue, and one writer that sends batches.

mod writer;

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[cfg(feature = "server")]
use crate::audit::Event;
use crate::audit::Line;

pub use writer::Writer;

/// The most events of one entry of the firehose.
const BATCH: usize = 1024;

/// The queue is full, as the store has been away for long; or it was closed. A call that can't be recorded is not answered.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the audit can't take further events")]
pub struct Full;

/// Takes events.
pub struct Recorder {
    node: String,
    sequence: AtomicU64,
    /// Numbers of acts that came to nothing; without them there would be gaps.
    returned: Mutex<BTreeSet<u64>>,
    queue: Mutex<Queue>,
    /// The first event waits, or a batch is full, or no further one will come.
    news: Notify,
    counters: RecorderCounters,
}

/// Events as lines, in the batches that they will be: they take the room of their text, and nobody waits long for his turn.
struct Queue {
    batches: VecDeque<Lines>,
    /// Room for so many events that nobody has reserved.
    room: usize,
    /// Permits that are held.
    reserved: usize,
    /// Only permits that are held are good for an event.
    is_closed: bool,
    /// Nor are these: nobody writes any more.
    has_ended: bool,
    /// The memory of a batch that was written.
    spare: String,
}

/// Events without numbers, one a line.
#[derive(Default)]
struct Lines {
    text: String,
    count: usize,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct RecorderCounters {
    /// Events that were taken.
    pub taken: AtomicU64,
    /// Events that were written.
    pub written: AtomicU64,
    /// Tries to write that failed.
    pub failures: AtomicU64,
    /// Events that could not be taken.
    pub refused: AtomicU64,
}

impl RecorderCounters {
    /// Events that were taken and not written yet.
    pub fn waiting(&self) -> u64 {
        // Written first: an event is taken before it is written.
        let written = self.written.load(Ordering::Relaxed);
        self.taken.load(Ordering::Relaxed).saturating_sub(written)
    }
}

impl Recorder {
    /// A recorder of this node, whose last event had this number, and its writer. `process` must be this process' alone.
    pub fn new(node: String, process: String, last_sequence: u64, capacity: usize) -> (Arc<Self>, Writer) {
        let queue = Queue {
            batches: VecDeque::new(),
            room: capacity.max(1),
            reserved: 0,
            is_closed: false,
            has_ended: false,
            spare: String::new(),
        };
        let recorder = Arc::new(Self {
            node,
            sequence: AtomicU64::new(last_sequence),
            returned: Mutex::default(),
            queue: Mutex::new(queue),
            news: Notify::new(),
            counters: RecorderCounters::default(),
        });
        let writer = Writer::new(Arc::clone(&recorder), process);
        (recorder, writer)
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What is counted.
    pub fn counters(&self) -> &RecorderCounters {
        &self.counters
    }

    /// Numbers go on after this one: an earlier process of this name has used it.
    pub fn go_on_after(&self, last: u64) {
        self.sequence.fetch_max(last, Ordering::Relaxed);
    }

    /// Keeps room for one event, which is then certain to be taken. For what must not be begun without an event at its end.
    pub fn reserve(self: &Arc<Self>) -> Result<Permit, Full> {
        let reserved = self.queue().reserve();
        self.counted(reserved)?;
        Ok(Permit { recorder: Some(Arc::clone(self)) })
    }

    /// Takes one event, if there is room. It gets its number when it is written.
    pub fn record(&self, line: &Line<'_>) -> Result<(), Full> {
        self.taken(line.with_text(|text| self.queue().push(text)))
    }

    /// From now on only permits that are held are good for an event.
    pub fn close(&self) {
        self.queue().is_closed = true;
    }

    fn taken(&self, is_news: Result<bool, Full>) -> Result<(), Full> {
        let is_news = self.counted(is_news)?;
        self.counters.taken.fetch_add(1, Ordering::Relaxed);
        if is_news {
            self.news.notify_one();
        }
        Ok(())
    }

    fn counted<T>(&self, result: Result<T, Full>) -> Result<T, Full> {
        if result.is_err() {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Numbers the event of an act, which its own script commits.
    #[cfg(feature = "server")]
    pub fn number(&self, mut event: Event) -> Event {
        event.node.clone_from(&self.node);
        event.sequence = self.next_number();
        event
    }

    fn next_number(&self) -> u64 {
        self.returned().pop_first().unwrap_or_else(|| self.sequence.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Takes back the number of an event that was certainly not committed.
    pub fn give_back(&self, sequence: u64) {
        self.returned().insert(sequence);
    }

    fn written(&self, lines: Lines) {
        let mut queue = self.queue();
        queue.room += lines.count;
        queue.spare = lines.text;
        queue.spare.clear();
    }

    fn returned(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one event. Given back where it is dropped without one.
#[must_use = "the room is given back when it is dropped"]
pub struct Permit {
    /// `None`: nothing is recorded, or no longer by this one.
    recorder: Option<Arc<Recorder>>,
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit(…)")
    }
}

impl Permit {
    /// For a process that records nothing.
    pub(crate) fn to_record_nothing() -> Self {
        Self { recorder: None }
    }

    /// Whether an event is worth being made.
    pub(crate) fn records(&self) -> bool {
        self.recorder.is_some()
    }

    /// Takes the event. There is room; but after the end nobody writes it any more.
    pub fn record(mut self, line: &Line<'_>) -> Result<(), Full> {
        let Some(recorder) = self.recorder.take() else { return Ok(()) };
        recorder.taken(line.with_text(|text| recorder.queue().push_reserved(text)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(recorder) = &self.recorder else { return };
        if recorder.queue().give_back() {
            recorder.news.notify_one();
        }
    }
}

impl Queue {
    fn reserve(&mut self) -> Result<(), Full> {
        if self.room == 0 || self.is_closed {
            return Err(Full);
        }
        self.room -= 1;
        self.reserved += 1;
        Ok(())
    }

    /// Whether the writer should know: it may wait for nothing else.
    fn give_back(&mut self) -> bool {
        self.reserved -= 1;
        self.room += 1;
        self.is_closed && self.reserved == 0
    }

    /// Whether the writer should know.
    fn push(&mut self, line: &str) -> Result<bool, Full> {
        self.reserve()?;
        self.push_reserved(line)
    }

    /// The same for an event that has its room. What is not taken gives the room back.
    fn push_reserved(&mut self, line: &str) -> Result<bool, Full> {
        if self.has_ended {
            self.give_back();
            return Err(Full);
        }
        self.reserved -= 1;
        let is_first = self.batches.is_empty();
        match self.batches.back_mut() {
            Some(last) if last.count < BATCH => {
                last.push(line);
                Ok(last.count == BATCH)
            }
            _ => {
                let mut lines = Lines { text: std::mem::take(&mut self.spare), count: 0 };
                lines.push(line);
                self.batches.push_back(lines);
                Ok(is_first)
            }
        }
    }

    fn is_full(&self) -> bool {
        self.batches.front().is_some_and(|first| first.count == BATCH)
    }

    /// `false`: there are events, or somebody may yet bring one.
    fn try_to_end(&mut self) -> bool {
        self.has_ended |= self.is_closed && self.batches.is_empty() && self.reserved == 0;
        self.has_ended
    }

    fn waiting(&self) -> usize {
        self.batches.iter().map(|lines| lines.count).sum()
    }
}

impl Lines {
    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.count += 1;
    }
}
