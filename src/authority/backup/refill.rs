//! What a store that lives on has lost is put back from a backup: by ordinary acts, each in the audit, and without anything that lets
//! anybody in. What became of a token, or of a password, between the backup and the loss nobody can know (R2).

use super::BackupError;
use super::plan::{Missing, RestorePlan};
use super::survey::{BackedUp, Survey};
use crate::account::{AccountState, StateRecord};
use crate::audit::{Event, Outcome, kinds};
use crate::authority::acts::{Acting, Change};
use crate::authority::call::By;
use crate::authority::{Authority, Error};
use crate::store::{AccountChange, NamedChange, NamedKind, Profile, StoreError};

/// What was put back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refilled {
    /// Accounts.
    pub accounts: u64,
    /// Roles and teams.
    pub definitions: u64,
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum NotRefilled {
    /// The file, or the store as it is read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// An act was not done.
    #[error(transparent)]
    Act(#[from] Error),
}

impl Authority {
    /// Puts back what the plan says is missing.
    pub async fn refill(&self, survey: &Survey, plan: &RestorePlan) -> Result<Refilled, NotRefilled> {
        let mut refilled = Refilled::default();
        let kinds =
            [(NamedKind::Role, &plan.roles, &survey.rest.roles), (NamedKind::Team, &plan.teams, &survey.rest.teams)];
        for (kind, difference, then) in kinds {
            for name in &difference.put_back {
                if let Some(definition) = then.get(name) {
                    refilled.definitions += u64::from(self.put_back_named(survey, kind, name, definition).await?);
                }
            }
        }
        let mut missing = Missing::of(survey)?;
        while let Some(some) = missing.next(&self.store).await? {
            for account in &some.missing {
                refilled.accounts += u64::from(self.put_back_account(survey, account).await?);
            }
        }
        Ok(refilled)
    }

    /// `false`: somebody else has made one meanwhile.
    async fn put_back_named(
        &self,
        survey: &Survey,
        kind: NamedKind,
        name: &str,
        definition: &str,
    ) -> Result<bool, NotRefilled> {
        let (_, body) = definition.split_once(' ').unwrap_or_default();
        let what = match kind {
            NamedKind::Role => "role",
            NamedKind::Team => "team",
        };
        let event = self.restored_event(survey).detail(what, name);
        let after = Some(body.to_owned());
        let change = NamedChange { kind, name, before: None, after, author: None, raises: None, event: &event };
        match self.carry_out(&mut Acting::new(Change::Named(&change)), false).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// `false`: it was deleted, or its name is another's by now.
    async fn put_back_account(&self, survey: &Survey, account: &BackedUp) -> Result<bool, NotRefilled> {
        let (StateRecord::Live(state), Some((_, profile))) = (&account.versioned.record, &account.profile) else {
            return Ok(false);
        };
        let (state, profile) = shut(state, profile);
        let mut event = self.restored_event(survey);
        event.account_id = Some(account.id);
        event.username = Some(state.username.to_string());
        event.generation = Some(state.generation);
        let change = AccountChange {
            id: account.id,
            before: None,
            after: Some((&state, &profile)),
            admin: self.admin(&state, &profile),
            author: None,
            setup: None,
            reuse: Some(account.id),
            keys_version: None,
            now: self.clock.now(),
            event: &event,
            raises: None,
        };
        match self.commit(By::Machine, &change).await {
            Ok(_) => Ok(true),
            Err(Error::UsernameTaken | Error::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn restored_event(&self, survey: &Survey) -> Event {
        Event::new(self.clock.now(), kinds::RESTORE, Outcome::Done).detail("backup", survey.header.id())
    }
}

/// The account without what lets anybody in.
fn shut(state: &AccountState, profile: &Profile) -> (AccountState, Profile) {
    let state = AccountState { token_id: None, previous: None, sign_ins: state.sign_ins + 1, ..state.clone() };
    let profile = Profile { token: None, previous: None, password: None, link: None, ..profile.clone() };
    (state, profile)
}
