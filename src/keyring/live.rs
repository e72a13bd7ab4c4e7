//! The copy of the keys that a process works with.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::audit_keys::AuditKeys;
use super::high_water::{HighWater, Sighting, Unlikely};
use super::seal::{Envelope, Opened};
use super::{KeyEntry, KeyringDocument, MasterKey, Revoked};
use crate::clock::Clock;
use crate::config::SecretSource;
use crate::node::{self, KeyCache, KeyOrigin, NotRead};
use crate::pkcs11::{HardwareToken, InToken};
use crate::store::{KeyringChange, Store, StoreError};
use crate::token::{Algorithm, KeyError, Signer, SigningKey};
use crate::verify::{KeySet, KeyState, Unavailable};

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They don't open.
    #[error(
        "the signing keys in the store don't open under this master key; give the master key that they were sealed under (--master-key-file). \
         If it is that one, somebody has written to the store by hand: restore the store. Nothing was changed"
    )]
    Sealed,
    /// They open, and are not what this version of Countermark writes.
    #[error("the signing keys in the store are not readable: {0}")]
    Unreadable(String),
    /// The document is older than one that was read before, or there is none any more.
    #[error("{}", rolled_back(*.found, *.seen, .mark.as_ref()))]
    RolledBack {
        /// Its version; 0: there is none.
        found: u64,
        /// What was read before.
        seen: u64,
        /// Where that is remembered.
        mark: Option<PathBuf>,
    },
    /// Another document of a version that was read before.
    #[error(
        "the store holds other signing keys under version {0} than were read before: it has lost changes and made others, or somebody has \
         written to it by hand. Nothing was changed"
    )]
    Forked(u64),
    /// What was seen can't be remembered.
    #[error("{0}: {1}")]
    Mark(String, std::io::Error),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] crate::token::KeyError),
}

fn rolled_back(found: u64, seen: u64, mark: Option<&PathBuf>) -> String {
    let text = format!(
        "the store holds version {found} of the signing keys, and version {seen} was read before: keys that were revoked since would be good again"
    );
    match mark {
        Some(mark) => format!(
            "{text}. If you have restored the store from a backup, and mean it, remove {} and start again; then revoke again what was revoked since. Otherwise somebody has written to the store by hand. Nothing was changed",
            mark.display()
        ),
        None => text,
    }
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
    /// Where its private half lies, if in a hardware token.
    pub in_token: Option<InToken>,
}

/// The document of one version, opened.
#[derive(Debug)]
pub struct Loaded {
    /// The keys that verify.
    pub set: Arc<KeySet>,
    /// The key that signs.
    pub signer: Option<Arc<dyn Signer>>,
    /// Why the active key signs nothing here.
    pub out_of_reach: Option<String>,
    /// What is told of each.
    pub facts: Vec<KeyFacts>,
    /// Those that sign checkpoints of the audit.
    pub audit: AuditKeys,
}

impl node::Loaded for Loaded {
    fn set(&self) -> &Arc<KeySet> {
        &self.set
    }
}

/// The keys that this process works with.
pub struct Keys(KeyCache<Sealed>);

/// Where keys lie, and what opens them.
pub struct KeysAt {
    /// The store.
    pub store: Arc<Store>,
    /// The master key.
    pub master: MasterKey,
    /// Where it was read, and may be read again: it may have been changed.
    pub source: SecretSource,
    /// The dataset.
    pub dataset: String,
    /// Where it is written down which version was seen. `None`: nowhere.
    pub mark: Option<PathBuf>,
    /// The hardware token of this issuer, if it has one.
    pub hardware: Option<Arc<HardwareToken>>,
}

/// The document of one version, for changing it.
#[derive(Debug)]
pub struct Read {
    /// The version.
    pub version: u64,
    /// The keys.
    pub document: KeyringDocument,
    /// What the next one is sealed in.
    pub envelope: Envelope,
}

/// The sealed document in the store.
struct Sealed {
    store: Arc<Store>,
    master: Mutex<MasterKey>,
    source: SecretSource,
    dataset: String,
    high_water: HighWater,
    hardware: Option<Arc<HardwareToken>>,
}

impl Sealed {
    /// Reads and opens it. `None`: there is none. `lacks`: whether the store is known to have lost changes of it (R2), so that it is older
    /// than what was read before.
    async fn open(&self, lacks: bool) -> Result<Option<Read>, KeyringError> {
        let found = self.store.keyring_here().await?;
        let (seen, mark) = self.high_water.seen();
        let older = |found| KeyringError::RolledBack { found, seen, mark: mark.map(Into::into) };
        let Some((version, sealed)) = found else {
            return if seen == 0 { Ok(None) } else { Err(older(0)) };
        };
        // Looked at before it is opened: an older one may be sealed under another master key.
        if version < seen && !lacks {
            return Err(older(version));
        }
        let Opened { text, envelope } = self.unseal(version, &sealed)?;
        let sighting = Sighting::of(version, &sealed, envelope.master_keys());
        let checked = self.high_water.check(&sighting);
        if !(lacks && version <= seen) {
            checked.map_err(|unlikely| match unlikely {
                Unlikely::Older => older(version),
                Unlikely::Other => KeyringError::Forked(version),
                Unlikely::OlderMasterKey => KeyringError::Sealed,
            })?;
        }
        let document = serde_json::from_slice(&text)
            .map_err(|error| KeyringError::Unreadable(format!("{:?} error", error.classify())))?;
        if let Err(error) = self.high_water.note(sighting) {
            // The keys are good: to go on without them would be an outage.
            let file = mark.unwrap_or("".as_ref()).display();
            tracing::error!(%error, %file, "which version of the signing keys was seen can't be written down");
        }
        Ok(Some(Read { version, document, envelope }))
    }

    /// The master key may have been changed since it was read: then its file has another one by now.
    fn unseal(&self, version: u64, sealed: &str) -> Result<Opened, KeyringError> {
        let mut master = self.master.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(opened) = master.open(&self.dataset, version, sealed) {
            // While it is being changed: as soon as the new one is there, and not only when it is the only one.
            if opened.envelope.master_keys().last() == Some(master.id().as_str()) {
                return Ok(opened);
            }
            let newer = self.source.read().ok().and_then(|secret| MasterKey::parse(secret.expose()).ok());
            let newer = newer.filter(|newer| newer.id() != master.id());
            let Some((newer, by_newer)) = newer.and_then(|newer| {
                let opened = newer.open(&self.dataset, version, sealed).ok()?;
                Some((newer, opened))
            }) else {
                return Ok(opened);
            };
            tracing::info!(master_key = newer.id(), "the master key was changed");
            *master = newer;
            return Ok(by_newer);
        }
        let again = self.source.read().ok().and_then(|secret| MasterKey::parse(secret.expose()).ok());
        let again = again.ok_or(KeyringError::Sealed)?;
        let opened = again.open(&self.dataset, version, sealed).map_err(|_| KeyringError::Sealed)?;
        tracing::info!(master_key = again.id(), "the master key was changed");
        *master = again;
        Ok(opened)
    }
}

impl KeyOrigin for Sealed {
    type Loaded = Loaded;

    async fn read(&self, now: &Loaded, _within: Duration) -> Result<Loaded, NotRead> {
        let seen = now.set.version();
        let read = self.open(false).await.and_then(|read| match read {
            Some(read) if read.version >= seen => loaded(&read, self.hardware.as_ref()),
            read => Err(KeyringError::RolledBack { found: read.map_or(0, |read| read.version), seen, mark: None }),
        });
        read.map_err(|error| {
            tracing::error!(%error, "the signing keys could not be read again; those in memory go on");
            NotRead
        })
    }
}

impl Keys {
    /// Opens the keys of the store. `None`: there are none. `lacks`: whether the store is known to have lost changes of them, and will be
    /// raised.
    pub async fn open(at: KeysAt, clock: Arc<dyn Clock>, lacks: bool) -> Result<Option<Self>, KeyringError> {
        let KeysAt { store, master, source, dataset, mark, hardware } = at;
        let shown = mark.as_ref().map(|mark| mark.display().to_string()).unwrap_or_default();
        let high_water = HighWater::of(mark, &dataset).map_err(|error| KeyringError::Mark(shown, error))?;
        let origin = Sealed { store, master: Mutex::new(master), source, dataset, high_water, hardware };
        let Some(read) = origin.open(lacks).await? else { return Ok(None) };
        let loaded = loaded(&read, origin.hardware.as_ref())?;
        Ok(Some(Self(KeyCache::new(origin, loaded, clock))))
    }

    /// Makes the first keys of an empty store. Somebody else may have been faster; then it changes nothing (K5).
    pub async fn create(at: &KeysAt, algorithm: Algorithm, now: DateTime<Utc>) -> Result<(), KeyringError> {
        let keys = vec![KeyEntry::active(&SigningKey::generate(algorithm)?, now)];
        let mut document = KeyringDocument { keys, ..Default::default() };
        document.change_audit_key(now)?;
        let envelope = Envelope::under(&[&at.master], &at.dataset).map_err(|_| KeyringError::Sealed)?;
        let sealed = seal(&at.dataset, &Read { version: 0, document, envelope }, 1)?;
        let first = KeyringChange::of(0, &sealed);
        match at.store.replace_keyring(&first, None, false).await {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What was read, and changed since, sealed as the next version.
    pub fn seal(&self, changed: &Read) -> Result<String, KeyringError> {
        self.seal_as(changed, changed.version + 1)
    }

    /// The same, as this version.
    pub fn seal_as(&self, changed: &Read, version: u64) -> Result<String, KeyringError> {
        seal(&self.0.origin().dataset, changed, version)
    }

    /// The document of the store, opened, for changing it.
    pub async fn document(&self) -> Result<Read, KeyringError> {
        let origin = self.0.origin();
        let (seen, mark) = origin.high_water.seen();
        origin.open(false).await?.ok_or(KeyringError::RolledBack { found: 0, seen, mark: mark.map(Into::into) })
    }

    /// The same of a store that is known to have lost changes of it.
    pub async fn document_to_raise(&self) -> Result<Read, KeyringError> {
        let seen = self.highest_version();
        self.0.origin().open(true).await?.ok_or(KeyringError::RolledBack { found: 0, seen, mark: None })
    }

    /// The highest version that was seen so far.
    pub fn highest_version(&self) -> u64 {
        self.0.origin().high_water.seen().0.max(self.set().version())
    }

    /// These master keys open the next version of what was read, and no others; the newest last.
    pub fn seal_under(&self, read: &mut Read, masters: &[&MasterKey]) -> Result<(), KeyringError> {
        let sealed = Envelope::under(masters, &self.0.origin().dataset);
        read.envelope = sealed.map_err(|_| KeyringError::Sealed)?;
        Ok(())
    }

    /// The master key that opened them last.
    pub fn master_key(&self) -> MasterKey {
        self.0.origin().master.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether what lies in the store is still what was read, or a newer one. A store that is away says nothing of it.
    pub async fn look(&self) -> Result<(), KeyringError> {
        match self.document().await {
            Ok(_) => Ok(()),
            Err(KeyringError::Store(error)) if !error.is_of_what_is_stored() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The hardware token of this issuer, if it has one.
    pub fn hardware(&self) -> Option<&Arc<HardwareToken>> {
        self.0.origin().hardware.as_ref()
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

fn loaded(read: &Read, hardware: Option<&Arc<HardwareToken>>) -> Result<Loaded, KeyringError> {
    let Read { version, document, .. } = read;
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
            in_token: entry.in_token().cloned(),
        })
        .collect();
    let (signer, out_of_reach) = match document.signer(hardware) {
        Err(KeyError::OutOfReach(why)) => {
            tracing::error!("{why}. No token is issued here until that is mended; checking tokens goes on");
            (None, Some(why))
        }
        signer => (signer?, None),
    };
    let audit = document.audit_keys()?;
    Ok(Loaded { set: Arc::new(document.key_set(*version)?), signer, out_of_reach, facts, audit })
}

fn seal(dataset: &str, read: &Read, version: u64) -> Result<String, KeyringError> {
    let text = zeroize::Zeroizing::new(
        serde_json::to_vec(&read.document).map_err(|_| KeyringError::Unreadable("no JSON form".into()))?,
    );
    read.envelope.seal(dataset, version, &text).map_err(|_| KeyringError::Sealed)
}
