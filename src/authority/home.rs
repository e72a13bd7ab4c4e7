//! Where an issuer's node is at home.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::keyring::Keys;
use crate::node::Home;
use crate::store::{ActEntry, Claimed, NodeStore, Store, StoreError};
use crate::verify::freshness::Identity;
use crate::verify::{KeySet, Unavailable};

/// An issuer meets the store itself, and has the sealed keys.
pub struct Issuer {
    pub(super) store: Arc<Store>,
    pub(super) keys: Arc<Keys>,
}

impl Home for Issuer {
    fn store(&self) -> &Arc<NodeStore> {
        &self.store
    }

    async fn met(&self) -> Result<(), StoreError> {
        self.store.meet_again().await
    }

    fn is_here(&self, identity: &Identity) -> bool {
        self.store.is_here(identity)
    }

    fn keys(&self) -> Arc<KeySet> {
        self.keys.set()
    }

    async fn keys_for_unknown(&self) -> Result<Arc<KeySet>, Unavailable> {
        self.keys.for_unknown().await
    }

    async fn claim(&self, node: &str) -> Result<Claimed, StoreError> {
        self.store.claim(node).await
    }

    async fn unlinked(&self, node: &str) -> Result<BTreeMap<u64, ActEntry>, StoreError> {
        let all = self.store.unlinked_acts().await?;
        Ok(all.into_iter().filter(|((of, _), _)| of == node).map(|((_, number), act)| (number, act)).collect())
    }

    async fn linked(&self, node: &str, acts: &[u64]) -> Result<(), StoreError> {
        self.store.linked(node, acts).await
    }

    async fn keys_at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        self.keys.at_least(version).await
    }
}
