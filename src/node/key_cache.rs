//! The key set that a process works with, and when it is read again (K6).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::verify::{KeySet, Unavailable};

/// K6: unknown key ids make us re-read the set at most this often.
const UNKNOWN_EVERY: Duration = Duration::from_secs(1);

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

    /// Reads them. `now`: what is known; an older version must not take its place.
    fn read(&self, now: &Self::Loaded) -> impl Future<Output = Result<Self::Loaded, NotRead>> + Send;
}

/// See the module.
pub struct KeyCache<O: KeyOrigin> {
    origin: O,
    clock: Arc<dyn Clock>,
    current: ArcSwap<O::Loaded>,
    last_read: Mutex<Option<LastRead>>,
    /// Readings that have ended.
    ended: AtomicU64,
    /// Whether the last of them succeeded.
    was_read: AtomicBool,
}

/// When the keys were last read again, and whether they could be.
#[derive(Clone, Copy)]
struct LastRead {
    ended: Instant,
    outcome: Result<(), NotRead>,
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
            last_read: Mutex::new(None),
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
        let mut last = self.last_read.lock().await;
        if Arc::ptr_eq(&before, &self.now()) {
            match *last {
                Some(last) if self.clock.monotonic().duration_since(last.ended) < UNKNOWN_EVERY => last.outcome?,
                _ => self.read_again(&mut last).await?,
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
        let mut last = self.last_read.lock().await;
        // Whoever waited for a reading that began after he came need not read once more: of many who wait, one reads.
        if self.serving(version).is_none() && self.ended.load(Ordering::SeqCst) <= ended + 1 {
            self.read_again(&mut last).await?;
        }
        self.serving(version).ok_or(Unavailable)
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
        self.read_again(&mut last).await
    }

    async fn read_again(&self, last: &mut Option<LastRead>) -> Result<(), NotRead> {
        let outcome = match self.origin.read(&self.now()).await {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                Ok(())
            }
            Err(NotRead) => Err(NotRead),
        };
        self.was_read.store(outcome.is_ok(), Ordering::SeqCst);
        self.ended.fetch_add(1, Ordering::SeqCst);
        *last = Some(LastRead { ended: self.clock.monotonic(), outcome });
        outcome
    }
}
