use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{KeyEntry, KeyringDocument, MasterKey, Revoked};
use crate::clock::Clock;
use crate::node::{self, KeyCache, KeyOrigin, NotRead};
use crate::store::{KeyringChange, Store, StoreError};
use crate::token::{Algorithm, SigningKey};
use crate::verify::{KeySet, KeyState, Unavailable};

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They don't open.
    #[error(
        "the signing keys in the store don't open under this master key; give the master key that they were sealed under (--master-key-file). Nothing was changed"
    )]
    Sealed,
    /// They open, and are not what this version of Countermark writes.
    #[error("the signing keys in the store are not readable: {0}")]
    Unreadable(String),
    /// The document is older than one that was read before.
    #[error("the store holds an older version of the signing keys than it did")]
    RolledBack,
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] crate::token::KeyError),
}

/// What is told of a key, without its halves.
#[derive(Debug, Clone)]
pub struct KeyFacts {
    /// Its thumbprint.
    pub id: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its state.
    pub state: KeyState,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it is published.
    pub published_at: Option<DateTime<Utc>>,
    /// Since when it signs, or signed.
    pub activated_at: Option<DateTime<Utc>>,
    /// Since when it is retired.
    pub retired_at: Option<DateTime<Utc>>,
    /// What is remembered of its revocation.
    pub revoked: Option<Revoked>,
}

/// The document of one version, opened.
#[derive(Debug)]
pub struct Loaded {
    /// The keys that verify.
    pub set: Arc<KeySet>,
    /// The key that signs.
    pub signer: Option<SigningKey>,
    /// What is told of each.
    pub facts: Vec<KeyFacts>,
}

impl node::Loaded for Loaded {
    fn set(&self) -> &Arc<KeySet> {
        &self.set
    }
}

/// The keys that this process works with.
pub struct Keys(KeyCache<Sealed>);

/// The sealed document in the store.
struct Sealed {
    store: Arc<Store>,
    master: MasterKey,
    dataset: String,
}

impl KeyOrigin for Sealed {
    type Loaded = Loaded;

    async fn read(&self, now: &Loaded, _within: Duration) -> Result<Loaded, NotRead> {
        let loaded = read(&self.store, &self.master, &self.dataset)
            .await
            .and_then(|loaded| loaded.ok_or(KeyringError::RolledBack));
        match loaded {
            Ok(loaded) if loaded.set.version() >= now.set.version() => Ok(loaded),
            Ok(_) => {
                tracing::error!("{}", KeyringError::RolledBack);
                Err(NotRead)
            }
            Err(error) => {
                tracing::error!(%error, "the signing keys could not be read again");
                Err(NotRead)
            }
        }
    }
}

impl Keys {
    /// Opens the keys of the store.
    pub async fn open(
        store: Arc<Store>,
        master: MasterKey,
        dataset: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, KeyringError> {
        let Some(loaded) = read(&store, &master, dataset).await? else { return Ok(None) };
        let origin = Sealed { store, master, dataset: dataset.to_owned() };
        Ok(Some(Self(KeyCache::new(origin, loaded, clock))))
    }

    /// Makes the first key of an empty store. Somebody else may have been faster; then it changes nothing (K5).
    pub async fn create(
        store: &Store,
        master: &MasterKey,
        dataset: &str,
        algorithm: Algorithm,
        now: DateTime<Utc>,
    ) -> Result<(), KeyringError> {
        let document = KeyringDocument { keys: vec![KeyEntry::active(&SigningKey::generate(algorithm)?, now)] };
        let sealed = seal(master, dataset, 0, &document)?;
        let first =
            KeyringChange { read: 0, document: &sealed, unneeded: None, remains: None, author: None, event: None };
        match store.replace_keyring(&first, false).await {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The successor of the document that was read, sealed.
    pub fn seal(&self, read: u64, document: &KeyringDocument) -> Result<String, KeyringError> {
        let Sealed { master, dataset, .. } = self.0.origin();
        seal(master, dataset, read, document)
    }

    /// The document of the store, opened, with its version; for changing it.
    pub async fn document(&self) -> Result<(u64, KeyringDocument), KeyringError> {
        let Sealed { store, master, dataset } = self.0.origin();
        open(store, master, dataset).await?.ok_or(KeyringError::RolledBack)
    }

    /// What is known now.
    pub fn now(&self) -> Arc<Loaded> {
        self.0.now()
    }

    /// The key set that is known now.
    pub fn set(&self) -> Arc<KeySet> {
        self.0.set()
    }

    /// See [`KeyCache::for_unknown`].
    pub async fn for_unknown(&self) -> Result<Arc<KeySet>, Unavailable> {
        self.0.for_unknown().await
    }

    /// A set of at least this version.
    pub async fn at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        self.0.at_least(version).await
    }
}

async fn open(
    store: &Store,
    master: &MasterKey,
    dataset: &str,
) -> Result<Option<(u64, KeyringDocument)>, KeyringError> {
    let Some((version, sealed)) = store.keyring_here().await? else { return Ok(None) };
    let text = master.open(dataset, version, &sealed).map_err(|_| KeyringError::Sealed)?;
    let document = serde_json::from_slice(&text)
        .map_err(|error| KeyringError::Unreadable(format!("{:?} error", error.classify())))?;
    Ok(Some((version, document)))
}

async fn read(store: &Store, master: &MasterKey, dataset: &str) -> Result<Option<Loaded>, KeyringError> {
    let Some((version, document)) = open(store, master, dataset).await? else { return Ok(None) };
    let facts = document
        .keys
        .iter()
        .map(|entry| KeyFacts {
            id: entry.id.clone(),
            algorithm: entry.algorithm,
            state: entry.state,
            created_at: entry.created_at,
            published_at: entry.published_at,
            activated_at: entry.activated_at,
            retired_at: entry.retired_at,
            revoked: entry.revoked,
        })
        .collect();
    Ok(Some(Loaded { set: Arc::new(document.key_set(version)?), signer: document.signer()?, facts }))
}

fn seal(master: &MasterKey, dataset: &str, read: u64, document: &KeyringDocument) -> Result<String, KeyringError> {
    let text = zeroize::Zeroizing::new(
        serde_json::to_vec(document).map_err(|_| KeyringError::Unreadable("no JSON form".into()))?,
    );
    master.seal(dataset, read + 1, &text).map_err(|_| KeyringError::Sealed)
}
