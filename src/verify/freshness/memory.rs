//! What is known of accounts and roles on one server.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, DefaultLifecycle};

use super::weight::{Bytes, weight_of_role};
use super::window::Window;
use super::{Change, Definition, Entry, Identity, LookedUp, Place, stop};
use crate::account::{AccountId, AccountState, StateRecord};
use crate::clock::Clock;
use crate::epoch::Epoch;
use crate::name::RoleName;
use crate::permission::Grant;
use crate::verify::hashing::Seeded;
use crate::verify::snapshot::{Counted, RoleAt, Roles, SharedRecord, Snapshot};

/// So few that the shelf is not divided: a definition may be large, and is not often read.
const FEW: usize = 31;

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

/// A record with the epoch of its last change, and the roles that it names where they have been put together.
#[derive(Clone)]
pub(super) struct KnownAccount {
    version: Epoch,
    pub(super) record: SharedRecord,
    roles: Roles,
    /// How many changes of roles had been applied when `roles` were put together; 0: they have not been.
    roles_of: u64,
}

/// A definition with the epoch of its last change: a list of one, which all share who have no other role. `None`: there is no
/// such role.
#[derive(Clone)]
pub(super) struct KnownRole {
    version: Epoch,
    pub(super) definition: Option<Roles>,
}

type Shelf<K, V> = Cache<K, V, Bytes, Seeded, DefaultLifecycle<K, V>>;

/// All of one server. Where another server answers, or the feed has a gap, the whole is replaced by an empty one.
pub struct Memory {
    identity: Identity,
    base: Instant,
    /// Nanoseconds after `base` at which the lease ends; 0: there is none.
    lease: AtomicU64,
    /// Counters of the entry that is being applied, and of the one that was applied last: while they are equal, what is read is
    /// of one moment.
    begun: AtomicU64,
    done: AtomicU64,
    /// Rises with each change of a role: what was put together before it no longer holds. Begins at 1.
    role_changes: AtomicU64,
    accounts: Shelf<AccountId, KnownAccount>,
    roles: Shelf<RoleName, KnownRole>,
    /// Bytes of all definitions that anybody holds: accounts may do so longer than the shelf of roles.
    held_by_roles: Arc<AtomicU64>,
    /// The most bytes that definitions may take up.
    for_roles: u64,
    written: Mutex<Written>,
}

/// What only one at a time may change.
struct Written {
    /// The epoch up to which the feed was applied.
    applied: Epoch,
    accounts: Window<AccountId, SharedRecord>,
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
        // Roles are few; they get an eighth, of which half for those that are known and half for what accounts hold besides.
        let (for_accounts, for_roles) = (bytes - bytes / 8, bytes / 8);
        let entries = |bytes: u64| usize::try_from(bytes / 512).unwrap_or(usize::MAX).max(16);
        let seeded = Seeded::new();
        Self {
            identity: place.identity,
            base: now,
            lease: AtomicU64::new(0),
            begun: AtomicU64::new(place.epoch.counter),
            done: AtomicU64::new(place.epoch.counter),
            role_changes: AtomicU64::new(1),
            accounts: Cache::with(entries(for_accounts), for_accounts, Bytes, seeded, DefaultLifecycle::default()),
            roles: Cache::with(FEW, for_roles / 2, Bytes, seeded, DefaultLifecycle::default()),
            held_by_roles: Arc::default(),
            for_roles,
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
        self.accounts.weight() + self.held_by_roles.load(Ordering::Relaxed).max(self.roles.weight())
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

    /// All that a decision about the account consults, of one moment. `None`: not all of it is known, or it changed meanwhile.
    pub(super) fn snapshot(&self, account: AccountId) -> Option<Snapshot> {
        let done = self.done.load(Ordering::SeqCst);
        let mut known = self.accounts.get(&account)?;
        let changes = self.role_changes.load(Ordering::SeqCst);
        let were_put_together = known.roles_of == changes;
        let roles = if were_put_together { std::mem::take(&mut known.roles) } else { self.roles_of(&known.record)? };
        stop::at("a role was read");
        if self.begun.load(Ordering::SeqCst) != done {
            return None;
        }
        if !were_put_together {
            self.keep(account, &known, &roles, changes);
        }
        Some(Snapshot::resolved(known.record, known.version, roles))
    }

    /// The roles that a record names. `None`: one of them is not known, be it there or not.
    fn roles_of(&self, record: &SharedRecord) -> Option<Roles> {
        let Some(state) = record.state() else { return Some(Roles::default()) };
        let known = |role| self.roles.get(role).map(|known| known.definition.unwrap_or_default());
        if state.teams.is_empty() {
            return known(&state.role);
        }
        let lists = state.roles().map(known).collect::<Option<Vec<Roles>>>()?;
        Some(lists.iter().flatten().cloned().collect())
    }

    /// Keeps what was put together, so that it need not be done again before a role changes; if nothing has changed meanwhile,
    /// and nobody else is writing.
    fn keep(&self, account: AccountId, known: &KnownAccount, roles: &Roles, changes: u64) {
        let Ok(_written) = self.written.try_lock() else { return };
        let is_as_it_was = self.role_changes.load(Ordering::SeqCst) == changes
            && self.accounts.peek(&account).is_some_and(|now| now.version == known.version);
        if is_as_it_was {
            self.accounts.insert(account, KnownAccount { roles: roles.clone(), roles_of: changes, ..known.clone() });
        }
    }

    /// Applies the next entry of the feed.
    pub fn apply(&self, entry: Entry, clock: &dyn Clock) -> Result<(), Gap> {
        let mut written = self.written();
        let Entry { epoch, change } = entry;
        if epoch != (Epoch { counter: written.applied.counter + 1, ..written.applied }) {
            return Err(Gap { applied: written.applied, found: epoch });
        }
        let now = clock.monotonic();
        self.begun.store(epoch.counter, Ordering::SeqCst);
        match change {
            Change::Account(id, record) => {
                let record = SharedRecord::from(record);
                written.accounts.remember(now, id, epoch, record.clone());
                if self.accounts.peek(&id).is_some_and(|known| known.version < epoch) {
                    self.put_account(id, epoch, record);
                }
            }
            Change::Role(name, grants) => {
                let grants = grants.map(Arc::new);
                written.roles.remember(now, name.clone(), epoch, grants.clone());
                if self.roles.peek(&name).is_some_and(|known| known.version < epoch) {
                    self.put_role(name, epoch, grants);
                }
                // Also of a role that is not on the shelf: accounts may hold it still.
                self.role_changes.fetch_add(1, Ordering::SeqCst);
            }
            Change::Keys(_) | Change::Nothing => {}
        }
        stop::at("applied");
        // What memory says is counted as applied only now.
        written.applied = epoch;
        self.done.store(epoch.counter, Ordering::SeqCst);
        self.raise(&mut written);
        Ok(())
    }

    fn put_account(&self, id: AccountId, version: Epoch, record: SharedRecord) {
        self.accounts.insert(id, KnownAccount { version, record, roles: Roles::default(), roles_of: 0 });
    }

    fn put_role(&self, name: RoleName, version: Epoch, grants: Grants) {
        let definition = grants.map(|grants| {
            let counted = Counted::new(weight_of_role(&name, &grants), &self.held_by_roles);
            [Arc::new(RoleAt::new(name.clone(), version, grants).counted(counted))].into_iter().collect()
        });
        self.roles.insert(name, KnownRole { version, definition });
        // Far more roles than there is room for: whoever holds those that the shelf has let go of is to ask anew.
        if self.held_by_roles.load(Ordering::Relaxed) > self.for_roles {
            self.accounts.clear();
        }
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
        // Memory is of the moment that was applied: what is newer comes in when the feed has got there. Else an account could
        // meet with a role as it became after the account had lost it.
        let applied = written.applied;
        let (version, record) = match written.accounts.newest(&account) {
            Some((newer, record)) if *newer > found.version => (*newer, record.clone()),
            _ => (found.version, SharedRecord::from(found.record.clone())),
        };
        for role in roles_named(&found.record) {
            let absent = Definition { version: answer.place.epoch, grants: None };
            let definition = answer.roles.get(role).unwrap_or(&absent);
            let (version, grants) = match written.roles.newest(role) {
                Some((newer, grants)) if *newer > definition.version => (*newer, grants.clone()),
                _ => (definition.version, definition.grants.clone()),
            };
            let known = self.roles.peek(role);
            if version <= applied && known.as_ref().is_none_or(|known| known.version < version) {
                // Known roles are kept current by the feed. Should this one not have been, nothing put together of it holds.
                let is_other = known.is_some_and(|known| known.definition.is_some() || grants.is_some());
                self.put_role(role.clone(), version, grants);
                if is_other {
                    self.role_changes.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        if version <= applied && self.accounts.peek(&account).is_none_or(|known| known.version < version) {
            self.put_account(account, version, record);
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

fn roles_named(record: &StateRecord) -> impl Iterator<Item = &RoleName> {
    let state = match record {
        StateRecord::Live(state) => Some(state),
        StateRecord::Deleted(_) => None,
    };
    state.into_iter().flat_map(AccountState::roles)
}
