//! Events on their way to the firehose (A2): a bounded queue, and one writer that sends blocks, each linked to the one before (A3).

mod chain;
mod delivery;
mod mode;
mod spill;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::Home;
use crate::audit::Line;
#[cfg(feature = "server")]
use crate::audit::{Event, Numbered};
use crate::store::StoreError;
use chain::Chain;
use spill::Spill;

pub use mode::{Mode, Recorded};
pub use writer::Writer;

/// The most events of one block.
const BATCH: usize = 1024;

/// The queue is full, as the store has been away for long; or it was closed; or the event was not written in time. A call that can't be
/// recorded is not answered.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the audit can't take further events")]
pub struct Full;

/// Takes events.
pub struct Recorder {
    node: String,
    /// `None`: it was not claimed yet.
    chain: Mutex<Option<Chain>>,
    claiming: tokio::sync::Mutex<()>,
    /// It is not known what became of an act: to be found out by claiming the chain again.
    is_uncertain: AtomicBool,
    /// Acts may be committed that no block links.
    acts_wait: AtomicBool,
    queue: Mutex<Queue>,
    /// Whether an event that there is no room for is left out.
    drops: bool,
    /// How many events are written, for answers that wait for that.
    strict: Option<watch::Sender<u64>>,
    spill: Option<Arc<Spill>>,
    /// The first event waits, or a batch is full, or no further event will come.
    news: Notify,
    /// A block is to be written although no event may wait.
    links: Notify,
    /// The store does not take any.
    is_away: AtomicBool,
    counters: RecorderCounters,
}

/// Events as lines, in the batches that they will be: they take the room of their text, and nobody waits long for his turn.
struct Queue {
    batches: VecDeque<Lines>,
    /// Room for so many events that nobody has reserved.
    room: usize,
    /// Permits that are held.
    reserved: usize,
    /// Events that were taken.
    pushed: u64,
    /// Only permits that are held are good for an event.
    is_closed: bool,
    /// Nor are these: nobody writes any more.
    has_ended: bool,
    /// The memory of a batch that was written.
    spare: String,
}

/// What came of pushing an event.
struct Pushed {
    /// Whether the writer should know.
    is_news: bool,
    /// Which of the events it is.
    position: u64,
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
    /// Blocks that were written.
    pub blocks: AtomicU64,
    /// How long that took altogether, in microseconds, with the tries that failed.
    pub writing_us: AtomicU64,
    /// Tries to write that failed.
    pub failures: AtomicU64,
    /// Events that could not be taken, and calls that were therefore not answered.
    pub refused: AtomicU64,
    /// Calls that were not answered because their event was not written in time ([`Mode::Strict`]).
    pub late: Arc<AtomicU64>,
    /// Events that were left out ([`Mode::BestEffort`]).
    pub dropped: AtomicU64,
    /// Of these, how many an event tells of.
    announced: AtomicU64,
    /// Batches that could not be written to disk ([`Mode::Spill`]), and wait in memory.
    pub spill_failures: AtomicU64,
    /// Events that waited on disk and could not be read there any more.
    pub lost: AtomicU64,
}

impl RecorderCounters {
    /// Events that were taken and not written yet.
    pub fn waiting(&self) -> u64 {
        // Written first: an event is taken before it is written.
        let written = self.written.load(Ordering::Relaxed) + self.lost.load(Ordering::Relaxed);
        self.taken.load(Ordering::Relaxed).saturating_sub(written)
    }
}

impl Recorder {
    /// A recorder of this node with room for that many events in memory, and its writer. Before the first event is written, or an act
    /// numbered, its chain is to be [claimed](Self::claim).
    ///
    /// # Errors
    /// The directory of [`Mode::Spill`] can't be used.
    pub fn new(node: String, capacity: usize, mode: &Mode) -> io::Result<(Arc<Self>, Writer)> {
        let counters = RecorderCounters::default();
        let spill = match mode {
            Mode::Spill { directory, max_bytes } => {
                let named = |error| io::Error::other(format!("{}: {error}", directory.display()));
                let (spill, found) = Spill::open(&node, directory, *max_bytes).map_err(named)?;
                if found.events > 0 {
                    tracing::info!(
                        events = found.events,
                        "events of the audit that an earlier process has left follow now"
                    );
                }
                counters.taken.store((found.events + found.lost) as u64, Ordering::Relaxed);
                counters.lost.store(found.lost as u64, Ordering::Relaxed);
                Some(Arc::new(spill))
            }
            Mode::Strict | Mode::Memory | Mode::BestEffort => None,
        };
        let queue = Queue {
            batches: VecDeque::new(),
            room: capacity.max(1),
            reserved: 0,
            pushed: 0,
            is_closed: false,
            has_ended: false,
            spare: String::new(),
        };
        let recorder = Arc::new(Self {
            node,
            chain: Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
            is_uncertain: AtomicBool::new(false),
            acts_wait: AtomicBool::new(false),
            queue: Mutex::new(queue),
            drops: *mode == Mode::BestEffort,
            strict: (*mode == Mode::Strict).then(|| watch::Sender::new(0)),
            spill,
            news: Notify::new(),
            links: Notify::new(),
            is_away: AtomicBool::new(false),
            counters,
        });
        let writer = Writer::new(Arc::clone(&recorder));
        Ok((recorder, writer))
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What is counted.
    pub fn counters(&self) -> &RecorderCounters {
        &self.counters
    }

    /// How many bytes of events wait on disk.
    pub fn spilled_bytes(&self) -> u64 {
        self.spill.as_ref().map_or(0, |spill| spill.waiting().0)
    }

    /// Whether no answer is to be given before its event is written.
    pub fn is_strict(&self) -> bool {
        self.strict.is_some()
    }

    /// Keeps room for one event, which is then certain to be taken. For what must not be begun without an event at its end.
    pub fn reserve(self: &Arc<Self>) -> Result<Permit, Full> {
        let mut queue = self.queue();
        let has_room = match queue.reserve() {
            Ok(()) => true,
            Err(Full) if self.drops && !queue.is_closed => false,
            Err(Full) => return Err(self.refused()),
        };
        Ok(Permit { recorder: Some(Arc::clone(self)), has_room })
    }

    /// Takes one event, if there is room. It gets its number when it is written.
    pub fn record(&self, line: &Line<'_>) -> Result<Recorded, Full> {
        self.taken(line.with_text(|text| self.queue().push(text)))
    }

    /// From now on only permits that are held are good for an event.
    pub fn close(&self) {
        self.queue().is_closed = true;
    }

    fn taken(&self, pushed: Result<Pushed, Full>) -> Result<Recorded, Full> {
        let Pushed { is_news, position } = match pushed {
            Ok(pushed) => pushed,
            Err(Full) if self.drops => {
                self.leave_out();
                return Ok(Recorded::at_once());
            }
            Err(Full) => return Err(self.refused()),
        };
        self.counters.taken.fetch_add(1, Ordering::Relaxed);
        if is_news {
            self.news.notify_one();
        }
        let late = || Arc::clone(&self.counters.late);
        let waits = self.strict.as_ref().map(|written| Recorded::waits_for(written.subscribe(), position, late()));
        Ok(waits.unwrap_or_else(Recorded::at_once))
    }

    /// An event is left out.
    fn leave_out(&self) {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        self.links.notify_one();
    }

    fn refused(&self) -> Full {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        Full
    }

    /// Events that were left out, and that none tells of yet.
    fn unannounced(&self) -> u64 {
        let announced = self.counters.announced.load(Ordering::Relaxed);
        self.counters.dropped.load(Ordering::Relaxed).saturating_sub(announced)
    }

    /// Claims the node's chain, unless somebody else of this process did since the `stale` claim.
    pub async fn claim<H: Home>(&self, home: &H, stale: Option<&str>) -> Result<(), StoreError> {
        let _one = self.claiming.lock().await;
        if self.chain().as_ref().map(Chain::claim) != stale {
            return Ok(());
        }
        let claimed = home.claim(&self.node).await?;
        let has_acts = claimed.acts.as_ref().is_some_and(|acts| !acts.unlinked.is_empty());
        let chain = Chain::of(claimed);
        if stale.is_some() {
            tracing::info!(node = self.node, "the chain of the audit was claimed again");
        }
        let is_news = has_acts || chain.has_void();
        *self.chain() = Some(chain);
        self.acts_wait.fetch_or(has_acts, Ordering::SeqCst);
        if is_news {
            self.links.notify_one();
        }
        Ok(())
    }

    /// Claims the chain of another node and writes the block that links its acts: for one that does not do so itself.
    #[cfg(feature = "server")]
    pub async fn link_for<H: Home>(home: &H, node: &str) -> Result<(), StoreError> {
        home.met().await?;
        let claimed = home.claim(node).await?;
        let committed = claimed.acts.as_ref().map(|acts| acts.unlinked.clone()).unwrap_or_default();
        let mut chain = Chain::of(claimed);
        if chain.is_to_link(&committed) || chain.has_void() {
            let block = chain.seal(node, "", 0, &committed);
            let entry = home.store().append(&block).await?.ok_or(StoreError::Unclaimed)?;
            chain.written(&block, entry);
        }
        home.linked(node, &chain.linked()).await
    }

    /// Numbers the event of an act, which its own script commits.
    #[cfg(feature = "server")]
    pub fn number(&self, mut event: Event) -> Numbered {
        event.node.clone_from(&self.node);
        let mut chain = self.chain();
        // Issuers claim it before they do anything; without a claim nothing is committed.
        let (sequence, claim) =
            chain.as_mut().map(|chain| (chain.give(), chain.claim().to_owned())).unwrap_or_default();
        event.sequence = sequence;
        Numbered { event, claim }
    }

    /// There may be acts of ours that no block links.
    #[cfg(feature = "server")]
    pub fn look_for_acts(&self) {
        self.acts_wait.store(true, Ordering::SeqCst);
        self.links.notify_one();
    }

    /// What became of an act that was numbered.
    #[cfg(feature = "server")]
    pub fn act_ended(&self, act: &Numbered, how: ActEnd) {
        match how {
            ActEnd::Committed => self.look_for_acts(),
            ActEnd::Unknown => {
                self.is_uncertain.store(true, Ordering::SeqCst);
                self.links.notify_one();
            }
            ActEnd::NotCommitted => {
                let mut chain = self.chain();
                // Under another claim the number is void already.
                if let Some(chain) = chain.as_mut().filter(|chain| chain.claim() == act.claim) {
                    chain.give_back(act.sequence);
                }
            }
        }
    }

    fn chain(&self) -> MutexGuard<'_, Option<Chain>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a block is to be written although no event waits.
    fn has_links(&self) -> bool {
        self.acts_wait.load(Ordering::SeqCst)
            || self.unannounced() > 0
            || self.is_uncertain.load(Ordering::SeqCst)
            || self.chain().as_ref().is_some_and(Chain::has_void)
    }

    /// The memory of so many events is free.
    fn written(&self, lines: Lines, count: usize) {
        let mut queue = self.queue();
        queue.room += count;
        if lines.text.capacity() > queue.spare.capacity() {
            queue.spare = lines.text;
            queue.spare.clear();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an act ended, for its number.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActEnd {
    /// It was committed, with its event.
    Committed,
    /// It certainly was not.
    NotCommitted,
    /// Nobody knows.
    Unknown,
}

/// Room for one event. Given back where it is dropped without one.
#[must_use = "the room is given back when it is dropped"]
pub struct Permit {
    /// `None`: nothing is recorded, or no longer by this one.
    recorder: Option<Arc<Recorder>>,
    /// Otherwise the event is left out.
    has_room: bool,
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit(…)")
    }
}

impl Permit {
    /// For a process that records nothing.
    pub(crate) fn to_record_nothing() -> Self {
        Self { recorder: None, has_room: false }
    }

    /// Whether an event is worth being made.
    pub(crate) fn records(&self) -> bool {
        self.recorder.is_some()
    }

    /// Takes the event. There is room; but after the end nobody writes it any more.
    pub fn record(mut self, line: &Line<'_>) -> Result<Recorded, Full> {
        let Some(recorder) = self.recorder.take() else { return Ok(Recorded::at_once()) };
        if !self.has_room {
            recorder.leave_out();
            return Ok(Recorded::at_once());
        }
        recorder.taken(line.with_text(|text| recorder.queue().push_reserved(text)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(recorder) = self.recorder.as_ref().filter(|_| self.has_room) else { return };
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

    fn push(&mut self, line: &str) -> Result<Pushed, Full> {
        self.reserve()?;
        self.push_reserved(line)
    }

    /// The same for an event that has its room. What is not taken gives the room back.
    fn push_reserved(&mut self, line: &str) -> Result<Pushed, Full> {
        if self.has_ended {
            self.give_back();
            return Err(Full);
        }
        self.reserved -= 1;
        self.pushed += 1;
        let is_first = self.batches.is_empty();
        let is_news = match self.batches.back_mut() {
            Some(last) if last.count < BATCH => {
                last.push(line);
                last.count == BATCH
            }
            _ => {
                let mut lines = Lines { text: std::mem::take(&mut self.spare), count: 0 };
                lines.push(line);
                self.batches.push_back(lines);
                is_first
            }
        };
        Ok(Pushed { is_news: is_news || self.room == 0, position: self.pushed })
    }

    /// Whether there is nothing to be waited for.
    fn is_full(&self) -> bool {
        self.batches.front().is_some_and(|first| first.count == BATCH || self.room == 0)
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
