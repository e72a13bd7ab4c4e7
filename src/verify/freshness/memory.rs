//! What is known of accounts and roles on one server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::window::Window;
use super::{Change, Definition, Entry, Identity, LookedUp, Place, stop};
use crate::account::{AccountId, StateRecord};
use crate::clock::Clock;
use crate::epoch::Epoch;
use crate::name::RoleName;
use crate::permission::Grant;
use crate::verify::{AsOf, Snapshot};

/// Renewals whose epoch has not been applied yet; older ones are worth less.
const PENDING: usize = 16;

/// The next entry of the feed is not the successor of the last one: something was trimmed without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the feed goes on at {found}, and not after {applied}")]
pub struct Gap {
    /// The epoch that was applied.
    pub applied: Epoch,
    /// The epoch of the next entry.
    pub found: Epoch,
}

type Grants = Option<Arc<BTreeSet<Grant>>>;

/// A record or a definition, with the epoch of its last change.
#[derive(Clone)]
struct Known<V> {
    version: Epoch,
    value: V,
}

/// All of one server. Where another server answers, or the feed has a gap, the whole is replaced by an empty one.
pub struct Memory {
    identity: Identity,
    base: Instant,
    /// Nanoseconds after `base` at which the lease ends; 0: there is none.
    lease: AtomicU64,
    accounts: Cache<AccountId, Known<Arc<StateRecord>>, Bytes>,
    roles: Cache<RoleName, Known<Grants>, Bytes>,
    written: Mutex<Written>,
}

/// What only one at a time may change.
struct Written {
    /// The epoch up to which the feed was applied.
    applied: Epoch,
    accounts: Window<AccountId, Arc<StateRecord>>,
    roles: Window<RoleName, Grants>,
    /// Renewals that returned an epoch which is not applied yet: when they were noted, and that epoch.
    pending: VecDeque<(Instant, Epoch, Duration)>,
    ended: bool,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} at {})", self.identity.as_str(), self.applied())
    }
}

impl Memory {
    pub(super) fn new(place: Place, bytes: u64, clock: &dyn Clock) -> Self {
        let now = clock.monotonic();
        // Roles are few; they get an eighth.
        let (for_accounts, for_roles) = (bytes - bytes / 8, bytes / 8);
        let shelf = |bytes: u64| (usize::try_from(bytes / 512).unwrap_or(usize::MAX).max(16), bytes);
        let (accounts, roles) = (shelf(for_accounts), shelf(for_roles));
        Self {
            identity: place.identity,
            base: now,
            lease: AtomicU64::new(0),
            accounts: Cache::with_weighter(accounts.0, accounts.1, Bytes),
            roles: Cache::with_weighter(roles.0, roles.1, Bytes),
            written: Mutex::new(Written {
                applied: place.epoch,
                accounts: Window::new(now),
                roles: Window::new(now),
                pending: VecDeque::new(),
                ended: false,
            }),
        }
    }

    /// Which server this is about.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The epoch up to which the feed was applied.
    pub fn applied(&self) -> Epoch {
        self.written().applied
    }

    /// How many accounts it knows.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// About how many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.accounts.weight() + self.roles.weight()
    }

    /// When the lease ends. `None`: there is none.
    pub fn lease(&self) -> Option<Instant> {
        match self.lease.load(Ordering::SeqCst) {
            0 => None,
            nanoseconds => Some(self.base + Duration::from_nanos(nanoseconds)),
        }
    }

    pub(super) fn version_of(&self, account: AccountId) -> Option<Epoch> {
        self.accounts.peek(&account).map(|known| known.version)
    }

    /// All that a decision about the account consults. `None`: not all of it is known.
    pub(super) fn snapshot(&self, account: AccountId) -> Option<Snapshot> {
        let known = self.accounts.get(&account)?;
        let mut as_of = AsOf { record: known.version, roles: BTreeMap::new() };
        let mut roles = BTreeMap::new();
        for role in named(&known.value) {
            let Known { version, value } = self.roles.get(role)?;
            if let Some(grants) = value {
                as_of.roles.insert(role.clone(), version);
                roles.insert(role.clone(), grants);
            }
        }
        // Whoever decides under a lease has the keys of the applied epoch.
        Some(Snapshot { record: Some(known.value), roles, keys_version: 0, as_of })
    }

    /// Applies the next entry of the feed.
    pub fn apply(&self, entry: Entry, clock: &dyn Clock) -> Result<(), Gap> {
        let mut written = self.written();
        let Entry { epoch, change } = entry;
        if epoch != (Epoch { counter: written.applied.counter + 1, ..written.applied }) {
            return Err(Gap { applied: written.applied, found: epoch });
        }
        let now = clock.monotonic();
        match change {
            Change::Account(id, record) => {
                let record = Arc::new(record);
                written.accounts.remember(now, id, epoch, Arc::clone(&record));
                if self.accounts.peek(&id).is_some_and(|known| known.version < epoch) {
                    self.accounts.insert(id, Known { version: epoch, value: record });
                }
            }
            Change::Role(name, grants) => {
                let grants = grants.map(Arc::new);
                written.roles.remember(now, name.clone(), epoch, grants.clone());
                if self.roles.peek(&name).is_some_and(|known| known.version < epoch) {
                    self.roles.insert(name, Known { version: epoch, value: grants });
                }
            }
            Change::Keys(_) | Change::Nothing => {}
        }
        stop::at("applied");
        // What memory says is counted as applied only now.
        written.applied = epoch;
        self.raise(&mut written);
        Ok(())
    }

    /// A renewal that was noted then returned this epoch.
    pub(super) fn renewed(&self, noted: Instant, epoch: Epoch, length: Duration) {
        let mut written = self.written();
        while written.pending.len() >= PENDING {
            written.pending.pop_front();
        }
        written.pending.push_back((noted, epoch, length));
        self.raise(&mut written);
    }

    /// Leases begin at those noted moments whose epoch has been applied.
    fn raise(&self, written: &mut Written) {
        if written.ended {
            return;
        }
        let applied = written.applied;
        let (fresh, pending) =
            std::mem::take(&mut written.pending).into_iter().partition(|(_, epoch, _)| *epoch <= applied);
        written.pending = pending;
        let fresh: VecDeque<(Instant, Epoch, Duration)> = fresh;
        for (noted, _, length) in fresh {
            let until = (noted + length).saturating_duration_since(self.base);
            self.lease.fetch_max(u64::try_from(until.as_nanos()).unwrap_or(0), Ordering::SeqCst);
        }
    }

    /// Puts an answer into memory. `false`: it is too old for that.
    pub(super) fn fill(&self, asked: Instant, account: AccountId, answer: &LookedUp, clock: &dyn Clock) -> bool {
        let mut written = self.written();
        let now = clock.monotonic();
        if written.ended || !written.accounts.covers(now, asked) || !written.roles.covers(now, asked) {
            return false;
        }
        // No record, no entry (S2).
        let Some(found) = &answer.record else { return true };
        let (version, record) = match written.accounts.newest(&account) {
            Some((newer, record)) if *newer > found.version => (*newer, Arc::clone(record)),
            _ => (found.version, Arc::new(found.record.clone())),
        };
        if self.accounts.peek(&account).is_none_or(|known| known.version < version) {
            self.accounts.insert(account, Known { version, value: record });
        }
        for role in named(&found.record) {
            let absent = Definition { version: answer.place.epoch, grants: None };
            let definition = answer.roles.get(role).unwrap_or(&absent);
            let (version, grants) = match written.roles.newest(role) {
                Some((newer, grants)) if *newer > definition.version => (*newer, grants.clone()),
                _ => (definition.version, definition.grants.clone()),
            };
            if self.roles.peek(role).is_none_or(|known| known.version < version) {
                self.roles.insert(role.clone(), Known { version, value: grants });
            }
        }
        true
    }

    /// Nothing is decided upon it any more.
    pub(super) fn end(&self) {
        let mut written = self.written();
        written.ended = true;
        self.lease.store(0, Ordering::SeqCst);
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The roles that a record names.
fn named(record: &StateRecord) -> impl Iterator<Item = &RoleName> {
    let state = match record {
        StateRecord::Live(state) => Some(state),
        StateRecord::Deleted(_) => None,
    };
    state.into_iter().flat_map(|state| std::iter::once(&state.role).chain(state.teams.values()))
}

/// About how many bytes an entry takes; rather more than less.
#[derive(Clone)]
struct Bytes;

/// Of the map's own.
const EACH: usize = 128;

impl Weighter<AccountId, Known<Arc<StateRecord>>> for Bytes {
    fn weight(&self, _: &AccountId, known: &Known<Arc<StateRecord>>) -> u64 {
        let held = match known.value.as_ref() {
            StateRecord::Live(state) => {
                let teams = state.teams.iter().map(|(team, role)| 96 + team.as_str().len() + role.as_str().len());
                let audiences = state.audiences.iter().map(|audience| 48 + audience.as_str().len());
                state.username.as_str().len()
                    + state.role.as_str().len()
                    + teams.sum::<usize>()
                    + audiences.sum::<usize>()
                    + state.allowed_networks.len() * size_of::<ipnet::IpNet>()
                    + state.binding.as_ref().map_or(0, |_| 64)
            }
            StateRecord::Deleted(gone) => gone.username.as_str().len(),
        };
        (EACH + size_of::<StateRecord>() + held) as u64
    }
}

impl Weighter<RoleName, Known<Grants>> for Bytes {
    fn weight(&self, name: &RoleName, known: &Known<Grants>) -> u64 {
        let grants = known.value.iter().flat_map(|grants| grants.iter());
        let held: usize = grants.map(|grant| size_of::<Grant>() + grant.to_string().len()).sum();
        (EACH + 2 * name.as_str().len() + held) as u64
    }
}
