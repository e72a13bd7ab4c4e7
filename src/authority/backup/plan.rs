//! What a restore would do, before it does anything.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::BackupError;
use super::missing::Missing;
use super::since::{Comeback, Since};
use super::survey::{BackedUp, Counting, Survey};
use crate::account::{AccountState, Kind, StateRecord, Status};
use crate::clock::rfc3339;
use crate::epoch::Epoch;
use crate::keyring::KeyringDocument;
use crate::name::Username;
use crate::store::{AccountTexts, KnownIssuer, Standing, Store, Texts};
use crate::token::Algorithm;
use crate::verify::KeyState;

/// Names that are told; of more their number.
const TOLD: usize = 20;

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

/// Some accounts, of which a few are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Few {
    /// How many.
    pub count: u64,
    /// Names of the first 20.
    pub names: Vec<String>,
}

impl Few {
    fn add(&mut self, name: &Username) {
        self.count += 1;
        if self.names.len() < TOLD {
            self.names.push(name.to_string());
        }
    }
}

/// What would become of accounts. Names are those of a store that lives on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// How many are put back.
    pub put_back: u64,
    /// Names of the first 20 of them.
    pub names: Vec<String>,
    /// Of those, the ones that come back disabled, to be looked at, and were active then.
    pub disabled: Few,
    /// Of the others, the ones that may do less than then.
    pub narrowed: Few,
    /// How many of the backup stay as they are in the store.
    pub kept: u64,
    /// Of those, the ones that are other than then.
    pub differing: Few,
    /// Those that were deleted, and stay so.
    pub deleted: Few,
    /// Those that can't be put back, because their name is another account's.
    pub name_taken: Few,
}

/// What would become of roles, or of teams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Those that are put back.
    pub put_back: BTreeSet<String>,
    /// Of those, roles that grant less than then.
    pub narrowed: BTreeSet<String>,
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
    /// Whether all that changed since the backup is known: always in an empty store, where issuers raise what they know.
    pub changes_are_known: bool,
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
        changes_are_known: true,
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
             the store first"
        )),
        Standing::Dataset { id, .. } if id != dataset => refused(format!(
            "the store holds the dataset {id}, and the backup is of {dataset}: name the store that it belongs to, or an empty one"
        )),
        Standing::Dataset { issuer, .. } if *issuer != survey.header.issuer => refused(format!(
            "the dataset's issuer is {issuer} by now, and that of the backup is {}: a backup from before the move is only put back into an \
             empty store",
            survey.header.issuer
        )),
        standing if !standing.knows(survey.epoch()) => refused(format!(
            "the backup is of epoch {}, which the store's history does not have: the store was put back to an earlier state, or has lost \
             changes. Empty it, and restore into the empty store",
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
        let since = Since::of(survey, store).await?;
        self.changes_are_known = since.is_complete;
        let granted = since.granted(survey, store).await?;
        let (mut roles, mut teams, mut names) = (BTreeSet::new(), BTreeSet::new(), Few::default());
        let mut missing = Missing::of(survey)?;
        while let Some(some) = missing.next(store).await? {
            for (account, there) in &some.kept {
                self.keep(account, there);
            }
            for account in some.missing {
                let state = match since.account(&account, &granted) {
                    None => continue,
                    Some(Comeback::Deleted) => {
                        self.accounts.deleted.add(account.username());
                        continue;
                    }
                    Some(Comeback::Less { state, .. }) => state,
                };
                if store.id_of(account.username()).await?.is_some_and(|holder| holder != account.id) {
                    self.accounts.name_taken.add(account.username());
                    continue;
                }
                self.put_back(&account);
                names.add(account.username());
                self.is_less(&account, &state);
                roles.extend([state.role.to_string()]);
                roles.extend(state.teams.values().map(ToString::to_string));
                teams.extend(state.teams.keys().map(ToString::to_string));
            }
        }
        self.accounts.names = names.names;
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
        for name in &self.roles.put_back {
            let definition = survey.rest.roles.get(name).map_or("", String::as_str);
            if since.role(name, definition)?.is_less {
                self.roles.narrowed.insert(name.clone());
            }
        }
        Ok(())
    }

    fn keep(&mut self, account: &BackedUp, there: &AccountTexts) {
        // What was deleted then is deleted.
        let Some((profile, _)) = &account.profile else { return };
        self.accounts.kept += 1;
        match &there.profile {
            None => self.accounts.deleted.add(account.username()),
            Some(now) if there.state != account.state || now != profile => {
                self.accounts.differing.add(account.username());
            }
            Some(_) => {}
        }
    }

    /// Whether it comes back as less than it was, by more than what lets anybody in.
    fn is_less(&mut self, account: &BackedUp, state: &AccountState) {
        let StateRecord::Live(was) = &account.versioned.record else { return };
        let may = |state: &AccountState| {
            let AccountState { role, teams, audiences, allowed_networks, binding, .. } = state.clone();
            (role, teams, audiences, allowed_networks, binding)
        };
        if state.status == Status::Disabled && was.status == Status::Active {
            self.accounts.disabled.add(account.username());
        } else if may(state) != may(was) {
            self.accounts.narrowed.add(account.username());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_accounts_there_are_twenty_are_named() {
        let mut few = Few::default();
        (0..25).for_each(|number| few.add(&format!("a-{number}").parse().unwrap()));
        assert_eq!((few.count, few.names.len(), few.names.last().map(String::as_str)), (25, 20, Some("a-19")));
    }
}
