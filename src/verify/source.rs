use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use super::{KeySet, Snapshot};
use crate::account::AccountId;

/// The state can't be known within the staleness bound. There is no answer then but a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state can't be known right now")]
pub struct Unavailable;

/// What a decision may rest on, and for how long.
#[derive(Debug, Clone, Default, PartialEq)]
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
