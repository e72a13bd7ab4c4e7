//! The first start, and every later one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::call::By;
use super::receipts::Tables;
use super::{Authority, Error, Issuer, Metrics, Settings};
use crate::account::{AccountId, AccountState, Kind, Status};
use crate::audit::kinds;
use crate::clock::{Clock, uuid_v7};
use crate::config::{SecretFileError, SecretSource, read_private};
use crate::keyring::{KeyringError, Keys, KeysAt, MasterKey};
use crate::name::Username;
use crate::node::{Mode, Node, Parts, Recorder, Writer};
use crate::permission::ADMIN;
use crate::pkcs11::HardwareToken;
use crate::store::{AccountChange, Dataset, MeetError, Profile, Setup, Store, StoreError};
use crate::verify::{Demand, Presenter, Reason};

/// Why an authority does not come to be.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Somebody has to change something first.
    #[error("{0}")]
    Refused(String),
    /// The store is away; it may come.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an authority is made of.
pub struct Startup {
    /// The store.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where the master key is.
    pub master_key: SecretSource,
    /// Where it is written down which version of the signing keys was seen. `None`: nowhere.
    pub keys_mark: Option<PathBuf>,
    /// The hardware token that keys may lie in, if one is configured.
    pub hardware: Option<Arc<HardwareToken>>,
    /// The issuer URL, if one is configured.
    pub issuer: Option<String>,
    /// The issuer URL of a dataset that has none yet.
    pub default_issuer: String,
    /// The node's name.
    pub node: String,
    /// How many events may wait in memory.
    pub audit_queue: usize,
    /// What becomes of those that the store does not take at once.
    pub audit_mode: Mode,
    /// Invalid signatures that an address may send: a minute, and at once.
    pub guessing: (u32, u32),
    /// The rest.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Startup {
    /// Meets the store and sets it up where it is empty.
    pub async fn run(self) -> Result<(Authority, Writer), BootstrapError> {
        let dataset = self.meet().await?;
        let master = self.master_key().await?;
        let keys = self.keys(&master, &dataset).await.map_err(|error| match error {
            // Whoever has changed the keys last may have to raise the store first.
            BootstrapError::Refused(_) if !self.store.waited_for().is_empty() => {
                BootstrapError::Store(StoreError::Waits(self.store.waited_for().join(", ")))
            }
            other => other,
        })?;
        let own_audience = dataset
            .issuer
            .parse()
            .map_err(|_| BootstrapError::Refused(format!("the issuer {} can't be an audience", dataset.issuer)))?;
        let (name, capacity, mode) = (self.node, self.audit_queue, self.audit_mode);
        // Much may wait on disk, and has to be read.
        let opened = tokio::task::spawn_blocking(move || Recorder::new(name, capacity, &mode)).await;
        let (recorder, writer) = opened
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|error| BootstrapError::Refused(format!("events of the audit can't be kept on disk: {error}")))?;
        let mut issuers = vec![dataset.issuer.clone()];
        issuers.extend(self.settings.also_accept_issuers.iter().cloned());
        let keys = Arc::new(keys);
        let node = Node::new(Parts {
            home: Issuer { store: Arc::clone(&self.store), keys: Arc::clone(&keys) },
            clock: Arc::clone(&self.clock),
            issuers,
            max_staleness: self.settings.max_staleness,
            renewals_wait: self.store.renewals_wait(),
            account_bytes: self.settings.account_cache_bytes,
            signature_bytes: self.settings.signature_cache_bytes,
            guessing: self.guessing,
            recorder,
        });
        node.recorder().claim(node.home(), None).await?;
        let authority = Authority {
            node: Arc::new(node),
            tables: Tables::default(),
            held: crate::store::Lately::default(),
            recounting: tokio::sync::Mutex::default(),
            places_to_look: Arc::new(tokio::sync::Semaphore::new(super::LOOKERS)),
            looks: super::shares::Shares::of(super::LOOKS),
            places_to_export: Arc::new(tokio::sync::Semaphore::new(super::EXPORTS)),
            store: self.store,
            clock: self.clock,
            keys,
            metrics: self.metrics,
            passwords: super::passwords::Passwords::default(),
            settings: self.settings,
            dataset,
            own_audience,
        };
        // R2: before anything rests on what the store says.
        authority.raise().await.map_err(|error| BootstrapError::Store(StoreError::Unavailable(error.cause())))?;
        match authority.tell_of_restore().await {
            // Upkeep tells it once all issuers have raised the store.
            Ok(()) | Err(StoreError::Unmet | StoreError::Waits(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((authority, writer))
    }

    async fn meet(&self) -> Result<Dataset, BootstrapError> {
        let new_id = uuid_v7(self.clock.now()).to_string();
        let former = &self.settings.also_accept_issuers;
        // A dataset keeps the issuer that it was given by its first start, whatever port the next one has.
        let met = self.store.meet(&new_id, self.issuer.as_deref(), &self.default_issuer, former).await;
        met.map_err(|error| match error {
            MeetError::Issuer(other) => BootstrapError::Refused(format!(
                "this dataset's issuer is {other}, and every token says so. To go on with it, leave --issuer out. \
                 To move to {}, add also_accept_issuers = [\"{other}\"] to the configuration: tokens of both are then accepted, \
                 and new ones come from the new issuer",
                self.issuer.as_deref().unwrap_or(&self.default_issuer)
            )),
            MeetError::Dataset { expected, found: None } => BootstrapError::Refused(format!(
                "the store is empty, but this data directory belongs to dataset {expected}: restore the store, or start with \
                 a fresh --data-dir. Nothing was written"
            )),
            MeetError::Dataset { expected, found: Some(found) } => BootstrapError::Refused(format!(
                "the store holds dataset {found}, but this data directory belongs to dataset {expected}: give the store that \
                 it belongs to, or start with a fresh --data-dir. Nothing was written"
            )),
            // What is wrong with a journal does not mend itself.
            MeetError::Store(error @ StoreError::Journal(_)) => BootstrapError::Refused(error.to_string()),
            MeetError::Restoring(backup) => BootstrapError::Refused(format!(
                "the backup {backup} is being restored into the store, or was and did not come to its end: let `countermark \
                 restore` end, or run it again with the same file"
            )),
            MeetError::Store(error) => BootstrapError::Store(error),
        })
    }

    /// K5: a master key is only ever made for a store that holds nothing sealed.
    async fn master_key(&self) -> Result<MasterKey, BootstrapError> {
        let refused = |text: String| BootstrapError::Refused(text);
        if let SecretSource::File(path) = &self.master_key
            && !path.exists()
        {
            if self.store.sealed_keyring().await?.is_some() {
                return Err(refused(format!(
                    "the master key {} is missing, and the signing keys in the store are sealed under it. Restore the file from \
                     your backup, or name it with --master-key-file. No new key is made over the old ones",
                    path.display()
                )));
            }
            let master = MasterKey::generate().map_err(|error| refused(error.to_string()))?;
            return match master.write_new(path) {
                Ok(()) => Ok(master),
                // Another process on this machine was faster; where files can't be linked, it may still be writing.
                Err(_) if path.exists() => {
                    let mut tries = 0;
                    loop {
                        match read_master_key(path) {
                            Err(_) if tries < 20 => tries += 1,
                            read => return read,
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                }
                Err(error) => Err(refused(error.to_string())),
            };
        }
        let damaged = match self.master_key.read() {
            Ok(secret) => match (MasterKey::parse(secret.expose()), &self.master_key) {
                (Ok(master), _) => return Ok(master),
                (Err(error), SecretSource::File(path)) => format!("{}: {error}", path.display()),
                (Err(error), SecretSource::Value(_)) => error.to_string(),
            },
            Err(error @ (SecretFileError::Empty { .. } | SecretFileError::NotText { .. })) => error.to_string(),
            Err(error) => return Err(refused(error.to_string())),
        };
        let next = match self.store.sealed_keyring().await? {
            Some(_) => "restore the master key from your backup: the signing keys in the store are sealed under it",
            None => "nothing is sealed under it yet: remove it, and the next start makes a new one",
        };
        Err(refused(format!("{damaged}; {next}")))
    }

    async fn keys(&self, master: &MasterKey, dataset: &Dataset) -> Result<Keys, BootstrapError> {
        let wrong = |error| match error {
            KeyringError::Store(error) => BootstrapError::Store(error),
            other => BootstrapError::Refused(other.to_string()),
        };
        let at = || KeysAt {
            store: Arc::clone(&self.store),
            master: master.clone(),
            source: self.master_key.clone(),
            dataset: dataset.id.clone(),
            mark: self.keys_mark.clone(),
            hardware: self.hardware.clone(),
        };
        let lacks = self.store.to_raise().is_some_and(|what| what.lost.keys);
        if let Some(keys) = Keys::open(at(), Arc::clone(&self.clock), lacks).await.map_err(wrong)? {
            return Ok(keys);
        }
        Keys::create(&at(), self.settings.signing.algorithm, self.clock.now()).await.map_err(wrong)?;
        Keys::open(at(), Arc::clone(&self.clock), false)
            .await
            .map_err(wrong)?
            .ok_or_else(|| BootstrapError::Refused("the signing keys vanished from the store".into()))
    }
}

/// What has become of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is somebody's.
    Good,
    /// It is nobody's, and never will be again.
    Dead,
    /// The store can't say now.
    Unknown,
    /// It is not good now, and may become so: after a change of the clock, of the configuration, of its account.
    Dormant(Reason),
}

impl Fate {
    fn of(refusal: Reason) -> Self {
        match refusal {
            Reason::UnknownAccount
            | Reason::Superseded
            | Reason::Revoked
            | Reason::BadSignature
            | Reason::UnknownKey
            | Reason::Malformed => Self::Dead,
            Reason::StoreUnavailable => Self::Unknown,
            other => Self::Dormant(other),
        }
    }
}

fn read_master_key(path: &Path) -> Result<MasterKey, BootstrapError> {
    let bytes = read_private(path).map_err(|error| BootstrapError::Refused(error.to_string()))?;
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    MasterKey::parse(&text).map_err(|error| BootstrapError::Refused(error.to_string()))
}

impl Authority {
    /// A year where that is allowed, else the longest.
    pub(super) fn default_lifetime(&self) -> u32 {
        let allowed = &self.settings.valid_for_months;
        if allowed.contains(&12) { 12 } else { allowed.last().copied().unwrap_or(12) }
    }

    /// What has become of a token, for whatever audience.
    pub async fn fate_of(&self, token: &str) -> Fate {
        let demand = Demand { audience: None, permission: None, team: None, presenter: Presenter::ThirdParty };
        match self.node.decide(token, &demand).await {
            Ok(_) => Fate::Good,
            Err(refusal) => Fate::of(refusal.reason),
        }
    }

    /// Makes the first admin of an empty dataset and hands its token over to `keep`, before anything is committed: a token
    /// that could not be kept must not become anybody's. `false`: there is one, or another process was faster.
    ///
    /// With it a link is offered that creates the first person; `keep` gets its path too.
    pub async fn create_first_admin(
        &self,
        keep: impl FnOnce(&str, &str) -> std::io::Result<()>,
    ) -> Result<bool, Error> {
        let username: Username = ADMIN.parse().map_err(|_| Error::Internal("the admin's name".into()))?;
        if self.store.has_admin().await? || self.store.id_of(&username).await?.is_some() {
            return Ok(false);
        }
        let now = self.clock.now();
        let id = AccountId::new(now);
        let mut state = AccountState {
            username,
            generation: 0,
            token_id: None,
            status: Status::Active,
            role: ADMIN.parse().map_err(|_| Error::Internal("the admin's role".into()))?,
            teams: Default::default(),
            audiences: Vec::new(),
            allowed_networks: Vec::new(),
            binding: None,
            previous: None,
            sign_ins: 0,
        };
        let mut profile = Profile {
            kind: Kind::Service,
            description: "The first admin".parse().unwrap_or_default(),
            created_at: now,
            updated_at: now,
            token: None,
            previous: None,
            networks_proven: false,
            password: None,
            link: None,
        };
        let signed = self.sign_next(id, &mut state, &mut profile, self.default_lifetime(), 0).await?;
        let setup = self.setup_link()?;
        keep(signed.token(), &format!("{}/console/setup?link={}", self.origin(), setup.secret.expose()))
            .map_err(|error| Error::Internal(format!("the first admin's token can't be kept: {error}")))?;
        let event = self.act_event(By::Machine, kinds::BOOTSTRAP, id, &state, &profile);
        let change = AccountChange {
            id,
            before: None,
            after: Some((&state, &profile)),
            admin: self.admin(&state, &profile),
            author: None,
            setup: Some(Setup::Offer(&setup.offer)),
            reuse: None,
            keys_version: Some(signed.keys_version),
            now,
            event: &event,
            raises: None,
        };
        match self.commit(By::Machine, &change).await {
            Ok(_) => Ok(true),
            Err(Error::UsernameTaken) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
