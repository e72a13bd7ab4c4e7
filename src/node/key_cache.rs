//! The key set that a process works with, and when it is read again (K6).

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::verify::{KeySet, Unavailable};

/// K6: unknown key ids make us re-read the set at most this often.
const UNKNOWN_EVERY: Duration = Duration::from_secs(1);

/// How long the origin is left alone after the first reading that was not new enough; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_millis(40);

/// The keys could not be read. Whoever tried has said why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRead;

/// What a reading yields: at least a key set.
pub trait Loaded: Send + Sync + 'static {
    /// The set.
    fn set(&self) -> &Arc<KeySet>;

    /// Whether it may be decided by where the store speaks of this version.
    fn serves(&self, version: u64) -> bool {
        self.set().version() >= version
    }
}

/// Where keys are read.
pub trait KeyOrigin: Send + Sync + 'static {
    /// What a reading yields.
    type Loaded: Loaded;

    /// How long a call waits for a reading.
    const PATIENCE: Duration = Duration::MAX;

    /// How long calls leave the origin alone after a reading that failed, and at the most after several that were not new enough.
    const REST: Duration = Duration::ZERO;

    /// Reads them, for somebody who waits so long. `now`: what is known; an older version must not take its place.
    fn read(&self, now: &Self::Loaded, within: Duration) -> impl Future<Output = Result<Self::Loaded, NotRead>> + Send;
}

/// See the module.
pub struct KeyCache<O: KeyOrigin> {
    origin: O,
    clock: Arc<dyn Clock>,
    current: ArcSwap<O::Loaded>,
    last_read: Mutex<LastRead>,
    /// Since when somebody reads.
    under_way: std::sync::Mutex<Option<tokio::time::Instant>>,
    /// Readings that have ended.
    ended: AtomicU64,
    /// Whether the last of them succeeded.
    was_read: AtomicBool,
}

/// How the last reading went.
#[derive(Default)]
struct LastRead {
    /// When that was, and whether they could be.
    outcome: Option<(Instant, Result<(), NotRead>)>,
    /// Nobody reads for the sake of a newer version before this.
    rests_until: Option<tokio::time::Instant>,
    /// Readings in a row that were not new enough.
    in_vain: u32,
}

impl LastRead {
    fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| tokio::time::Instant::now() < until)
    }

    fn rest(&mut self, duration: Duration) {
        self.rests_until = Some(tokio::time::Instant::now() + duration);
    }
}

/// Somebody reads, until this goes.
struct UnderWay<'a>(&'a std::sync::Mutex<Option<tokio::time::Instant>>);

impl<'a> UnderWay<'a> {
    fn begin(since: &'a std::sync::Mutex<Option<tokio::time::Instant>>) -> Self {
        *since.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::time::Instant::now());
        Self(since)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl From<NotRead> for Unavailable {
    fn from(_: NotRead) -> Self {
        Self
    }
}

impl<O: KeyOrigin> KeyCache<O> {
    /// Begins with what was read already.
    pub fn new(origin: O, loaded: O::Loaded, clock: Arc<dyn Clock>) -> Self {
        Self {
            origin,
            clock,
            current: ArcSwap::from_pointee(loaded),
            last_read: Mutex::default(),
            under_way: std::sync::Mutex::default(),
            ended: AtomicU64::new(0),
            was_read: AtomicBool::new(false),
        }
    }

    /// Where they are read.
    pub fn origin(&self) -> &O {
        &self.origin
    }

    /// What is known now.
    pub fn now(&self) -> Arc<O::Loaded> {
        self.current.load_full()
    }

    /// The set that is known now.
    pub fn set(&self) -> Arc<KeySet> {
        Arc::clone(self.current.load().set())
    }

    /// After an unknown key id: reads again, unless that was done just now. Where it could not be done just now, nobody knows
    /// whether there is such a key. Those who ask at the same time wait for one reading.
    pub async fn for_unknown(&self) -> Result<Arc<KeySet>, Unavailable> {
        let before = self.now();
        let mut last = self.turn().await?;
        if Arc::ptr_eq(&before, &self.now()) {
            match last.outcome {
                Some((ended, outcome)) if self.clock.monotonic().duration_since(ended) < UNKNOWN_EVERY => outcome?,
                _ => self.read_again(&mut last, O::PATIENCE).await?,
            }
        }
        Ok(self.set())
    }

    /// Takes what an earlier process has kept, unless something was read already.
    pub fn begin_with(&self, kept: O::Loaded) {
        let now = self.current.load();
        if now.set().version() == 0 {
            self.current.compare_and_swap(&now, Arc::new(kept));
        }
    }

    /// A set that [serves](Loaded::serves) this version.
    pub async fn at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        if let Some(set) = self.serving(version) {
            return Ok(set);
        }
        let ended = self.ended.load(Ordering::SeqCst);
        let mut last = self.turn().await?;
        // Whoever waited for a reading that began after he came need not read once more: of many who wait, one reads.
        if self.serving(version).is_none() && self.ended.load(Ordering::SeqCst) <= ended + 1 && !last.rests() {
            self.read_again(&mut last, O::PATIENCE).await?;
            if self.serving(version).is_none() {
                let rest = FIRST_REST * 2_u32.pow(last.in_vain.min(16));
                last.in_vain = last.in_vain.saturating_add(1);
                last.rest(rest.min(O::REST));
            }
        }
        self.serving(version).ok_or(Unavailable)
    }

    /// Waits for a reading that is under way, but not for one that takes its time.
    async fn turn(&self) -> Result<MutexGuard<'_, LastRead>, Unavailable> {
        let since = *self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let left = O::PATIENCE.saturating_sub(since.map(|since| since.elapsed()).unwrap_or_default());
        tokio::time::timeout(left, self.last_read.lock()).await.map_err(|_| Unavailable)
    }

    fn serving(&self, version: u64) -> Option<Arc<KeySet>> {
        let now = self.current.load();
        now.serves(version).then(|| Arc::clone(now.set()))
    }

    /// Whether the last reading succeeded.
    pub fn was_read(&self) -> bool {
        self.was_read.load(Ordering::SeqCst)
    }

    /// Reads again, whatever is known.
    pub async fn read(&self) -> Result<(), NotRead> {
        let mut last = self.last_read.lock().await;
        self.read_again(&mut last, Duration::MAX).await
    }

    async fn read_again(&self, last: &mut LastRead, within: Duration) -> Result<(), NotRead> {
        let under_way = UnderWay::begin(&self.under_way);
        let now = self.now();
        let read = self.origin.read(&now, within).await;
        drop(under_way);
        let outcome = match read {
            Ok(loaded) => {
                if loaded.set().version() != now.set().version() {
                    last.in_vain = 0;
                }
                self.current.store(Arc::new(loaded));
                Ok(())
            }
            Err(NotRead) => Err(NotRead),
        };
        self.was_read.store(outcome.is_ok(), Ordering::SeqCst);
        self.ended.fetch_add(1, Ordering::SeqCst);
        last.outcome = Some((self.clock.monotonic(), outcome));
        if outcome.is_err() {
            last.rest(O::REST);
        }
        outcome
    }
}
