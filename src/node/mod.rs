//! What every process has that verifies tokens, an issuer like an API node: memory that follows the feed, a lease, look-ups,
//! the one function over both, and a recorder of what was decided.

mod call;
mod flights;
mod follower;
mod guessing;
mod key_cache;
mod record;
mod recorder;
mod verification;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use call::{Call, CallRecord, Original};
pub use follower::Follower;
pub use guessing::Guessing;
pub use key_cache::{KeyCache, KeyOrigin, Loaded, NotRead};
pub use record::Ending;
#[cfg(feature = "server")]
pub use recorder::ActEnd;
pub use recorder::{Full, Mode, Permit, Recorded, Recorder, RecorderCounters, Writer};
pub use verification::Refused;

use crate::clock::Clock;
use crate::store::{ActEntry, Claimed, NodeStore, StoreError};
use crate::told::Told;
use crate::verify::freshness::{Freshness, Identity};
use crate::verify::{Decider, KeySet, SignatureCounts, Unavailable};
use flights::Flights;

/// Where a node is at home: what an issuer and an API node do each in its own way.
pub trait Home: Send + Sync + 'static {
    /// The store as a node sees it.
    fn store(&self) -> &Arc<NodeStore>;

    /// Whether the store is the one that was met. Where it has become another server it is met again: by this process, if it is
    /// an issuer (F6); else an issuer has to have done it.
    fn met(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether this is the server that was met. Where it is not, [`met`](Self::met) is to be asked before anything rests on it.
    fn is_here(&self, identity: &Identity) -> bool;

    /// The key set in memory.
    fn keys(&self) -> Arc<KeySet>;

    /// The set after a key was met that is not in it (K6).
    fn keys_for_unknown(&self) -> impl Future<Output = Result<Arc<KeySet>, Unavailable>> + Send;

    /// Claims the chain of this node's blocks (A3): nobody else writes to it from then on.
    fn claim(&self, node: &str) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// Acts of this node that are committed and no block links.
    fn unlinked(&self, node: &str) -> impl Future<Output = Result<BTreeMap<u64, ActEntry>, StoreError>> + Send;

    /// A block links these by now.
    fn linked(&self, node: &str, acts: &[u64]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A set of at least this version.
    fn keys_at_least(&self, version: u64) -> impl Future<Output = Result<Arc<KeySet>, Unavailable>> + Send;
}

/// How often it is told that look-ups are not answered, and how soon that it is for another reason.
const UNANSWERED_AGAIN: Duration = Duration::from_secs(10);
const UNANSWERED_NEWS: Duration = Duration::from_secs(1);

/// What a node is made of.
pub struct Parts<H> {
    /// Where it is at home.
    pub home: H,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Its own issuer first, then those that it had before it moved.
    pub issuers: Vec<String>,
    /// How old the state behind a decision may be.
    pub max_staleness: Duration,
    /// Whether renewals wait for replicas, so that nothing counts but under a lease.
    pub renewals_wait: bool,
    /// The most bytes that states of accounts may take in memory.
    pub account_bytes: u64,
    /// The most bytes that signatures known to be genuine may take; 0: none is remembered.
    pub signature_bytes: u64,
    /// Invalid signatures that an address may send: a minute, and at once.
    pub guessing: (u32, u32),
    /// Where events go.
    pub recorder: Arc<Recorder>,
}

/// See the module.
pub struct Node<H> {
    home: H,
    clock: Arc<dyn Clock>,
    decider: Decider<dyn Clock>,
    freshness: Freshness,
    flights: Flights,
    guessing: Guessing,
    /// Look-ups that the store did not answer.
    unanswered: Mutex<Told>,
    recorder: Arc<Recorder>,
}

impl<H: Home> Node<H> {
    /// Knows nothing yet; a [`Follower`] sees to that.
    pub fn new(parts: Parts<H>) -> Self {
        let Parts { home, clock, issuers, guessing, recorder, .. } = parts;
        let freshness = Freshness::new(Arc::clone(&clock), parts.max_staleness, parts.account_bytes);
        Self {
            home,
            decider: Decider::new(issuers, Arc::clone(&clock)).with_signature_cache(parts.signature_bytes),
            freshness: freshness.only_under_leases(parts.renewals_wait),
            flights: Flights::default(),
            guessing: Guessing::new(guessing.0, guessing.1),
            unanswered: Mutex::new(Told::every(UNANSWERED_AGAIN, UNANSWERED_NEWS)),
            clock,
            recorder,
        }
    }

    /// Where it is at home.
    pub fn home(&self) -> &H {
        &self.home
    }

    /// The store as a node sees it.
    pub fn store(&self) -> &Arc<NodeStore> {
        self.home.store()
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What it knows, and for how long it may decide by it.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Where events go.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// What the memory of signatures has come to.
    pub fn signature_counts(&self) -> SignatureCounts {
        self.decider.signature_counts()
    }
}
