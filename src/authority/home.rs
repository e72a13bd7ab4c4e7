//! Where an issuer's node is at home.

use std::sync::Arc;

use crate::keyring::Keys;
use crate::node::Home;
use crate::store::{NodeStore, Store, StoreError};
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

    async fn keys_at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        self.keys.at_least(version).await
    }
}
