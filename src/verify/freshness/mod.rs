//! What a node knows of accounts and roles, and for how long it may decide by it (protocols, section 2).
//!
//! A node answers from memory only while it can prove that its memory is fresh. The proof is a lease: the node notes its
//! clock, asks the store for its epoch, and once it has applied all changes up to that epoch, its memory was fresh at the
//! noted moment; the lease runs from there. Nothing here speaks to the store or waits: whoever does hands over what came
//! back, and each answer comes with what was noted before it was asked for.

mod memory;
mod stop;
mod weight;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

pub use memory::{Gap, Memory};

use super::{Basis, RoleAt, SharedRecord, Snapshot};
use crate::account::{AccountId, StateRecord, Versioned};
use crate::clock::Clock;
use crate::epoch::Epoch;
use crate::name::RoleName;
use crate::permission::Grant;

/// Changes of the last so many seconds are remembered for accounts that are not in memory, too; and an answer that was asked
/// for earlier is not put into memory.
pub const WINDOW: Duration = Duration::from_secs(5);

/// A lease is renewed so many times in its length.
pub const RENEWALS_PER_LEASE: u32 = 3;

/// Which server holds which dataset (F6): both, in one text that is only ever compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity(Arc<str>);

impl Identity {
    /// This server with this dataset.
    pub fn new(dataset: &str, server: &str) -> Self {
        Self(format!("{dataset} {server}").into())
    }

    /// As it is written down.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that names the server.
    pub fn server(&self) -> &str {
        self.0.split_once(' ').map_or("", |(_, server)| server)
    }
}

/// Where an answer of the store comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which server.
    pub identity: Identity,
    /// Its epoch at the moment of the answer.
    pub epoch: Epoch,
}

/// The definition of a role with the epoch of its last change. `None`: there is no such role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The epoch of its last change; of a role that isn't there, one at which it wasn't.
    pub version: Epoch,
    /// What it grants.
    pub grants: Option<Arc<BTreeSet<Grant>>>,
}

/// The answer to a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedUp {
    /// Where it comes from.
    pub place: Place,
    /// The version of the key set.
    pub keys_version: u64,
    /// The record. `None`: there never was one.
    pub record: Option<Versioned>,
    /// The roles that the record names, as far as they exist.
    pub roles: BTreeMap<RoleName, Definition>,
}

/// What one entry of the feed says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The new record of an account.
    Account(AccountId, StateRecord),
    /// The new definition of a role. `None`: it was deleted.
    Role(RoleName, Option<BTreeSet<Grant>>),
    /// The new version of the key set. To be read before the entry is applied.
    Keys(u64),
    /// Something that no verification consults.
    Nothing,
}

/// One entry of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its epoch.
    pub epoch: Epoch,
    /// What it says.
    pub change: Change,
}

/// What was noted before a renewal was sent.
#[derive(Debug, Clone)]
pub struct Noted {
    at: Instant,
    memory: Arc<Memory>,
    applied: Epoch,
}

impl Noted {
    /// The epoch that was applied when it was noted.
    pub fn applied(&self) -> Epoch {
        self.applied
    }

    /// Which server the memory follows.
    pub fn identity(&self) -> &Identity {
        self.memory.identity()
    }
}

/// What was noted before a look-up was sent.
#[derive(Debug, Clone)]
pub struct Asked {
    at: Instant,
    era: u64,
    memory: Option<Arc<Memory>>,
    /// The epoch that was applied then.
    applied: Option<Epoch>,
    account: AccountId,
    /// The version of the account's record that was known then.
    version: Option<Epoch>,
    /// Until when memory might have been decided upon.
    lease: Option<Instant>,
}

/// Why an answer is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Everything that was under way was dropped meanwhile. To ask again is right.
    #[error("what was known was dropped meanwhile")]
    Dropped,
    /// Another server answered than the one that the memory follows (F6). Everything was dropped.
    #[error("another server answered")]
    OtherServer,
    /// The store has gone back behind what it had said before (R2).
    #[error("the store has gone back behind what it had said before")]
    RolledBack,
    /// The store that answered has gone back behind what was applied here, so that it is not followed (R2).
    #[error("the store has gone back behind what was applied here, and is not followed; the log says what to do")]
    NotFollowed,
    /// Answers count under a lease alone, and there is none.
    #[error("the lease of this node is not renewed: too few replicas confirm it")]
    NoLease,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Tokens that were decided about.
    pub decided: AtomicU64,
    /// States read from memory.
    pub recalled: AtomicU64,
    /// Look-ups.
    pub looked_up: AtomicU64,
    /// Renewals that were sent.
    pub renewals: AtomicU64,
    /// Readings of the feed.
    pub feed_reads: AtomicU64,
    /// How often everything was dropped.
    pub dropped: AtomicU64,
    /// Answers of a store that had gone back.
    pub rolled_back: AtomicU64,
    /// Answers that came too late to be put into memory.
    pub late: AtomicU64,
}

/// The freshness of one node.
pub struct Freshness {
    clock: Arc<dyn Clock>,
    /// How old the state behind a decision may be; the length of the lease. Fixed for the life of the process. Zero: F4.
    max_staleness: Duration,
    /// The most bytes that memory may hold.
    bytes: u64,
    /// Whether an answer to a look-up, too, counts only under a lease.
    only_under_leases: bool,
    current: ArcSwapOption<Memory>,
    /// Rises whenever everything is dropped.
    era: AtomicU64,
    closed: AtomicBool,
    /// One drop at a time. Inside: the server that was followed last and how far.
    furthest: Mutex<Option<Place>>,
    /// The server that was not followed at the last beginning.
    refused: ArcSwapOption<Identity>,
    counters: Counters,
}

impl Freshness {
    /// Knows nothing yet.
    pub fn new(clock: Arc<dyn Clock>, max_staleness: Duration, bytes: u64) -> Self {
        Self {
            clock,
            max_staleness,
            bytes,
            only_under_leases: false,
            current: ArcSwapOption::empty(),
            era: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            furthest: Mutex::new(None),
            refused: ArcSwapOption::empty(),
            counters: Counters::default(),
        }
    }

    /// Where renewals wait for replicas: answers to look-ups, which wait for none, count under a lease alone. So nothing rests on
    /// what a server says that may have lost its replicas without having noticed (F1).
    #[must_use]
    pub fn only_under_leases(self, only: bool) -> Self {
        Self { only_under_leases: only, ..self }
    }

    /// How old the state behind a decision may be. Zero: every record is looked up (F4), and there is no memory.
    pub fn max_staleness(&self) -> Duration {
        self.max_staleness
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is known now. `None`: nothing.
    pub fn memory(&self) -> Option<Arc<Memory>> {
        self.current.load_full()
    }

    /// Whether decisions are made from memory now.
    pub fn has_lease(&self) -> bool {
        let lease = self.memory().and_then(|memory| memory.lease());
        lease.is_some_and(|until| self.clock.monotonic() < until)
    }

    /// What memory says of an account, and until when that may be decided upon. F2: the lease is captured before the state is
    /// read, and whoever decides reads the clock last.
    pub fn recall(&self, account: AccountId) -> Option<Basis> {
        let memory = self.current.load();
        let memory = memory.as_ref()?;
        let until = memory.lease()?;
        stop::at("captured");
        let snapshot = memory.snapshot(account)?;
        stop::at("read");
        self.counters.recalled.fetch_add(1, Ordering::Relaxed);
        Some(Basis { snapshot, until: Some(until) })
    }

    /// To be said before a look-up is sent.
    pub fn asking(&self, account: AccountId) -> Asked {
        self.counters.looked_up.fetch_add(1, Ordering::Relaxed);
        // The era first: a drop in between makes the answer unusable.
        let era = self.era.load(Ordering::SeqCst);
        let memory = self.memory();
        let applied = memory.as_ref().map(|memory| memory.applied());
        let version = memory.as_ref().and_then(|memory| memory.version_of(account));
        let lease = memory.as_ref().and_then(|memory| memory.lease());
        Asked { era, memory, applied, version, lease, account, at: self.clock.monotonic() }
    }

    /// The answer to a look-up: put into memory where it may be, and good for a decision for as long as it is not older than
    /// the bound, measured from before it was asked for.
    pub fn answered(&self, asked: Asked, answer: LookedUp) -> Result<Basis, Unusable> {
        if self.era.load(Ordering::SeqCst) != asked.era {
            return Err(Unusable::Dropped);
        }
        if asked.memory.is_none() && !self.max_staleness.is_zero() {
            // Between two memories: only the server that was followed last is believed.
            let furthest = self.furthest.lock().unwrap_or_else(PoisonError::into_inner);
            if furthest.as_ref().is_some_and(|known| known.identity != answer.place.identity) {
                let refused = self.refused.load();
                let is_refused = refused.as_deref().is_some_and(|refused| *refused == answer.place.identity);
                return Err(if is_refused { Unusable::NotFollowed } else { Unusable::OtherServer });
            }
            if furthest.as_ref().is_some_and(|known| answer.place.epoch < known.epoch) {
                self.counters.rolled_back.fetch_add(1, Ordering::Relaxed);
                return Err(Unusable::RolledBack);
            }
        }
        if let Some(memory) = &asked.memory {
            self.same_server(memory, &answer.place)?;
            let found = answer.record.as_ref().map(|found| found.version).unwrap_or_default();
            let went_back = asked.applied.is_some_and(|applied| answer.place.epoch < applied)
                || asked.version.is_some_and(|version| found < version);
            if went_back {
                return Err(self.rolled_back(memory));
            }
            if !memory.fill(asked.at, asked.account, &answer, self.clock.as_ref()) {
                self.counters.late.fetch_add(1, Ordering::Relaxed);
            }
        }
        // F4: without a bound to keep, every answer is as good as its time-out.
        let bound = (!self.max_staleness.is_zero()).then(|| asked.at + self.max_staleness);
        let until = match (self.only_under_leases, bound) {
            (true, Some(bound)) => Some(bound.min(asked.lease.ok_or(Unusable::NoLease)?)),
            (_, bound) => bound,
        };
        Ok(Basis { snapshot: snapshot_of(answer), until })
    }

    /// To be said before a renewal is sent. `None`: nothing is followed, so that no lease could come of it.
    pub fn noting(&self) -> Option<Noted> {
        let memory = self.memory()?;
        let applied = memory.applied();
        // Before it is sent, and not when the reply is there: the reply is of some moment in between.
        Some(Noted { at: self.clock.monotonic(), memory, applied })
    }

    /// The reply to a renewal that the store has recorded.
    pub fn renewed(&self, noted: &Noted, place: &Place) -> Result<(), Unusable> {
        self.same_server(&noted.memory, place)?;
        if place.epoch < noted.applied {
            return Err(self.rolled_back(&noted.memory));
        }
        noted.memory.renewed(noted.at, place.epoch, self.max_staleness);
        Ok(())
    }

    /// The reply to a renewal that was not recorded, because another server answered.
    pub fn another_server(&self, noted: &Noted, place: &Place) -> Result<(), Unusable> {
        self.same_server(&noted.memory, place)
    }

    /// How far the feed was applied at last, and on which server. `None`: it never was.
    pub fn furthest(&self) -> Option<Place> {
        let now = self.memory().map(|memory| Place { identity: memory.identity().clone(), epoch: memory.applied() });
        now.or_else(|| self.furthest.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Begins anew with an empty memory at this place, from which on the feed is followed. Everything known before is dropped:
    /// memory, window, lease, and every answer under way.
    ///
    /// `term_ended`: the counter at which, as this place has it, the term of the epoch ended that was applied at last, if that was the same
    /// server's; 0 where an issuer that was there has made up for all of it. R2: one that does not know that term is a copy from before, or
    /// has gone another way, and is not followed. One that knows less of it than was applied has lost its tail; it serves, so that each of
    /// its issuers has made up for what that ended.
    pub fn begin(&self, place: &Place, term_ended: Option<u64>) -> Result<Arc<Memory>, Unusable> {
        let mut furthest = self.furthest.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_known(&mut furthest);
        let goes_on = furthest.as_ref().is_none_or(|known| {
            if known.identity == place.identity {
                place.epoch >= known.epoch
            } else {
                place.epoch.term > known.epoch.term && term_ended.is_some()
            }
        });
        self.refused.store((!goes_on).then(|| Arc::new(place.identity.clone())));
        if !goes_on {
            self.counters.rolled_back.fetch_add(1, Ordering::Relaxed);
            return Err(Unusable::RolledBack);
        }
        let memory = Arc::new(Memory::new(place.clone(), self.bytes, self.clock.as_ref()));
        *furthest = Some(place.clone());
        if !self.closed.load(Ordering::SeqCst) {
            self.current.store(Some(Arc::clone(&memory)));
        }
        Ok(memory)
    }

    /// Drops what is known, if it is still this.
    pub fn drop_memory(&self, memory: &Arc<Memory>) {
        let mut furthest = self.furthest.lock().unwrap_or_else(PoisonError::into_inner);
        if self.current.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, memory)) {
            self.drop_known(&mut furthest);
        }
    }

    /// The node goes: its lease is dropped before it says goodbye, and there will be no other.
    pub fn close(&self) {
        let mut furthest = self.furthest.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::SeqCst);
        self.drop_known(&mut furthest);
    }

    /// F6: where another server answers, everything is dropped.
    pub fn same_server(&self, memory: &Arc<Memory>, place: &Place) -> Result<(), Unusable> {
        if *memory.identity() == place.identity {
            return Ok(());
        }
        self.drop_memory(memory);
        Err(Unusable::OtherServer)
    }

    /// R2: it is refused, counted, and whoever asked says so aloud.
    pub fn rolled_back(&self, memory: &Arc<Memory>) -> Unusable {
        self.counters.rolled_back.fetch_add(1, Ordering::Relaxed);
        self.drop_memory(memory);
        Unusable::RolledBack
    }

    fn drop_known(&self, furthest: &mut Option<Place>) {
        self.era.fetch_add(1, Ordering::SeqCst);
        if let Some(memory) = self.current.swap(None) {
            memory.end();
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            *furthest = Some(Place { identity: memory.identity().clone(), epoch: memory.applied() });
        }
    }
}

fn snapshot_of(answer: LookedUp) -> Snapshot {
    let roles = answer.roles.into_iter().filter_map(|(name, definition)| {
        definition.grants.map(|grants| Arc::new(RoleAt::new(name, definition.version, grants)))
    });
    let record = answer.record.map(|found| (SharedRecord::from(found.record), found.version));
    Snapshot::new(record, roles, answer.keys_version)
}

#[cfg(test)]
mod deciding;
#[cfg(test)]
mod tests;
