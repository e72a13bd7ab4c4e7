//! What must hold before anything is asked of the store.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use super::{Authority, Error};
use crate::account::{AccountId, AccountState, Audience, StateRecord, limits};
use crate::name::{RoleName, TeamName, Username};
use crate::permission::{Grant, Powers, Role};
use crate::store::Named;
use crate::token::{MAX_TOKEN_LENGTH, TokenId, encoded_length};
use crate::web::FieldError;

impl Authority {
    pub(super) fn check_shape(
        &self,
        teams: &BTreeMap<TeamName, RoleName>,
        audiences: &[Audience],
        networks: &[IpNet],
    ) -> Result<(), Error> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: String| errors.push(FieldError { field: field.into(), message });
        if teams.len() > limits::TEAMS {
            wrong("teams", format!("an account is a member of at most {} teams", limits::TEAMS));
        }
        if audiences.len() > limits::AUDIENCES {
            wrong("audiences", format!("an account has at most {} audiences", limits::AUDIENCES));
        }
        if audiences.iter().collect::<BTreeSet<_>>().len() != audiences.len() {
            wrong("audiences", "an audience is named twice".into());
        }
        if networks.len() > limits::NETWORKS {
            wrong("allowed_networks", format!("an account is restricted to at most {} networks", limits::NETWORKS));
        }
        if let Some(network) = networks.iter().find(|network| network.trunc() != **network) {
            wrong(
                "allowed_networks",
                format!("{network} has bits beyond its prefix; the network is {}", network.trunc()),
            );
        }
        if let Some(network) = networks.iter().find(|network| network.addr().to_canonical() != network.addr()) {
            wrong("allowed_networks", format!("{network} is an IPv4 network in IPv6 form; write it as IPv4"));
        }
        if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
    }

    /// Roles and teams must be there. The script looks again; here the answer can name all that is wrong.
    pub(super) async fn check_names(
        &self,
        state: &AccountState,
        roles: &BTreeMap<RoleName, Named<Role>>,
    ) -> Result<(), Error> {
        let mut errors = Vec::new();
        if !roles.contains_key(&state.role) {
            errors.push(FieldError { field: "role".into(), message: format!("there is no role {}", state.role) });
        }
        let teams = if state.teams.is_empty() { BTreeMap::new() } else { self.store.teams().await? };
        for (team, role) in &state.teams {
            let field = format!("teams.{team}");
            if !teams.contains_key(team) {
                errors.push(FieldError { field: field.clone(), message: format!("there is no team {team}") });
            }
            if !roles.contains_key(role) {
                errors.push(FieldError { field, message: format!("there is no role {role}") });
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
    }

    /// A name is free, or belonged to an account that was deleted so long ago that its activity is gone too.
    pub(super) async fn name_to_take_over(
        &self,
        name: &Username,
        now: DateTime<Utc>,
    ) -> Result<Option<AccountId>, Error> {
        let Some(holder) = self.store.id_of(name).await? else { return Ok(None) };
        let retention = i64::try_from(self.settings.name_retention.as_secs()).unwrap_or(i64::MAX);
        match self.store.record(holder).await?.map(|versioned| versioned.record) {
            Some(StateRecord::Deleted(gone)) if gone.deleted_at.saturating_add(retention) < now.timestamp() => {
                Ok(Some(holder))
            }
            _ => Err(Error::UsernameTaken),
        }
    }

    pub(super) fn check_lifetime(&self, months: u32) -> Result<(), Error> {
        let allowed = &self.settings.valid_for_months;
        if allowed.contains(&months) {
            return Ok(());
        }
        let list = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(Error::field("valid_for_months", format!("a token is valid for one of {list} months")))
    }

    /// A token too long to be read by anybody is not issued, and an account is not given what would make it so.
    pub(super) fn check_length(&self, id: AccountId, state: &AccountState) -> Result<(), Error> {
        let claims = self.claims(id, state, TokenId::of_jti(""), self.clock.now(), self.clock.now());
        if encoded_length(&claims) <= MAX_TOKEN_LENGTH {
            return Ok(());
        }
        Err(Error::field("teams", "teams and audiences together would make the token longer than 4,096 characters"))
    }
}

/// What an account may do by these definitions.
pub(super) fn powers_of(state: &AccountState, roles: &BTreeMap<RoleName, Named<Role>>) -> Powers {
    let grants = |role: &RoleName| -> BTreeSet<Grant> {
        roles.get(role).map(|role| role.definition.permissions.clone()).unwrap_or_default()
    };
    Powers {
        default: grants(&state.role),
        teams: state.teams.iter().map(|(team, role)| (team.clone(), grants(role))).collect(),
    }
}

/// Nobody can grant what he doesn't hold; what one holds only in a team can be granted only in that team.
pub(super) fn may_grant(held: &Powers, wanted: &Powers) -> Result<(), Error> {
    match held.lacking_of(wanted) {
        None => Ok(()),
        Some((grant, None)) => Err(Error::Lacking(format!("nobody can grant what they don't hold: {grant}"))),
        Some((grant, Some(team))) => {
            Err(Error::Lacking(format!("nobody can grant what they don't hold: {grant} in the team {team}")))
        }
    }
}
