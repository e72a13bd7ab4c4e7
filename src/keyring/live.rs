use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::sync::Mutex;

use super::{KeyEntry, KeyringDocument, MasterKey};
use crate::clock::Clock;
use crate::store::{Store, StoreError};
use crate::token::{Algorithm, SigningKey};
use crate::verify::{KeySet, KeyState, Unavailable};

/// K6: unknown key ids make us re-read the set at most this often.
const UNKNOWN_EVERY: Duration = Duration::from_secs(1);

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

/// The keys that this process works with.
pub struct Keys {
    store: Arc<Store>,
    master: MasterKey,
    dataset: String,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Loaded>,
    last_read: Mutex<Option<LastRead>>,
}

/// When the keys were last read again, and whether they could be.
#[derive(Clone, Copy)]
struct LastRead {
    ended: Instant,
    outcome: Result<(), Unavailable>,
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
        Ok(Some(Self {
            store,
            master,
            dataset: dataset.to_owned(),
            clock,
            current: ArcSwap::from_pointee(loaded),
            last_read: Mutex::new(None),
        }))
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
        match replace(store, master, dataset, 0, &document).await {
            Ok(()) | Err(KeyringError::Store(StoreError::Conflict)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the document of the version that was read by its successor.
    pub async fn replace(&self, read: u64, document: &KeyringDocument) -> Result<(), KeyringError> {
        replace(&self.store, &self.master, &self.dataset, read, document).await
    }

    /// The document of the store, opened, with its version; for changing it.
    pub async fn document(&self) -> Result<(u64, KeyringDocument), KeyringError> {
        open(&self.store, &self.master, &self.dataset).await?.ok_or(KeyringError::RolledBack)
    }

    /// What is known now.
    pub fn now(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// After an unknown key id: reads again, unless that was done just now. Where it could not be done just now, nobody knows
    /// whether there is such a key.
    pub async fn refresh(&self) -> Result<Arc<KeySet>, Unavailable> {
        let version = self.now().set.version();
        let mut last = self.last_read.lock().await;
        if self.now().set.version() == version {
            match *last {
                Some(last) if self.clock.monotonic().duration_since(last.ended) < UNKNOWN_EVERY => last.outcome?,
                _ => self.read_again(&mut last).await?,
            }
        }
        Ok(Arc::clone(&self.now().set))
    }

    /// A set of at least this version.
    pub async fn at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        let now = self.now();
        if now.set.version() >= version {
            return Ok(Arc::clone(&now.set));
        }
        let mut last = self.last_read.lock().await;
        if self.now().set.version() < version {
            self.read_again(&mut last).await?;
        }
        let now = self.now();
        if now.set.version() >= version { Ok(Arc::clone(&now.set)) } else { Err(Unavailable) }
    }

    async fn read_again(&self, last: &mut Option<LastRead>) -> Result<(), Unavailable> {
        let outcome = self.read_now().await;
        *last = Some(LastRead { ended: self.clock.monotonic(), outcome });
        outcome
    }

    async fn read_now(&self) -> Result<(), Unavailable> {
        let loaded = read(&self.store, &self.master, &self.dataset)
            .await
            .and_then(|loaded| loaded.ok_or(KeyringError::RolledBack));
        match loaded {
            Ok(loaded) if loaded.set.version() >= self.now().set.version() => {
                self.current.store(Arc::new(loaded));
                Ok(())
            }
            Ok(_) => {
                tracing::error!("{}", KeyringError::RolledBack);
                Err(Unavailable)
            }
            Err(error) => {
                tracing::error!(%error, "the signing keys could not be read again");
                Err(Unavailable)
            }
        }
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
        })
        .collect();
    Ok(Some(Loaded { set: Arc::new(document.key_set(version)?), signer: document.signer()?, facts }))
}

async fn replace(
    store: &Store,
    master: &MasterKey,
    dataset: &str,
    read: u64,
    document: &KeyringDocument,
) -> Result<(), KeyringError> {
    let text = zeroize::Zeroizing::new(
        serde_json::to_vec(document).map_err(|_| KeyringError::Unreadable("no JSON form".into()))?,
    );
    let sealed = master.seal(dataset, read + 1, &text).map_err(|_| KeyringError::Sealed)?;
    store.replace_keyring(read, &sealed).await?;
    Ok(())
}
