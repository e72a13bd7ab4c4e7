//! Signing keys come and go (protocols, section 5).

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::acts::{Acting, Change};
use super::call::By;
use super::new_key::NewKey;
use super::receipts::{NotHeld, TRIES, changes_servers};
use super::{Act, Authority, Error, KeyView, Receipt};
use crate::account::AccountId;
use crate::audit::{Event, Outcome, kinds};
use crate::epoch::Epoch;
use crate::keyring::{KeyringDocument, StepError};
use crate::permission::Grant;
use crate::store::{KeyringChange, StoreError};
use crate::token::{Algorithm, ImportError, SigningKey, read_private};
use crate::verify::{KeyState, LEEWAY};

/// How often a step is tried anew because another one came first.
pub(super) const STEPS: usize = 8;
/// Admins that are looked at, to find one whose token does not die with the key.
const ADMINS: usize = 1_000;

/// A signing key to prepare: a new one of this algorithm, or one that is brought along.
pub enum KeyToPrepare {
    /// A new one; by default as `signing.algorithm` says.
    New(Option<Algorithm>),
    /// One that exists: a private key in PEM, not encrypted.
    Existing {
        /// It.
        pem: Zeroizing<String>,
        /// What it is to sign with; by default what fits.
        algorithm: Option<Algorithm>,
    },
    /// A new one in the hardware token; by default as `signing.algorithm` says.
    InToken(Option<Algorithm>),
}

/// A key after a step.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ChangedKey {
    /// As it is now.
    pub key: KeyView,
    /// Since when every node knows.
    pub receipt: Receipt,
}

/// What is to be done with a key.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Prepare { key: &'a NewKey, from: Origin },
    Activate { key_id: &'a str, force: bool },
    Retire { key_id: &'a str },
    Revoke { key_id: &'a str, is_confirmed: bool },
}

/// Where a key that is prepared comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was made now.
    Here,
    /// It was made now because its time has come: it is of no use where another one waits already.
    Rotation,
    /// Somebody brought it along.
    Elsewhere,
}

impl Wanted<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Prepare { .. } => kinds::KEY_PREPARE,
            Self::Activate { .. } => kinds::KEY_ACTIVATE,
            Self::Retire { .. } => kinds::KEY_RETIRE,
            Self::Revoke { .. } => kinds::KEY_REVOKE,
        }
    }
}

/// A step that was taken on a copy of the document.
struct Step {
    key_id: String,
    details: Map<String, Value>,
    /// No living token may need this key.
    is_unneeded: bool,
    /// This key is revoked by it.
    is_revoked: bool,
    /// Of the admins, whose token must not die of it, and whose do.
    admins: AdminsOfKey,
    /// A key that was made for it.
    made: Option<NewKey>,
}

/// The admins, as a key divides them.
#[derive(Default)]
pub(super) struct AdminsOfKey {
    /// One whose token another key signed, which is not revoked.
    pub(super) remaining: Option<(AccountId, Epoch)>,
    /// Those whose token this key signed.
    pub(super) shut_out: Vec<(AccountId, Epoch)>,
}

impl Step {
    fn of(key_id: &str) -> Self {
        Self {
            key_id: key_id.to_owned(),
            details: Map::new(),
            is_unneeded: false,
            is_revoked: false,
            admins: AdminsOfKey::default(),
            made: None,
        }
    }

    fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

impl Authority {
    /// Publishes a key, so that it can sign later.
    pub async fn prepare_key(&self, act: &Act, wanted: KeyToPrepare) -> Result<ChangedKey, Error> {
        act.call.record().kind = Some(kinds::KEY_PREPARE);
        if matches!(wanted, KeyToPrepare::Existing { .. }) {
            // Whoever has the private half of a published key is believed by every library, whatever he writes.
            let everything = "*:*".parse::<Grant>().map_err(|error| Error::Internal(error.to_string()))?;
            if !act.actor.permissions().any(|held| held.includes(&everything)) {
                return Err(Error::Lacking(
                    "whoever brings a signing key along can sign whatever he likes with it: that needs every permission (*:*)"
                        .into(),
                ));
            }
        }
        let (key, from) = match wanted {
            KeyToPrepare::New(algorithm) => {
                (self.new_key(algorithm.unwrap_or(self.settings.signing.algorithm), false).await?, Origin::Here)
            }
            KeyToPrepare::InToken(algorithm) => {
                (self.new_key(algorithm.unwrap_or(self.settings.signing.algorithm), true).await?, Origin::Here)
            }
            KeyToPrepare::Existing { pem, algorithm } => {
                (NewKey::Here(Box::new(read_key(pem, algorithm).await?)), Origin::Elsewhere)
            }
        };
        self.change_keys(By::Somebody(act), Wanted::Prepare { key: &key, from }).await
    }

    pub(super) async fn prepare_new(&self) -> Result<ChangedKey, Error> {
        // Looked at before a key is made, which in a hardware token leaves its traces.
        let document = self.keys.document().await?.document;
        if document.next_to_sign().is_some() {
            return Err(Error::Conflict);
        }
        let key = self.new_key(self.settings.signing.algorithm, self.successor_is_in_token(&document)?).await?;
        self.change_keys(By::Machine, Wanted::Prepare { key: &key, from: Origin::Rotation }).await
    }

    /// Lets a pending key sign from now on.
    pub async fn activate_key(&self, act: &Act, key_id: &str, force: bool) -> Result<ChangedKey, Error> {
        act.call.record().kind = Some(kinds::KEY_ACTIVATE);
        self.change_keys(By::Somebody(act), Wanted::Activate { key_id, force }).await
    }

    pub(super) async fn activate_next(&self, key_id: &str) -> Result<ChangedKey, Error> {
        self.change_keys(By::Machine, Wanted::Activate { key_id, force: false }).await
    }

    /// Publishes a key no longer that no living token needs.
    pub async fn retire_key(&self, act: &Act, key_id: &str) -> Result<ChangedKey, Error> {
        act.call.record().kind = Some(kinds::KEY_RETIRE);
        self.change_keys(By::Somebody(act), Wanted::Retire { key_id }).await
    }

    pub(super) async fn retire_unneeded(&self, key_id: &str) -> Result<ChangedKey, Error> {
        self.change_keys(By::Machine, Wanted::Retire { key_id }).await
    }

    /// Ends everything that a key signed. `confirm` is its id once more.
    pub async fn revoke_key(&self, act: &Act, key_id: &str, confirm: &str) -> Result<ChangedKey, Error> {
        act.call.record().kind = Some(kinds::KEY_REVOKE);
        let is_confirmed = confirm == key_id;
        self.change_keys(By::Somebody(act), Wanted::Revoke { key_id, is_confirmed }).await
    }

    async fn take(
        &self,
        wanted: Wanted<'_>,
        document: &mut KeyringDocument,
        now: DateTime<Utc>,
    ) -> Result<Step, Error> {
        match wanted {
            Wanted::Prepare { from: Origin::Rotation, .. } if document.next_to_sign().is_some() => Err(Error::Conflict),
            Wanted::Prepare { key, from } => {
                document.prepare(key.pending(now))?;
                let step = Step::of(key.public().key_id()).detail("imported", from == Origin::Elsewhere);
                Ok(if matches!(key, NewKey::InToken(_)) { step.detail("in_token", true) } else { step })
            }
            Wanted::Activate { key_id, force } => {
                let before = document.active().map(|key| key.id.clone());
                let forced = document.activate(key_id, now, self.settings.signing.publish_ahead, force)?;
                self.can_sign(document).await?;
                Ok(Step::of(key_id).detail("forced", forced).detail("instead_of", before))
            }
            Wanted::Retire { key_id } => {
                let (tokens, last_expiry) = self.store.live_tokens_of(key_id, until_accepted(now)).await?;
                document.retire(key_id, now, tokens, last_expiry)?;
                Ok(Step { is_unneeded: true, ..Step::of(key_id) })
            }
            Wanted::Revoke { key_id, is_confirmed } => {
                let before = document.keys.iter().find(|key| key.id == key_id).ok_or(StepError::NoSuchKey)?;
                if !is_confirmed {
                    return Err(Error::NotConfirmed);
                }
                let (was, algorithm) = (before.state, before.algorithm);
                let (tokens, _) = self.store.live_tokens_of(key_id, now).await?;
                let admins = match was {
                    KeyState::Revoked => AdminsOfKey::default(),
                    _ => self.admins_of_key(key_id, document, now).await?,
                };
                if was != KeyState::Revoked && admins.remaining.is_none() {
                    return Err(Error::LastAdminOfKey);
                }
                let made = if was == KeyState::Active && document.next_to_sign().is_none() {
                    Some(self.new_key(algorithm, self.successor_is_in_token(document)?).await?)
                } else {
                    None
                };
                document.revoke(key_id, now, tokens, made.as_ref().map(|key| key.pending(now)))?;
                if was == KeyState::Active {
                    self.can_sign(document).await?;
                }
                let step = Step::of(key_id).detail("was", was.as_str()).detail("live_tokens", tokens);
                let signs = document.active().filter(|_| was == KeyState::Active).map(|key| key.id.clone());
                Ok(Step { admins, is_revoked: true, made, ..step.detail("signs_instead", signs) })
            }
        }
    }

    /// Which admins have a token that lives, and does not die with the key, and whose does.
    pub(super) async fn admins_of_key(
        &self,
        key_id: &str,
        document: &KeyringDocument,
        now: DateTime<Utc>,
    ) -> Result<AdminsOfKey, Error> {
        let able = self.store.able_admins(now, ADMINS).await?;
        let mut admins = AdminsOfKey::default();
        for account in self.store.readable_accounts(&able).await? {
            if account.profile.password.is_some() {
                admins.remaining.get_or_insert((account.id, account.version));
                continue;
            }
            let Some(token) = account.profile.token.as_ref().filter(|token| token.expires_at > now) else { continue };
            let is_good = document.keys.iter().any(|key| key.id == token.key_id && key.state != KeyState::Revoked);
            if token.key_id == key_id {
                admins.shut_out.push((account.id, account.version));
            } else if is_good {
                admins.remaining.get_or_insert((account.id, account.version));
            }
        }
        Ok(admins)
    }

    /// Takes a step on the newest document, and once more on a newer one where another step came first.
    async fn change_keys(&self, by: By<'_>, wanted: Wanted<'_>) -> Result<ChangedKey, Error> {
        // What is done by itself is looked at anew: another issuer may have done just that.
        let steps = if matches!(by, By::Machine) { 1 } else { STEPS };
        for _ in 0..steps {
            let now = self.clock.now();
            let mut read = self.keys.document().await?;
            let step = self.take(wanted, &mut read.document, now).await?;
            let sealed = self.keys.seal(&read)?;
            let event = self.key_event(by, wanted.kind(), &step, &read.document);
            let change = KeyringChange {
                unneeded: step.is_unneeded.then(|| (step.key_id.as_str(), until_accepted(now))),
                remains: step.admins.remaining,
                revoked: step.is_revoked.then_some(step.key_id.as_str()),
                shut_out: &step.admins.shut_out,
                author: by.author(),
                ..KeyringChange::of(read.version, &sealed)
            };
            let new = if let Wanted::Prepare { key, .. } = wanted { Some(key) } else { step.made.as_ref() };
            // Whoever leaves in the middle does not know either.
            new.inspect(|key| key.set_published(true));
            let committed = self.commit_keys(by, &event, change).await;
            new.inspect(|key| key.set_published(matches!(committed, Ok(_) | Err(Error::Uncertain { .. }))));
            let receipt = match committed {
                Err(Error::Conflict) => continue,
                committed => committed?,
            };
            self.keys
                .at_least(read.version + 1)
                .await
                .map_err(|_| Error::from(StoreError::Uncertain("the keys".into())))?;
            let views = self.key_views().await?;
            let key = views.into_iter().find(|view| view.id == step.key_id).ok_or(StepError::NoSuchKey)?;
            return Ok(ChangedKey { key, receipt });
        }
        Err(Error::Conflict)
    }

    /// Commits a change together with its event.
    pub(super) async fn commit_keys(
        &self,
        by: By<'_>,
        event: &Event,
        change: KeyringChange<'_>,
    ) -> Result<Receipt, Error> {
        let mut acting = Acting::new(Change::Keys(&change, event));
        for tries in 0..TRIES {
            let committed = self.carry_out(&mut acting, tries > 0).await.map_err(|error| {
                let error = match error {
                    StoreError::InUse(tokens) => StepError::Needed { tokens, last_expiry: None }.into(),
                    error => Error::from(error),
                };
                error.after(&event.kind)
            })?;
            // Asked for again, it is still one act.
            if tries == 0 {
                self.is_committed(by);
            }
            match self.held_everywhere(&committed, None).await {
                Ok(receipt) => {
                    self.receipt_given(by, event, &receipt);
                    return Ok(receipt);
                }
                Err(NotHeld::OtherServer) => {}
                Err(NotHeld::Away(error)) => return Err(Error::from(error).after(&event.kind)),
            }
        }
        Err(Error::from(changes_servers()).after(&event.kind))
    }

    fn key_event(&self, by: By<'_>, kind: &'static str, step: &Step, document: &KeyringDocument) -> Event {
        let mut event = match by.call() {
            Some(call) => call.event(kind, Outcome::Done, self.clock.as_ref()),
            None => Event::new(self.clock.now(), kind, Outcome::Done),
        };
        event.actor_id = by.author().map(|author| author.id);
        event = event.detail("key", step.key_id.as_str());
        if let Some(key) = document.keys.iter().find(|key| key.id == step.key_id) {
            event = event.detail("algorithm", key.algorithm.as_str()).detail("state", key.state.as_str());
        }
        for (name, value) in step.details.iter().filter(|(_, value)| !value.is_null()) {
            event = event.detail(name, value.clone());
        }
        event
    }
}

async fn read_key(pem: Zeroizing<String>, algorithm: Option<Algorithm>) -> Result<SigningKey, Error> {
    let read = tokio::task::spawn_blocking(move || read_private(&pem, None)?.signing_key(algorithm)).await;
    read.map_err(|error| Error::Internal(error.to_string()))?.map_err(|error| match error {
        ImportError::UnfitAlgorithm { .. } => Error::field("algorithm", error.to_string()),
        ImportError::PassphraseMissing => Error::field(
            "private_key",
            "the key is encrypted; decrypt it first, or let countermark key import do it, which asks for the passphrase",
        ),
        other => Error::field("private_key", other.to_string()),
    })
}

/// Tokens that expire after this are still accepted now.
pub(super) fn until_accepted(now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::seconds(LEEWAY)
}
