//! Where an API's node is at home.

use std::sync::{Arc, Mutex, PoisonError};

use super::key_set::PublishedKeys;
use crate::node::{Home, KeyCache};
use crate::store::{NodeStore, StoreError};
use crate::verify::freshness::Identity;
use crate::verify::{KeySet, Unavailable};

/// How often the keys are asked for before a node gives up on those that the store speaks of: the issuer that is asked may be a
/// moment behind the one that has changed them.
const TRIES: u32 = 4;
/// How long it is from one to the next.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// An API node recognises a store that an issuer has met, and has the published keys.
pub(super) struct ApiHome {
    store: Arc<NodeStore>,
    keys: KeyCache<PublishedKeys>,
    here: Mutex<Option<Identity>>,
}

impl ApiHome {
    pub(super) fn new(store: Arc<NodeStore>, keys: KeyCache<PublishedKeys>) -> Self {
        Self { store, keys, here: Mutex::default() }
    }

    pub(super) fn cache(&self) -> &KeyCache<PublishedKeys> {
        &self.keys
    }

    /// Whether any key is known.
    pub(super) fn has_keys(&self) -> bool {
        self.keys.set().version() > 0
    }
}

impl Home for ApiHome {
    fn store(&self) -> &Arc<NodeStore> {
        &self.store
    }

    async fn met(&self) -> Result<(), StoreError> {
        if self.store.is_met() { Ok(()) } else { self.store.recognise().await.map(|_| ()) }
    }

    /// F6 with a bound of zero: a server that is new to this node is looked at twice.
    fn is_here(&self, identity: &Identity) -> bool {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let known = here.as_ref() == Some(identity);
        *here = Some(identity.clone());
        known
    }

    fn keys(&self) -> Arc<KeySet> {
        self.keys.set()
    }

    async fn keys_for_unknown(&self) -> Result<Arc<KeySet>, Unavailable> {
        self.keys.for_unknown().await
    }

    async fn keys_at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        for _ in 1..TRIES {
            match self.keys.at_least(version).await {
                Ok(set) => return Ok(set),
                // Read, and too old: another moment. Not read: another try would make everybody wait.
                Err(Unavailable) if self.keys.was_read() => tokio::time::sleep(PAUSE).await,
                Err(Unavailable) => return Err(Unavailable),
            }
        }
        self.keys.at_least(version).await
    }
}
