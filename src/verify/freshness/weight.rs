//! About how many bytes memory takes for what; rather more than less.

use std::collections::BTreeSet;

use quick_cache::Weighter;

use super::memory::{KnownAccount, KnownRole};
use crate::account::{AccountId, AccountState, Tombstone};
use crate::name::RoleName;
use crate::permission::Grant;
use crate::verify::snapshot::{RoleAt, SharedRecord};

/// Weighs what is kept.
#[derive(Clone)]
pub(super) struct Bytes;

/// Of the tables' own: a place in each, with its share of what they keep free to grow.
const EACH: usize = 112;

impl Weighter<AccountId, KnownAccount> for Bytes {
    fn weight(&self, _: &AccountId, known: &KnownAccount) -> u64 {
        let held = match &known.record {
            SharedRecord::Live(state) => {
                let teams =
                    state.teams.iter().map(|(team, role)| 96 + block(team.as_str().len()) + block(role.as_str().len()));
                let audiences = state.audiences.iter().map(|audience| 24 + block(audience.as_str().len()));
                // Roles of teams are put together in a list of the account's own.
                let roles = if state.teams.is_empty() { 0 } else { block(8 * state.teams.len() + 24) };
                block(size_of::<AccountState>() + 16)
                    + block(state.username.as_str().len())
                    + block(state.role.as_str().len())
                    + teams.sum::<usize>()
                    + audiences.sum::<usize>()
                    + state.allowed_networks.len() * size_of::<ipnet::IpNet>()
                    + state.binding.as_ref().map_or(0, |_| 64)
                    + roles
            }
            SharedRecord::Deleted(gone) => block(size_of::<Tombstone>() + 16) + block(gone.username.as_str().len()),
        };
        (EACH + held) as u64
    }
}

impl Weighter<RoleName, KnownRole> for Bytes {
    fn weight(&self, name: &RoleName, known: &KnownRole) -> u64 {
        let definition = known.definition.iter().flatten().map(|role| role.weight()).sum::<u64>();
        definition + (EACH + block(name.as_str().len())) as u64
    }
}

/// What a definition takes for as long as it is held.
pub(super) fn weight_of_role(name: &RoleName, grants: &BTreeSet<Grant>) -> u64 {
    let held: usize = grants.iter().map(|grant| size_of::<Grant>() * 3 / 2 + grant.to_string().len() + 32).sum();
    (block(size_of::<RoleAt>() + 16) + block(name.as_str().len()) + 2 * EACH + held) as u64
}

/// What malloc takes for so many bytes.
fn block(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}
