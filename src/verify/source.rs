use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use super::KeySet;
use crate::account::{AccountId, AccountState, StateRecord};
use crate::epoch::Epoch;
use crate::name::RoleName;
use crate::permission::{Grant, Powers};

/// The state can't be known within the staleness bound. There is no answer then but a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state can't be known right now")]
pub struct Unavailable;

/// Which moment a decision was about: acts that rest on it are carried out only while nothing of it has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsOf {
    /// The epoch of the account's last change.
    pub record: Epoch,
    /// The epochs of the last changes of the roles that it has.
    pub roles: BTreeMap<RoleName, Epoch>,
}

/// All that one decision consults, of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The account's record. `None`: there never was one.
    pub record: Option<Arc<StateRecord>>,
    /// The definitions of the roles that the record names. A role that is not here grants nothing.
    pub roles: BTreeMap<RoleName, Arc<BTreeSet<Grant>>>,
    /// The version of the key set at that moment.
    pub keys_version: u64,
    /// That moment.
    pub as_of: AsOf,
}

impl Snapshot {
    /// The state of an account that is there.
    pub fn state(&self) -> Option<&AccountState> {
        match self.record.as_deref() {
            Some(StateRecord::Live(state)) => Some(state),
            Some(StateRecord::Deleted(_)) | None => None,
        }
    }

    /// What the account may do at that moment.
    pub fn powers(&self) -> Powers {
        let Some(state) = self.state() else { return Powers::default() };
        let grants = |role| self.roles.get(role).map(|grants| BTreeSet::clone(grants)).unwrap_or_default();
        Powers {
            default: grants(&state.role),
            teams: state.teams.iter().map(|(team, role)| (team.clone(), grants(role))).collect(),
        }
    }
}

/// What a decision may rest on, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Basis {
    /// What is known.
    pub snapshot: Snapshot,
    /// From this moment on the monotonic clock it is too old (F2). `None`: every moment will do (F4).
    pub until: Option<Instant>,
}

/// Where a verification gets keys and state from.
pub trait Source: Sync {
    /// The key set in memory.
    fn keys(&self) -> Arc<KeySet>;

    /// The set after a key was met that is not in it; re-reads it, though not for everybody who makes key ids up (K6).
    fn keys_for_unknown(&self, key_id: &str) -> impl Future<Output = Result<Arc<KeySet>, Unavailable>> + Send;

    /// A set of at least this version.
    fn keys_at_least(&self, version: u64) -> impl Future<Output = Result<Arc<KeySet>, Unavailable>> + Send;

    /// The account's state as memory has it, under the lease that was captured before it was read; the set of
    /// [`keys`](Self::keys) is then no older. `None`: nothing can be said from memory.
    fn recall(&self, account: AccountId) -> Option<Basis>;

    /// The account's state as the store has it.
    fn look_up(&self, account: AccountId) -> impl Future<Output = Result<Basis, Unavailable>> + Send;
}
