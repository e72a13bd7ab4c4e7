//! An empty store is filled with a backup. Nobody is served from it before it is whole; interrupted, it is gone on with.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::BackupError;
use super::plan::RestorePlan;
use super::record::Ends;
use super::survey::{BackedUp, Counting, Survey};
use crate::account::Audience;
use crate::audit::Event;
use crate::authority::accounts::admin_of;
use crate::clock::random;
use crate::keyring::CarriedOver;
use crate::store::{
    ACTS, AtLast, Begun, Profile, RestoredAccount, RestoredAct, Store, StoreError, Texts, comes_before,
};
use crate::verify::KeyState;

/// Accounts that are read of the file before they are written, and how many are written at once.
const CHUNK: usize = 1_000;
const AT_ONCE: usize = 64;
/// Entries of the audit that are written at once, and bytes of them.
const ENTRIES: usize = 64;
const BYTES: usize = 256 * 1024;
/// Where a stream of checkpoints is meant.
const CHECKPOINTS: &str = "checkpoints";

/// What a restore has to know of the service.
pub struct Filling<'a> {
    /// The backup.
    pub survey: &'a Survey,
    /// What was shown of it.
    pub plan: &'a RestorePlan,
    /// The signing keys, as they are to lie in the store.
    pub keys: &'a CarriedOver,
    /// Audiences of Countermark's own API.
    pub own_audiences: &'a [Audience],
}

/// Why an empty store was not filled, and what it is now.
#[derive(Debug, thiserror::Error)]
pub enum NotFilled {
    /// It is as it was.
    #[error("{0}")]
    NotBegun(BackupError),
    /// It holds a part of the backup, and nobody is served from it.
    #[error("{0}")]
    NotWhole(BackupError),
    /// It is not being filled with this backup any more: another process has come to the end of it, or has emptied the store.
    #[error("another process has put it back meanwhile, or has emptied the store")]
    Overtaken,
    /// Another server has taken its place, and holds a part of the backup: what was put back last may be missing.
    #[error("the store became another server meanwhile, which may lack what was put back last")]
    Replaced,
    /// All was put back, and whether that is confirmed is not known.
    #[error("{0}")]
    Unconfirmed(StoreError),
}

/// Puts everything back into an empty store.
pub async fn restore_into_empty(store: &Store, filling: &Filling<'_>) -> Result<(), NotFilled> {
    let server = filling.begin(store).await?;
    filling.records(store).await.map_err(in_between)?;
    let last = filling.rest(store).await.map_err(in_between)?;
    store.finish_restore(filling.survey.header.id(), &server, last).await.map_err(|error| match error {
        StoreError::Uncertain(_) | StoreError::Unconfirmed { .. } => NotFilled::Unconfirmed(error),
        refused => in_between(refused.into()),
    })
}

fn in_between(error: BackupError) -> NotFilled {
    match error {
        BackupError::Store(StoreError::Conflict) => NotFilled::Overtaken,
        BackupError::Store(StoreError::Unmet) => NotFilled::Replaced,
        other => NotFilled::NotWhole(other),
    }
}

impl Filling<'_> {
    /// On which server.
    async fn begin(&self, store: &Store) -> Result<String, NotFilled> {
        let why = match store.begin_restore(self.survey.header.id()).await {
            Ok(Begun::Begun(server)) => return Ok(server),
            Ok(Begun::Dataset(id)) => format!("the store became the dataset {id} meanwhile"),
            Ok(Begun::Restoring(other)) => format!("the backup {other} is being restored into the store"),
            Ok(Begun::Leftover(key)) => format!(
                "the store holds no dataset, and yet the key {key}: it has lost a part of what it had. Empty it first"
            ),
            Err(error @ StoreError::Uncertain(_)) => return Err(NotFilled::NotWhole(error.into())),
            Err(error) => return Err(NotFilled::NotBegun(error.into())),
        };
        Err(NotFilled::NotBegun(BackupError::Refused(why)))
    }

    async fn records(&self, store: &Store) -> Result<(), BackupError> {
        let mut records = self.survey.records()?;
        let mut accounts = Vec::with_capacity(CHUNK);
        let mut audit = Audit {
            backup: self.survey.header.id(),
            store,
            reached: store.restored_up_to().await?,
            waiting: Waiting::None,
        };
        while let Some(record) = records.next()? {
            match record {
                Counting::Account(account) => {
                    accounts.push(*account);
                    if accounts.len() == CHUNK {
                        self.accounts(store, &accounts).await?;
                        accounts.clear();
                    }
                }
                Counting::Block { shard, entry, header, lines } => {
                    audit.push(Waiting::Blocks(shard, vec![(entry, header, lines)])).await?;
                }
                Counting::Act { entry, epoch, line } => {
                    let event = Event::from_line(&line);
                    let accounts =
                        event.iter().flat_map(|event| [event.account_id, event.actor_id]).flatten().collect();
                    audit.push(Waiting::Acts(vec![RestoredAct { entry, epoch, line, accounts }])).await?;
                }
                Counting::Checkpoint { entry, text } => audit.push(Waiting::Checkpoints(vec![(entry, text)])).await?,
            }
        }
        self.accounts(store, &accounts).await?;
        audit.write().await
    }

    async fn accounts(&self, store: &Store, accounts: &[BackedUp]) -> Result<(), BackupError> {
        let is_revoked = |key_id: &str| {
            let key = self.keys.document.keys.iter().find(|key| key.id == key_id);
            key.is_some_and(|key| key.state == KeyState::Revoked)
        };
        let admin = |account: &BackedUp| match (&account.versioned.record, &account.profile) {
            (crate::account::StateRecord::Live(state), Some((_, profile))) => {
                admin_of(state, profile, |audience| self.own_audiences.contains(audience), is_revoked)
            }
            _ => crate::store::Admin::No,
        };
        let restored = |account| {
            let admin = admin(account);
            async move {
                let BackedUp { id, state, versioned, profile } = account;
                let profile: Option<(&str, &Profile)> = profile.as_ref().map(|(text, read)| (text.as_str(), read));
                store
                    .restore_account(
                        self.survey.header.id(),
                        &RestoredAccount { id: *id, state: (state, versioned), profile, admin },
                    )
                    .await
            }
        };
        // On one connection: the store reads them one after the other, and is not waited for in between.
        stream::iter(accounts.iter().map(restored))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(())
    }

    /// All but what makes it the dataset: that.
    async fn rest(&self, store: &Store) -> Result<AtLast, BackupError> {
        let Survey { header, rest, ends, .. } = self.survey;
        let backup = header.id();
        store.restore_texts(backup, Texts::Roles, &rest.roles).await?;
        store.restore_texts(backup, Texts::Teams, &rest.teams).await?;
        store.restore_texts(backup, Texts::Issuers, &rest.issuers).await?;
        let mut keyring = rest.keyring.clone();
        keyring.insert("version".to_owned(), self.keys.version.to_string());
        keyring.insert("document".to_owned(), self.keys.sealed.clone());
        store.restore_texts(backup, Texts::Keyring, &keyring).await?;
        if let Some(ends) = ends {
            self.ends(store, ends).await?;
        }
        let mut meta = rest.meta.clone();
        meta.insert("dataset".to_owned(), header.dataset.clone());
        meta.insert("issuer".to_owned(), header.issuer.clone());
        let term = term_above(rest.epoch.term)?;
        let told = json!({
            "backup": backup,
            "created_at": crate::clock::rfc3339::text(&header.created_at),
            "epoch": rest.epoch.to_string(),
            "accounts": self.plan.accounts.put_back,
            "with_audit": ends.is_some(),
        });
        Ok(AtLast { meta, term, told: told.to_string() })
    }

    /// Nobody goes on with a chain under a claim of then.
    async fn ends(&self, store: &Store, ends: &Ends) -> Result<(), BackupError> {
        let unclaimed = |(node, head): (&String, &String)| {
            let head = match head.split_once(' ') {
                Some((_, rest)) if !node.starts_with('#') => format!("- {rest}"),
                _ => head.clone(),
            };
            (node.clone(), head)
        };
        for (shard, heads) in &ends.shards {
            let heads: BTreeMap<String, String> = heads.iter().map(unclaimed).collect();
            store.restore_heads(*shard, &heads).await?;
        }
        let backup = self.survey.header.id();
        let acts = ends.acts.iter().filter(|(node, _)| !node.ends_with("#claim"));
        store.restore_texts(backup, Texts::ActHeads, acts).await?;
        store.restore_texts(backup, Texts::Unlinked, &ends.unlinked).await?;
        store.restore_texts(backup, Texts::Sinks, &ends.sinks).await?;
        Ok(())
    }
}

/// A term that the lost store had not come to, nor one that the same backup was put back into before. Issuers remember a thousand terms,
/// and must not take what they changed after the backup for something older.
fn term_above(term: u64) -> Result<u64, BackupError> {
    let [one, two] = random::<2>().map_err(|error| BackupError::Refused(error.to_string()))?;
    let jump = 100 + u64::from(u16::from_be_bytes([one, two])) % 800;
    Ok(term.saturating_add(jump))
}

/// Entries that are written together.
enum Waiting {
    None,
    Blocks(u16, Vec<(String, String, String)>),
    Acts(Vec<RestoredAct>),
    Checkpoints(Vec<(String, String)>),
}

impl Waiting {
    /// The stream, the last entry, how many there are, and of how many bytes.
    fn facts(&self) -> (String, String, usize, usize) {
        let of =
            |name: String, last: Option<&String>, count, bytes| (name, last.cloned().unwrap_or_default(), count, bytes);
        match self {
            Self::None => of(String::new(), None, 0, 0),
            Self::Blocks(shard, all) => {
                let bytes = all.iter().map(|(_, header, lines)| header.len() + lines.len()).sum();
                of(shard.to_string(), all.last().map(|(entry, ..)| entry), all.len(), bytes)
            }
            Self::Acts(all) => {
                let bytes = all.iter().map(|act| act.line.len()).sum();
                of(ACTS.to_owned(), all.last().map(|act| &act.entry), all.len(), bytes)
            }
            Self::Checkpoints(all) => {
                let bytes = all.iter().map(|(_, text)| text.len()).sum();
                of(CHECKPOINTS.to_owned(), all.last().map(|(entry, _)| entry), all.len(), bytes)
            }
        }
    }
}

struct Audit<'a> {
    backup: &'a str,
    store: &'a Store,
    /// The last entry of each stream that is there from a try before.
    reached: BTreeMap<String, String>,
    waiting: Waiting,
}

impl Audit<'_> {
    /// Takes one more entry.
    async fn push(&mut self, one: Waiting) -> Result<(), BackupError> {
        let (name, entry, ..) = one.facts();
        if self.reached.get(&name).is_some_and(|reached| !comes_before(reached, &entry)) {
            return Ok(());
        }
        let (waiting, _, count, bytes) = self.waiting.facts();
        if waiting != name || count >= ENTRIES || bytes >= BYTES {
            self.write().await?;
        }
        match (&mut self.waiting, one) {
            (Waiting::Blocks(_, all), Waiting::Blocks(_, more)) => all.extend(more),
            (Waiting::Acts(all), Waiting::Acts(more)) => all.extend(more),
            (Waiting::Checkpoints(all), Waiting::Checkpoints(more)) => all.extend(more),
            (waiting, one) => *waiting = one,
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), BackupError> {
        let written: Result<(), StoreError> = match std::mem::replace(&mut self.waiting, Waiting::None) {
            Waiting::None => Ok(()),
            Waiting::Blocks(shard, all) => self.store.restore_blocks(shard, &all).await,
            Waiting::Acts(all) => self.store.restore_acts(self.backup, &all).await,
            Waiting::Checkpoints(all) => self.store.restore_checkpoints(&all).await,
        };
        Ok(written?)
    }
}
