//! Where an API's node is at home.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::key_set::{PATIENCE, PublishedKeys};
use crate::node::{Home, KeyCache};
use crate::store::{ActEntry, Claimed, Dataset, NodeStore, NotRecognised, Recognised, StoreError};
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
    issuer: String,
    keys: KeyCache<PublishedKeys>,
    here: Mutex<Option<Identity>>,
    /// The keys are to be read again.
    again: Notify,
    /// The store was recognised, and takes events.
    has_begun: AtomicBool,
}

impl ApiHome {
    pub(super) fn new(store: Arc<NodeStore>, issuer: String, keys: KeyCache<PublishedKeys>) -> Self {
        Self { store, issuer, keys, here: Mutex::default(), again: Notify::new(), has_begun: AtomicBool::new(false) }
    }

    /// Recognises the issuer's dataset.
    pub(super) async fn recognise(&self) -> Result<Recognised, NotRecognised> {
        self.store.recognise(&self.issuer).await
    }

    /// The store holds this dataset: now a copy of its keys may be used, and one may be kept.
    pub(super) fn begin_with_the_copy(&self, dataset: &Dataset) {
        let Some(copy) = &self.keys.origin().copy else { return };
        copy.is_of(&dataset.id);
        if self.has_keys() {
            // They were read before it was known whose they are, and not kept.
            self.again.notify_one();
        } else if let Some(kept) = self.keys.origin().kept() {
            self.keys.begin_with(kept);
        }
    }

    /// From now on calls are decided.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    /// Whether the store was recognised, and takes events.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Waits until the keys are to be read again, out of turn.
    pub(super) async fn is_to_read_again(&self) {
        self.again.notified().await;
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
        if self.store.is_met() {
            return Ok(());
        }
        match self.recognise().await {
            Ok(_) => Ok(()),
            Err(NotRecognised::Store(error)) => Err(error),
            Err(other @ NotRecognised::Issuer { .. }) => Err(StoreError::Unavailable(other.to_string())),
        }
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

    async fn claim(&self, node: &str) -> Result<Claimed, StoreError> {
        self.store.claim_blocks(node).await
    }

    /// It carries out none.
    async fn unlinked(&self, _node: &str) -> Result<BTreeMap<u64, ActEntry>, StoreError> {
        Ok(BTreeMap::new())
    }

    async fn linked(&self, _node: &str, _acts: &[u64]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn keys_at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        let began = Instant::now();
        for _ in 1..TRIES {
            match self.keys.at_least(version).await {
                Ok(set) => return Ok(set),
                // Read, and too old: another moment. Not read: another try would make everybody wait.
                Err(Unavailable) if self.keys.was_read() && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(Unavailable) => return Err(Unavailable),
            }
        }
        self.keys.at_least(version).await
    }
}
