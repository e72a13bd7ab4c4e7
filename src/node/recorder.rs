//! Events on their way to the firehose (A2): a bounded queue, and one writer that sends batches.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Home, Node};
#[cfg(feature = "server")]
use crate::audit::Event;
use crate::audit::{Line, push_numbered};
use crate::store::{Batch, StoreError};

/// The most events of one entry of the firehose.
const BATCH: usize = 1024;
/// How long a batch waits for more.
const GATHER: Duration = Duration::from_millis(10);

/// How often it is said that events wait.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The queue is full: the store has been away for long. A call that can't be recorded is not answered.
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
    /// Room for so many events.
    room: usize,
    is_closed: bool,
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
        let queue = Queue { batches: VecDeque::new(), room: capacity.max(1), is_closed: false, spare: String::new() };
        let recorder = Arc::new(Self {
            node,
            sequence: AtomicU64::new(last_sequence),
            returned: Mutex::default(),
            queue: Mutex::new(queue),
            news: Notify::new(),
            counters: RecorderCounters::default(),
        });
        let writer = Writer { recorder: Arc::clone(&recorder), process, last_batch: 0 };
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

    /// Whether an event could be taken now.
    pub fn has_room(&self) -> Result<(), Full> {
        let queue = self.queue();
        if queue.room > 0 && !queue.is_closed { Ok(()) } else { Err(Full) }
    }

    /// Takes one event. It gets its number when it is written.
    pub fn record(&self, line: &Line<'_>) -> Result<(), Full> {
        match line.with_text(|text| self.queue().push(text)) {
            Ok(is_news) => {
                self.counters.taken.fetch_add(1, Ordering::Relaxed);
                if is_news {
                    self.news.notify_one();
                }
                Ok(())
            }
            Err(Full) => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(Full)
            }
        }
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

impl Queue {
    /// Whether the writer should know.
    fn push(&mut self, line: &str) -> Result<bool, Full> {
        if self.room == 0 || self.is_closed {
            return Err(Full);
        }
        self.room -= 1;
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

/// Writes batches.
pub struct Writer {
    recorder: Arc<Recorder>,
    process: String,
    last_batch: u64,
}

impl Writer {
    /// Writes until `stop`, then what is left for as long as `grace` allows. Returns how many events were left over.
    pub async fn run<H: Home>(mut self, node: Arc<Node<H>>, stop: CancellationToken, grace: Duration) -> usize {
        let recorder = Arc::clone(&self.recorder);
        let mut last_moment: Option<Instant> = None;
        let close = || {
            recorder.queue().is_closed = true;
            Some(Instant::now() + grace)
        };
        loop {
            if last_moment.is_none() && !self.gathered(&stop).await {
                last_moment = close();
            }
            let Some(lines) = recorder.queue().batches.pop_front() else {
                if last_moment.is_some() {
                    return 0;
                }
                continue;
            };
            let batch = self.batch(&lines);
            let mut pause = Duration::from_millis(20);
            let mut told: Option<Instant> = None;
            while let Err(error) = append(&node, &batch).await {
                let waiting = batch.count + recorder.queue().waiting();
                if last_moment.is_some_and(|moment| Instant::now() >= moment) {
                    tracing::error!(left = waiting, %error, "events of the audit could not be written before the end");
                    return waiting;
                }
                recorder.counters.failures.fetch_add(1, Ordering::Relaxed);
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    tracing::warn!(waiting, %error, "events of the audit wait for the store");
                }
                tokio::select! {
                    () = stop.cancelled(), if last_moment.is_none() => last_moment = close(),
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
                }
            }
            recorder.counters.written.fetch_add(u64::try_from(batch.count).unwrap_or(0), Ordering::Relaxed);
            recorder.written(lines);
        }
    }

    /// Waits until a batch is worth being written. `false`: it is to stop.
    async fn gathered(&self, stop: &CancellationToken) -> bool {
        let mut until: Option<Instant> = None;
        loop {
            {
                let queue = self.recorder.queue();
                if queue.is_full() {
                    return true;
                }
                if until.is_none() && !queue.batches.is_empty() {
                    until = Some(Instant::now() + GATHER);
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                () = self.recorder.news.notified() => {}
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return true,
            }
        }
    }

    fn batch(&mut self, lines: &Lines) -> Batch {
        self.last_batch += 1;
        let recorder = &self.recorder;
        let mut numbers = (u64::MAX, 0);
        let mut numbered = String::with_capacity(lines.text.len() + lines.count * (recorder.node.len() + 40));
        for line in lines.text.lines() {
            let sequence = recorder.next_number();
            numbers = (numbers.0.min(sequence), numbers.1.max(sequence));
            push_numbered(&mut numbered, line, &recorder.node, sequence);
            numbered.push('\n');
        }
        Batch {
            node: recorder.node.clone(),
            process: self.process.clone(),
            number: self.last_batch,
            first: numbers.0,
            last: numbers.1,
            count: lines.count,
            lines: numbered,
        }
    }
}

/// Events of a dataset must not be made in another one.
async fn append<H: Home>(node: &Node<H>, batch: &Batch) -> Result<(), StoreError> {
    node.home().met().await?;
    node.store().append(batch).await
}
