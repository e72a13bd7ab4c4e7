//! Roles and teams.

use std::collections::BTreeMap;

use super::acts::{Acting, Change};
use super::call::By;
use super::receipts::{NotHeld, TRIES, changes_servers};
use super::role_preview::check_number;
use super::{Act, Authority, Error, Precondition, Receipt};
use crate::account::AccountId;
use crate::audit::{Event, Outcome, kinds};
use crate::name::{RoleName, TeamName};
use crate::permission::{Powers, Role, Team, is_built_in};
use crate::store::{Author, List, Named, NamedChange, NamedKind, StoreError};

/// Something that was set: new or changed.
#[derive(Debug)]
pub struct Changed<T> {
    /// As it is now.
    pub value: T,
    /// Whether it was not there before.
    pub created: bool,
    /// Since when it holds.
    pub receipt: Receipt,
}

impl Authority {
    /// All roles, by name.
    pub async fn roles(&self) -> Result<Vec<Role>, Error> {
        Ok(self.store.roles().await?.into_values().map(|role| role.definition).collect())
    }

    /// One role, with its version.
    pub async fn role(&self, name: &RoleName) -> Result<Named<Role>, Error> {
        self.store.role(name).await?.ok_or(Error::NotFound("role"))
    }

    /// How many accounts have each of these roles, by default or in a team. `None`: a dataset of an earlier version does not tell.
    pub async fn count_of_roles(&self, roles: impl IntoIterator<Item = &RoleName>) -> Result<Vec<Option<u64>>, Error> {
        let lists: Vec<List<'_>> = roles.into_iter().map(List::OfRole).collect();
        self.count_of(&lists).await
    }

    /// How many accounts are in each of these teams. `None`: a dataset of an earlier version does not tell.
    pub async fn count_of_teams(&self, teams: impl IntoIterator<Item = &TeamName>) -> Result<Vec<Option<u64>>, Error> {
        let lists: Vec<List<'_>> = teams.into_iter().map(List::OfTeam).collect();
        self.count_of(&lists).await
    }

    async fn count_of(&self, lists: &[List<'_>]) -> Result<Vec<Option<u64>>, Error> {
        let (counts, is_known) = tokio::try_join!(self.store.count_listed(lists), self.store.is_indexed())?;
        Ok(counts.into_iter().map(|count| is_known.then_some(count)).collect())
    }

    /// Creates or changes a role. Needs all that it granted and all that it will. The epoch of the receipt is its version then.
    pub async fn set_role(&self, act: &Act, role: Role, only: &Precondition) -> Result<Changed<Role>, Error> {
        act.call.record().kind = Some(kinds::ROLE_SET);
        if is_built_in(&role.name) {
            return Err(Error::BuiltIn);
        }
        check_number(&role.permissions)?;
        let before = self.store.role(&role.name).await?;
        only.check(before.as_ref().map(|before| before.version))?;
        let concerned =
            before.iter().flat_map(|before| &before.definition.permissions).chain(&role.permissions).cloned();
        may_dispose(act, &Powers { default: concerned.collect(), teams: BTreeMap::new() })?;
        let permissions: Vec<String> = role.permissions.iter().map(ToString::to_string).collect();
        let event =
            self.named_event(act, kinds::ROLE_SET, "role", role.name.as_str()).detail("permissions", permissions);
        let change = NamedChange {
            kind: NamedKind::Role,
            name: role.name.as_str(),
            before: before.as_ref().map(|before| before.version),
            after: Some(crate::store::role_definition(&role)),
            author: Some(Author::of(&act.actor)),
            event: &event,
            raises: None,
        };
        let receipt = self.commit_named(act, &change, only).await?;
        Ok(Changed { value: role, created: before.is_none(), receipt })
    }

    /// Deletes a role that no account has.
    pub async fn delete_role(&self, act: &Act, name: &RoleName, only: &Precondition) -> Result<Receipt, Error> {
        act.call.record().kind = Some(kinds::ROLE_DELETE);
        if is_built_in(name) {
            return Err(Error::BuiltIn);
        }
        let before = self.role(name).await?;
        only.check(Some(before.version))?;
        may_dispose(act, &Powers { default: before.definition.permissions, teams: BTreeMap::new() })?;
        let event = self.named_event(act, kinds::ROLE_DELETE, "role", name.as_str());
        let change = NamedChange {
            kind: NamedKind::Role,
            name: name.as_str(),
            before: Some(before.version),
            after: None,
            author: Some(Author::of(&act.actor)),
            event: &event,
            raises: None,
        };
        self.commit_named(act, &change, only).await
    }

    /// All teams, by name.
    pub async fn teams(&self) -> Result<Vec<Team>, Error> {
        Ok(self.store.teams().await?.into_values().map(|team| team.definition).collect())
    }

    /// One team, with its version.
    pub async fn team(&self, name: &TeamName) -> Result<Named<Team>, Error> {
        self.store.team(name).await?.ok_or(Error::NotFound("team"))
    }

    /// Creates or changes a team. The epoch of the receipt is its version then.
    pub async fn set_team(&self, act: &Act, team: Team, only: &Precondition) -> Result<Changed<Team>, Error> {
        act.call.record().kind = Some(kinds::TEAM_SET);
        let before = self.store.team(&team.name).await?;
        only.check(before.as_ref().map(|before| before.version))?;
        let event = self.named_event(act, kinds::TEAM_SET, "team", team.name.as_str());
        let change = NamedChange {
            kind: NamedKind::Team,
            name: team.name.as_str(),
            before: before.as_ref().map(|before| before.version),
            after: Some(crate::store::team_definition(&team)),
            author: Some(Author::of(&act.actor)),
            event: &event,
            raises: None,
        };
        let receipt = self.commit_named(act, &change, only).await?;
        Ok(Changed { value: team, created: before.is_none(), receipt })
    }

    /// Deletes a team that no account is a member of.
    pub async fn delete_team(&self, act: &Act, name: &TeamName, only: &Precondition) -> Result<Receipt, Error> {
        act.call.record().kind = Some(kinds::TEAM_DELETE);
        let before = self.team(name).await?;
        only.check(Some(before.version))?;
        let event = self.named_event(act, kinds::TEAM_DELETE, "team", name.as_str());
        let change = NamedChange {
            kind: NamedKind::Team,
            name: name.as_str(),
            before: Some(before.version),
            after: None,
            author: Some(Author::of(&act.actor)),
            event: &event,
            raises: None,
        };
        self.commit_named(act, &change, only).await
    }

    async fn commit_named(&self, act: &Act, change: &NamedChange<'_>, only: &Precondition) -> Result<Receipt, Error> {
        let mut acting = Acting::new(Change::Named(change));
        for tries in 0..TRIES {
            let committed = self.carry_out(&mut acting, tries > 0).await.map_err(|error| {
                let error = match (error, change.kind) {
                    (StoreError::InUse(count), NamedKind::Team) => Error::TeamInUse(count),
                    (error, _) => error.into(),
                };
                only.or_failed(error).after(&change.event.kind)
            })?;
            // Asked for again, it is still one act.
            if tries == 0 {
                self.is_committed(By::Somebody(act));
            }
            match self.held_everywhere(&committed, None).await {
                Ok(receipt) => {
                    self.receipt_given(By::Somebody(act), change.event, &receipt);
                    return Ok(receipt);
                }
                Err(NotHeld::OtherServer) => {}
                Err(NotHeld::Away(error)) => return Err(Error::from(error).after(&change.event.kind)),
            }
        }
        Err(Error::from(changes_servers()).after(&change.event.kind))
    }

    fn named_event(&self, act: &Act, kind: &'static str, what: &str, name: &str) -> Event {
        let mut event = act.call.event(kind, Outcome::Done, self.clock.as_ref()).detail(what, name);
        event.actor_id = Some::<AccountId>(act.actor.account());
        event
    }
}

fn may_dispose(act: &Act, of: &Powers) -> Result<(), Error> {
    super::checks::may_grant(&act.actor.powers(), of)
}
