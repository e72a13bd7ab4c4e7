//! What a restore would do, before it does anything.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::BackupError;
use super::survey::{BackedUp, Counting, Survey};
use crate::account::{AccountId, Kind, StateRecord, Versioned};
use crate::clock::rfc3339;
use crate::epoch::Epoch;
use crate::keyring::KeyringDocument;
use crate::store::{KnownIssuer, Standing, Store, Texts};
use crate::token::Algorithm;
use crate::verify::KeyState;

/// Accounts that are looked for at once.
const CHUNK: usize = 500;
/// Names that are told; of more their number.
const TOLD: usize = 50;

/// What it would be put back into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Into {
    /// An empty store: everything, as it was.
    Empty,
    /// An empty store into which this backup was begun to be put back: the rest of it.
    Interrupted,
    /// A store that lives on: what is missing.
    Existing,
}

/// What would become of some.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// How many are put back.
    pub put_back: u64,
    /// How many of the backup stay as they are in the store: as they were, or changed since, or deleted.
    pub kept: u64,
    /// How many can't be put back, because their name is another account's.
    pub name_taken: u64,
    /// Names of those that are put back into a store that lives on, the first 50.
    pub names: Vec<String>,
}

/// What would become of roles, or of teams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Those that are put back.
    pub put_back: BTreeSet<String>,
    /// Those that stay as they are, and are another way in the backup.
    pub differing: BTreeSet<String>,
    /// Those of the backup that are not there and that nobody has: they were deleted, and stay so.
    pub gone: BTreeSet<String>,
}

/// A signing key in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInBackup {
    /// Its id.
    pub id: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its state then.
    pub state: KeyState,
}

/// What a restore would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestorePlan {
    /// The name of the backup.
    pub backup: String,
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    /// The dataset.
    pub dataset: String,
    /// Its issuer.
    pub issuer: String,
    /// The moment that the backup is of.
    pub epoch: Epoch,
    /// What it would be put back into.
    pub into: Into,
    /// Accounts.
    pub accounts: Changes,
    /// People among those that are put back.
    pub people: u64,
    /// Accounts with a token among those that are put back; in a store that lives on it is revoked.
    pub tokens: u64,
    /// Deleted accounts whose names stay taken.
    pub deleted: u64,
    /// Roles.
    pub roles: Difference,
    /// Teams.
    pub teams: Difference,
    /// Signing keys of the backup. A store that lives on keeps its own.
    pub keys: Vec<KeyInBackup>,
    /// Issuers that raise what they know of later, or are declared gone, before anything is served: their names.
    pub issuers: Vec<String>,
    /// Entries of the audit in the backup.
    pub audit_entries: u64,
    /// Whether they are put back: only into an empty store, whose chains have no other end.
    pub audit_put_back: bool,
}

impl RestorePlan {
    /// Whether nothing would be put back.
    pub fn is_nothing(&self) -> bool {
        self.into == Into::Existing
            && self.accounts.put_back == 0
            && self.roles.put_back.is_empty()
            && self.teams.put_back.is_empty()
    }
}

/// Looks what would be done. `store`: where something may be put back; `None`: nowhere yet.
pub async fn plan(survey: &Survey, keys: &KeyringDocument, store: Option<&Store>) -> Result<RestorePlan, BackupError> {
    let standing = match store {
        Some(store) => store.what_is_there().await?,
        None => Standing::Empty,
    };
    let into = may_be_put_into(survey, &standing)?;
    let mut plan = RestorePlan {
        backup: survey.header.id().to_owned(),
        created_at: survey.header.created_at,
        dataset: survey.header.dataset.clone(),
        issuer: survey.header.issuer.clone(),
        epoch: survey.epoch(),
        into,
        accounts: Changes::default(),
        people: 0,
        tokens: 0,
        deleted: 0,
        roles: Difference::default(),
        teams: Difference::default(),
        keys: keys
            .keys
            .iter()
            .map(|key| KeyInBackup { id: key.id.clone(), algorithm: key.algorithm, state: key.state })
            .collect(),
        issuers: survey
            .rest
            .issuers
            .iter()
            .map(|(id, text)| KnownIssuer::read(id.clone(), text.clone()).name)
            .collect(),
        audit_entries: survey.end.blocks + survey.end.acts + survey.end.checkpoints,
        audit_put_back: survey.ends.is_some() && into != Into::Existing,
    };
    match store.filter(|_| into == Into::Existing) {
        Some(store) => plan.missing_in(survey, store).await?,
        None => plan.everything(survey)?,
    }
    Ok(plan)
}

/// Nothing of one dataset is put into another, and nothing into a store that has less of the history than the backup.
fn may_be_put_into(survey: &Survey, standing: &Standing) -> Result<Into, BackupError> {
    let refused = |why: String| Err(BackupError::Refused(why));
    let (dataset, backup) = (&survey.header.dataset, survey.header.id());
    match standing {
        Standing::Empty => Ok(Into::Empty),
        Standing::Restoring(other) if other == backup => Ok(Into::Interrupted),
        Standing::Restoring(other) => refused(format!(
            "the store holds a part of another backup, {other}, whose restore did not come to its end: run it again with that file, or empty \
             the store first. Nothing was changed"
        )),
        Standing::Dataset { id, .. } if id != dataset => refused(format!(
            "the store holds the dataset {id}, and the backup is of {dataset}: name the store that it belongs to, or an empty one. Nothing \
             was changed"
        )),
        Standing::Dataset { issuer, .. } if *issuer != survey.header.issuer => refused(format!(
            "the dataset's issuer is {issuer} by now, and that of the backup is {}: a backup from before the move is only put back into an \
             empty store. Nothing was changed",
            survey.header.issuer
        )),
        standing if !standing.knows(survey.epoch()) => refused(format!(
            "the backup is of epoch {}, which the store's history does not have: the store was put back to an earlier state, or has lost \
             changes. Empty it, and restore into the empty store. Nothing was changed",
            survey.epoch()
        )),
        Standing::Dataset { .. } => Ok(Into::Existing),
    }
}

impl RestorePlan {
    fn everything(&mut self, survey: &Survey) -> Result<(), BackupError> {
        let mut records = survey.records()?;
        while let Some(record) = records.next()? {
            if let Counting::Account(account) = record {
                self.put_back(&account);
            }
        }
        self.roles.put_back = survey.rest.roles.keys().cloned().collect();
        self.teams.put_back = survey.rest.teams.keys().cloned().collect();
        Ok(())
    }

    fn put_back(&mut self, account: &BackedUp) {
        let (StateRecord::Live(state), Some((_, profile))) = (&account.versioned.record, &account.profile) else {
            self.deleted += 1;
            return;
        };
        self.accounts.put_back += 1;
        self.people += u64::from(profile.kind == Kind::User);
        self.tokens += u64::from(state.token_id.is_some());
    }

    async fn missing_in(&mut self, survey: &Survey, store: &Store) -> Result<(), BackupError> {
        let (mut roles, mut teams) = (BTreeSet::new(), BTreeSet::new());
        let mut missing = Missing::of(survey)?;
        while let Some(some) = missing.next(store).await? {
            self.accounts.kept += some.kept;
            for account in some.missing {
                let StateRecord::Live(state) = &account.versioned.record else { continue };
                if store.id_of(account.username()).await?.is_some_and(|holder| holder != account.id) {
                    self.accounts.name_taken += 1;
                    continue;
                }
                self.put_back(&account);
                if self.accounts.names.len() < TOLD {
                    self.accounts.names.push(account.username().to_string());
                }
                roles.extend([state.role.to_string()]);
                roles.extend(state.teams.values().map(ToString::to_string));
                teams.extend(state.teams.keys().map(ToString::to_string));
            }
        }
        // Tombstones are no accounts, and names of theirs are free by now.
        self.deleted = 0;
        // What others name, and what those name that are put back.
        let needed = async |references: Texts, more: BTreeSet<String>| {
            let named = store.texts(references).await?.into_iter().filter(|(_, count)| count.parse() != Ok(0));
            Ok::<BTreeSet<String>, BackupError>(more.into_iter().chain(named.map(|(name, _)| name)).collect())
        };
        let roles = needed(Texts::RoleReferences, roles).await?;
        let teams = needed(Texts::TeamReferences, teams).await?;
        self.roles = Difference::of(&survey.rest.roles, &store.texts(Texts::Roles).await?, &roles);
        self.teams = Difference::of(&survey.rest.teams, &store.texts(Texts::Teams).await?, &teams);
        Ok(())
    }
}

impl Difference {
    fn of(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>, needed: &BTreeSet<String>) -> Self {
        let mut difference = Self::default();
        for (name, definition) in then {
            let names = match now.get(name) {
                Some(other) if other == definition => continue,
                Some(_) => &mut difference.differing,
                None if needed.contains(name) => &mut difference.put_back,
                None => &mut difference.gone,
            };
            names.insert(name.clone());
        }
        difference
    }
}

/// Accounts of a backup that a store that lives on does not have.
pub(super) struct Missing<'a> {
    records: super::survey::Records<'a>,
    is_over: bool,
}

/// Some of them.
pub(super) struct SomeMissing {
    pub(super) missing: Vec<BackedUp>,
    kept: u64,
}

impl<'a> Missing<'a> {
    pub(super) fn of(survey: &'a Survey) -> Result<Self, BackupError> {
        Ok(Self { records: survey.records()?, is_over: false })
    }

    /// The next ones, which may be none. `None`: there are no more.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<SomeMissing>, BackupError> {
        if self.is_over {
            return Ok(None);
        }
        let mut some = Vec::with_capacity(CHUNK);
        while some.len() < CHUNK {
            match self.records.next()? {
                Some(Counting::Account(account)) => some.push(*account),
                Some(_) => {}
                None => {
                    self.is_over = true;
                    break;
                }
            }
        }
        let ids: Vec<AccountId> = some.iter().map(|account| account.id).collect();
        let there: BTreeMap<AccountId, String> =
            store.account_texts(&ids).await?.into_iter().map(|texts| (texts.id, texts.state)).collect();
        let (mut missing, mut kept) = (Vec::new(), 0);
        for account in some {
            match there.get(&account.id) {
                None => missing.push(account),
                Some(text) if is_older(text, account.versioned.version) => {
                    return Err(BackupError::Refused(format!(
                        "the account {} is older in the store than in the backup, though the store is not: a part of it was put back to an \
                         earlier state. Empty it, and restore into the empty store. Nothing was changed",
                        account.username()
                    )));
                }
                Some(_) => kept += u64::from(account.profile.is_some()),
            }
        }
        Ok(Some(SomeMissing { missing, kept }))
    }
}

/// What can't be read stays as it is.
fn is_older(text: &str, version: Epoch) -> bool {
    Versioned::parse(text).is_ok_and(|there| there.version < version)
}
