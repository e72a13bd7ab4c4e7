//! What a change of a role would come to, before it is made.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Authority, Error};
use crate::account::{AccountId, AccountState, Status};
use crate::epoch::Epoch;
use crate::name::{RoleName, TeamName, Username};
use crate::permission::{Grant, PERMISSIONS_PER_ROLE, Role, is_built_in};
use crate::store::{List, Listing, Named};

/// Accounts that are looked at.
const LOOK_AT: usize = 2_000;
/// Accounts that are read at once.
const CHUNK: usize = 500;
/// Accounts that are named.
const NAMED: usize = 100;

/// What a change of a role would come to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RolePreview {
    /// The role.
    pub role: RoleName,
    /// Its version, for `If-Match`; null: it would be new.
    #[schema(required = true)]
    pub version: Option<Epoch>,
    /// What it grants and would grant.
    #[serde(flatten)]
    pub change: GrantChange,
    /// How many accounts have it, by default or in a team.
    pub accounts: u64,
    /// How many of them would gain or lose something, of those that were looked at.
    pub affected: u64,
    /// Whether all were looked at; else there may be more that are affected.
    pub complete: bool,
    /// Those that are affected, by username, a hundred at the most.
    pub items: Vec<AffectedAccount>,
}

/// What is granted after a change and was not before, and the other way round. What a wider grant covers is not named: whoever had
/// `b:*` neither gains nor loses by `b:read`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct GrantChange {
    /// Granted now, and not before.
    pub gains: BTreeSet<Grant>,
    /// Granted before, and not any more.
    pub loses: BTreeSet<Grant>,
}

/// An account that gains or loses something.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AffectedAccount {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub username: Username,
    /// Its status.
    pub status: Status,
    /// What changes everywhere; null: nothing.
    #[schema(required = true)]
    pub by_default: Option<GrantChange>,
    /// What changes in teams only.
    #[schema(value_type = BTreeMap<String, GrantChange>)]
    pub in_teams: BTreeMap<TeamName, GrantChange>,
}

impl GrantChange {
    /// From these grants to those.
    fn between<'a>(before: impl IntoIterator<Item = &'a Grant>, after: impl IntoIterator<Item = &'a Grant>) -> Self {
        let (had, has): (Vec<_>, Vec<_>) = (before.into_iter().collect(), after.into_iter().collect());
        let lacking = |these: &[&Grant], others: &[&Grant]| {
            let is_lacking = |wanted: &&&Grant| !others.iter().any(|grant| grant.includes(wanted));
            these.iter().filter(is_lacking).map(|grant| (*grant).clone()).collect()
        };
        Self { gains: lacking(&has, &had), loses: lacking(&had, &has) }
    }

    /// Whether nothing changes.
    pub fn is_none(&self) -> bool {
        self.gains.is_empty() && self.loses.is_empty()
    }
}

impl Authority {
    /// Which accounts would gain and lose what if a role granted this. Nothing is changed.
    pub async fn preview_role(&self, name: &RoleName, permissions: &BTreeSet<Grant>) -> Result<RolePreview, Error> {
        if is_built_in(name) {
            return Err(Error::BuiltIn);
        }
        check_number(permissions)?;
        let roles = self.store.roles().await?;
        let nothing = BTreeSet::new();
        let before = roles.get(name).map_or(&nothing, |role| &role.definition.permissions);
        let change = GrantChange::between(before, permissions);
        let counted = self.store.count_listed(&[List::OfRole(name)]).await?;
        let mut preview = RolePreview {
            role: name.clone(),
            version: roles.get(name).map(|role| role.version),
            accounts: counted.first().copied().unwrap_or(0),
            affected: 0,
            complete: true,
            items: Vec::new(),
            change,
        };
        if preview.change.is_none() {
            return Ok(preview);
        }
        let (mut looked_at, mut after) = (0, None::<String>);
        while looked_at < LOOK_AT {
            let which = Listing { of: List::OfRole(name), after: after.as_deref(), ..Listing::default() };
            let (states, next) = self.store.some_states(which, CHUNK).await?;
            for (id, state) in states {
                let Some(account) = affected(id, &state, &preview.change, name, before, permissions, &roles) else {
                    continue;
                };
                preview.affected += 1;
                if preview.items.len() < NAMED {
                    preview.items.push(account);
                }
            }
            looked_at += CHUNK;
            after = next;
            if after.is_none() {
                break;
            }
        }
        preview.complete = after.is_none();
        Ok(preview)
    }
}

/// No role has more than that.
pub(super) fn check_number(permissions: &BTreeSet<Grant>) -> Result<(), Error> {
    if permissions.len() <= PERMISSIONS_PER_ROLE {
        return Ok(());
    }
    Err(Error::field("permissions", format!("a role has at most {PERMISSIONS_PER_ROLE} permissions")))
}

/// What changes for an account, if anything does.
fn affected(
    id: AccountId,
    state: &AccountState,
    change: &GrantChange,
    name: &RoleName,
    before: &BTreeSet<Grant>,
    after: &BTreeSet<Grant>,
    roles: &BTreeMap<RoleName, Named<Role>>,
) -> Option<AffectedAccount> {
    let account = |by_default, in_teams| AffectedAccount {
        id,
        username: state.username.clone(),
        status: state.status,
        by_default,
        in_teams,
    };
    if state.role == *name {
        // In each of its teams as well.
        return Some(account(Some(change.clone()), BTreeMap::new()));
    }
    // In a team, what the default role grants counts too.
    let nothing = BTreeSet::new();
    let default = roles.get(&state.role).map_or(&nothing, |role| &role.definition.permissions);
    let in_team = GrantChange::between(default.iter().chain(before), default.iter().chain(after));
    if in_team.is_none() {
        return None;
    }
    let teams = state.teams.iter().filter(|(_, role)| *role == name);
    let in_teams: BTreeMap<_, _> = teams.map(|(team, _)| (team.clone(), in_team.clone())).collect();
    (!in_teams.is_empty()).then(|| account(None, in_teams))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> BTreeSet<Grant> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_a_wider_grant_covers_is_neither_gained_nor_lost() {
        let change = |before: &[&str], after: &[&str]| {
            let change = GrantChange::between(&grants(before), &grants(after));
            (change.gains, change.loses)
        };
        assert_eq!(change(&["a:read"], &["a:read", "b:*"]), (grants(&["b:*"]), grants(&[])));
        assert_eq!(change(&["b:*"], &["b:read"]), (grants(&[]), grants(&["b:*"])));
        assert_eq!(change(&["b:read", "b:write"], &["b:*"]), (grants(&["b:*"]), grants(&[])));
        assert_eq!(change(&["*:*"], &["*:read", "b:*"]), (grants(&[]), grants(&["*:*"])));
        assert_eq!(change(&[], &[]), (grants(&[]), grants(&[])));
    }
}
