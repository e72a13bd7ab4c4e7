//! What a store that lives on has lost is put back from a backup: by ordinary acts, each in the audit, and as no more than is known to be
//! its due, see [`super::since`].

use super::BackupError;
use super::missing::Missing;
use super::plan::RestorePlan;
use super::since::{Comeback, Granted, Since};
use super::survey::{BackedUp, Survey};
use crate::audit::{Event, Outcome, kinds};
use crate::authority::acts::{Acting, Change};
use crate::authority::call::By;
use crate::authority::{Authority, Error};
use crate::store::{AccountChange, NamedChange, NamedKind, StoreError, role_definition};

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
        let since = Since::of(survey, &self.store).await?;
        let kinds =
            [(NamedKind::Role, &plan.roles, &survey.rest.roles), (NamedKind::Team, &plan.teams, &survey.rest.teams)];
        for (kind, difference, then) in kinds {
            for name in &difference.put_back {
                let Some(definition) = then.get(name) else { continue };
                let body = match kind {
                    NamedKind::Role => role_definition(&since.role(name, definition)?.role),
                    NamedKind::Team => definition.split_once(' ').unwrap_or_default().1.to_owned(),
                };
                refilled.definitions += u64::from(self.put_back_named(survey, kind, name, body).await?);
            }
        }
        let granted = since.granted(survey, &self.store).await?;
        let mut missing = Missing::of(survey)?;
        while let Some(some) = missing.next(&self.store).await? {
            for account in &some.missing {
                refilled.accounts += u64::from(self.put_back_account(survey, account, &since, &granted).await?);
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
        body: String,
    ) -> Result<bool, NotRefilled> {
        let what = match kind {
            NamedKind::Role => "role",
            NamedKind::Team => "team",
        };
        let event = self.restored_event(survey).detail(what, name);
        let change =
            NamedChange { kind, name, before: None, after: Some(body), author: None, raises: None, event: &event };
        match self.carry_out(&mut Acting::new(Change::Named(&change)), false).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// `false`: it was deleted, or its name is another's by now.
    async fn put_back_account(
        &self,
        survey: &Survey,
        account: &BackedUp,
        since: &Since,
        granted: &Granted,
    ) -> Result<bool, NotRefilled> {
        let Some(Comeback::Less { state, profile, what }) = since.account(account, granted) else { return Ok(false) };
        let mut event = self.restored_event(survey);
        if !what.is_empty() {
            event = event.detail("made_up_for", what);
        }
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
