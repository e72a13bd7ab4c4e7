//! Events on their way to the firehose (A2): a bounded queue, and one writer that sends batches.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;

use super::{Home, Node};
use crate::audit::Event;
use crate::store::{Batch, StoreError};

/// The most events of one entry of the firehose.
const BATCH: usize = 256;
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
    queue: mpsc::Sender<Event>,
    counters: RecorderCounters,
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
        let (queue, events) = mpsc::channel(capacity.max(1));
        let recorder = Arc::new(Self {
            node,
            sequence: AtomicU64::new(last_sequence),
            returned: Mutex::default(),
            queue,
            counters: RecorderCounters::default(),
        });
        let writer = Writer { recorder: Arc::clone(&recorder), events, process, last_batch: 0 };
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
        if self.queue.capacity() > 0 { Ok(()) } else { Err(Full) }
    }

    /// Takes one event. It gets its number when it is written.
    pub fn record(&self, event: Event) -> Result<(), Full> {
        match self.queue.try_send(event) {
            Ok(()) => {
                self.counters.taken.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(Full)
            }
        }
    }

    /// Numbers the event of an act, which its own script commits.
    pub fn number(&self, mut event: Event) -> Event {
        event.node.clone_from(&self.node);
        event.sequence =
            self.returned().pop_first().unwrap_or_else(|| self.sequence.fetch_add(1, Ordering::Relaxed) + 1);
        event
    }

    /// Takes back the number of an event that was certainly not committed.
    pub fn give_back(&self, sequence: u64) {
        self.returned().insert(sequence);
    }

    fn returned(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes batches.
pub struct Writer {
    recorder: Arc<Recorder>,
    events: mpsc::Receiver<Event>,
    process: String,
    last_batch: u64,
}

impl Writer {
    /// Writes until `stop`, then what is left for as long as `grace` allows. Returns how many events were left over.
    pub async fn run<H: Home>(
        mut self,
        node: Arc<Node<H>>,
        stop: tokio_util::sync::CancellationToken,
        grace: Duration,
    ) -> usize {
        let mut last_moment: Option<Instant> = None;
        loop {
            let mut events = Vec::new();
            tokio::select! {
                biased;
                count = self.events.recv_many(&mut events, BATCH) => if count == 0 { return 0 },
                () = stop.cancelled(), if last_moment.is_none() => {
                    last_moment = Some(Instant::now() + grace);
                    self.events.close();
                    continue;
                }
            }
            let gathered = Instant::now() + GATHER;
            while events.len() < BATCH && last_moment.is_none() {
                let room = BATCH - events.len();
                match tokio::time::timeout_at(gathered, self.events.recv_many(&mut events, room)).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            let batch = self.batch(events);
            let mut pause = Duration::from_millis(20);
            let mut told: Option<Instant> = None;
            while let Err(error) = append(&node, &batch).await {
                let over = last_moment.is_some_and(|moment| Instant::now() >= moment);
                if over {
                    let left = batch.count + self.events.len();
                    tracing::error!(left, %error, "events of the audit could not be written before the end");
                    return left;
                }
                self.recorder.counters.failures.fetch_add(1, Ordering::Relaxed);
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    let waiting = batch.count + self.events.len();
                    tracing::warn!(waiting, %error, "events of the audit wait for the store");
                }
                tokio::select! {
                    () = stop.cancelled(), if last_moment.is_none() => {
                        last_moment = Some(Instant::now() + grace);
                        self.events.close();
                    }
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
                }
            }
            let count = u64::try_from(batch.count).unwrap_or(0);
            self.recorder.counters.written.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn batch(&mut self, events: Vec<Event>) -> Batch {
        self.last_batch += 1;
        let count = events.len();
        let mut numbers = (u64::MAX, 0);
        let mut lines = String::new();
        for event in events {
            let event = self.recorder.number(event);
            numbers = (numbers.0.min(event.sequence), numbers.1.max(event.sequence));
            lines.push_str(&event.to_line());
            lines.push('\n');
        }
        Batch {
            node: self.recorder.node.clone(),
            process: self.process.clone(),
            number: self.last_batch,
            first: numbers.0,
            last: numbers.1,
            count,
            lines,
        }
    }
}

/// Events of a dataset must not be made in another one.
async fn append<H: Home>(node: &Node<H>, batch: &Batch) -> Result<(), StoreError> {
    node.home().met().await?;
    node.store().append(batch).await
}
