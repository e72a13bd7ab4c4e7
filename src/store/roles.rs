//! Roles and teams: named definitions that accounts refer to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::definition::{RoleDefinition, grants_of, split};
use super::journal::{self, RoleAfter};
use super::schema::hard_bound;
use super::{Author, Committed, Store, StoreError, refused};
use crate::account::AccountId;
use crate::audit::block::hash;
use crate::audit::{Event, Numbered};
use crate::epoch::Epoch;
use crate::name::{Description, RoleName, TeamName};
use crate::permission::{Role, Team};
use crate::verify::freshness::Identity;

/// A role or a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedKind {
    /// Roles.
    Role,
    /// Teams.
    Team,
}

/// A definition with the epoch of its last change.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// The epoch of its last change; `0-0` for what is built in.
    pub version: Epoch,
    /// The definition.
    pub definition: T,
}

/// One change of a role or a team.
#[derive(Debug)]
pub struct NamedChange<'a> {
    /// Which.
    pub kind: NamedKind,
    /// Its name.
    pub name: &'a str,
    /// The version that was read. `None`: it is new.
    pub before: Option<Epoch>,
    /// The new definition. `None`: deleted.
    pub after: Option<String>,
    /// Who does it. `None`: Countermark itself.
    pub author: Option<Author>,
    /// The act.
    pub event: &'a Event,
    /// The server which it raises by what that lacks (R2). `None`: it is a change like any other.
    pub raises: Option<&'a Identity>,
}

impl NamedChange<'_> {
    /// What is written down of it. Teams end nothing, and neither does what is new.
    fn note(&self) -> Result<Option<journal::Change>, StoreError> {
        if self.kind == NamedKind::Team || self.before.is_none() {
            return Ok(None);
        }
        let unreadable = || StoreError::Corrupt(format!("the role {}", self.name));
        let grants = self.after.as_deref().map_or(Some(BTreeSet::new()), grants_of).ok_or_else(unreadable)?;
        let name = self.name.parse().map_err(|_| unreadable())?;
        Ok(Some(journal::Change::Role(RoleAfter { name, grants })))
    }
}

#[derive(Serialize, Deserialize)]
struct TeamDefinition {
    #[serde(rename = "d")]
    description: Description,
}

/// A role as it lies in the store.
pub fn role_definition(role: &Role) -> String {
    json!({"d": role.description, "p": role.permissions}).to_string()
}

/// A team as it lies in the store.
pub fn team_definition(team: &Team) -> String {
    json!({"d": team.description}).to_string()
}

/// A role, of `EPOCH {definition}`.
pub fn stored_role(name: &RoleName, text: &str) -> Result<Named<Role>, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("the role {name}"));
    let (version, body) = split(text).ok_or_else(corrupt)?;
    let RoleDefinition { description, permissions } = serde_json::from_str(body).map_err(|_| corrupt())?;
    Ok(Named { version, definition: Role { name: name.clone(), description, permissions } })
}

fn team(name: &TeamName, text: &str) -> Result<Named<Team>, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("the team {name}"));
    let (version, body) = split(text).ok_or_else(corrupt)?;
    let TeamDefinition { description } = serde_json::from_str(body).map_err(|_| corrupt())?;
    Ok(Named { version, definition: Team { name: name.clone(), description } })
}

impl Store {
    /// Carries out one change of a role or a team, together with its event (A1).
    ///
    /// `act` is its event with a number. `again`: it may have been carried out before; then it is not done twice.
    pub async fn change_named(
        &self,
        change: &NamedChange<'_>,
        act: &Numbered,
        again: bool,
    ) -> Result<Committed, StoreError> {
        let (definitions, references, kind) = match change.kind {
            NamedKind::Role => (self.schema.roles(), self.schema.role_refs(), "role"),
            NamedKind::Team => (self.schema.teams(), self.schema.team_refs(), "team"),
        };
        let event = act.to_line();
        let plan = json!({
            "dataset": self.dataset_id().await?,
            "issuer": self.issuer_id(),
            "raises": change.raises.map_or(Value::Bool(false), |identity| identity.server().into()),
            "author": change.author.as_ref().map_or(Value::Bool(false), Author::plan),
            "kind": kind,
            "name": change.name,
            "expect": change.before.map(|version| version.to_string()).unwrap_or_default(),
            "node": act.node,
            "claim": act.claim,
            "sequence": act.sequence,
            "hash": hash(&event),
            "takes_away": change.raises.is_some(),
        });
        let author = change.author.as_ref().map(|author| author.id);
        let script = if change.raises.is_some() { &self.scripts.named_less } else { &self.scripts.named };
        let mut script = script.prepare_invoke();
        script
            .key(self.schema.meta())
            .key(self.schema.feed())
            .key(self.schema.acts())
            .key(self.schema.act_heads())
            .key(definitions)
            .key(references)
            .key(author.map_or_else(|| self.schema.acts(), |author| self.schema.acts_of(author)))
            .key(self.schema.state(author.unwrap_or_else(AccountId::nobody)))
            .key(self.schema.roles())
            .key(self.schema.leases())
            .key(self.schema.keyring())
            .key(self.schema.unlinked())
            .key(self.session_of(change.author.as_ref()))
            .key(self.schema.issuers())
            .arg(plan.to_string())
            .arg(change.after.as_deref().unwrap_or_default())
            .arg(event)
            .arg(hard_bound(self.options.retention.firehose))
            .arg(self.options.retention.activity);
        let note = change.note()?;
        let changed = match (change.raises, &note) {
            (Some(_), Some(note)) => self.raise(script, note).await?,
            _ => self.change(script, note.as_ref(), again).await?,
        };
        changed.map_err(|reply| refused(&reply))
    }

    /// One role.
    pub async fn role(&self, name: &RoleName) -> Result<Option<Named<Role>>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.schema.roles()).arg(name.as_str());
        let text: Option<String> = self.query(&self.shared, command).await?;
        text.map(|text| stored_role(name, &text)).transpose()
    }

    /// All roles, by name.
    pub async fn roles(&self) -> Result<BTreeMap<RoleName, Named<Role>>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.schema.roles());
        let all: BTreeMap<String, String> = self.query(&self.shared, command).await?;
        all.iter()
            .map(|(name, text)| {
                let name: RoleName = name.parse().map_err(|_| StoreError::Corrupt("a role's name".into()))?;
                Ok((name.clone(), stored_role(&name, text)?))
            })
            .collect()
    }

    /// One team.
    pub async fn team(&self, name: &TeamName) -> Result<Option<Named<Team>>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.schema.teams()).arg(name.as_str());
        let text: Option<String> = self.query(&self.shared, command).await?;
        text.map(|text| team(name, &text)).transpose()
    }

    /// All teams, by name.
    pub async fn teams(&self) -> Result<BTreeMap<TeamName, Named<Team>>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.schema.teams());
        let all: BTreeMap<String, String> = self.query(&self.shared, command).await?;
        all.iter()
            .map(|(name, text)| {
                let name: TeamName = name.parse().map_err(|_| StoreError::Corrupt("a team's name".into()))?;
                Ok((name.clone(), team(&name, text)?))
            })
            .collect()
    }
}
