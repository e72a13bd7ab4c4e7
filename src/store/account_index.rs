//! What an account is found and counted by: the part of a change that index.lua carries out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Store;
use super::account_record::{LiveToken, Profile, StoredAccount, live_tokens};
use super::accounts::Admin;
use super::catalogue::Entry;
use crate::account::{AccountId, AccountState, Kind};
use crate::name::Username;

/// What becomes of the indexes of an account.
pub(super) struct Indexed<'a> {
    /// By how much each role is named more, or less.
    pub(super) roles: BTreeMap<&'a str, i64>,
    /// The same of teams.
    pub(super) teams: BTreeMap<&'a str, i64>,
    /// The keys of living tokens of signing keys, and of those who have a role or are in a team. Others name them by their place.
    pub(super) keys: Vec<String>,
    add: Vec<Value>,
    remove: Vec<Value>,
    enters: Vec<usize>,
    leaves: Vec<usize>,
    line: String,
    is_user: bool,
    is_deleted: bool,
    admin: Admin,
    overlap: i64,
}

impl Indexed<'_> {
    /// Adds to a plan what index.lua reads of it.
    pub(super) fn tell(&self, plan: &mut Value, id: AccountId, username: &Username) {
        let told = json!({
            "id": id,
            "username": username,
            "line": self.line,
            "user": self.is_user,
            "able": self.admin != Admin::No,
            "admin": match self.admin {
                Admin::Able(Some(until)) => until.timestamp(),
                Admin::Able(None) | Admin::No => 0,
            },
            "overlap": self.overlap,
            "roles": self.roles,
            "teams": self.teams,
            "add": self.add,
            "remove": self.remove,
            "enters": self.enters,
            "leaves": self.leaves,
            "deleted": self.is_deleted,
        });
        if let (Value::Object(plan), Value::Object(told)) = (plan, told) {
            plan.extend(told);
        }
    }
}

impl Store {
    /// What becomes of the indexes when an account that was so before is so afterwards. `None` before: it is new; afterwards: it is
    /// deleted.
    pub(super) fn indexed<'a>(
        &self,
        id: AccountId,
        before: Option<&'a StoredAccount>,
        after: Option<(&'a AccountState, &'a Profile)>,
        admin: Admin,
    ) -> Indexed<'a> {
        let no_longer = before.map(|before| &before.state);
        let mut roles = BTreeMap::<&str, i64>::new();
        let mut teams = BTreeMap::<&str, i64>::new();
        for (state, by) in [(no_longer, -1), (after.map(|(state, _)| state), 1)] {
            let Some(state) = state else { continue };
            *roles.entry(state.role.as_str()).or_default() += by;
            for (team, role) in &state.teams {
                *roles.entry(role.as_str()).or_default() += by;
                *teams.entry(team.as_str()).or_default() += by;
            }
        }
        roles.retain(|_, by| *by != 0);
        teams.retain(|_, by| *by != 0);

        let had = before.map(StoredAccount::live_tokens).unwrap_or_default();
        let has = after.map(|(state, profile)| live_tokens(id, state, profile)).unwrap_or_default();
        let mut key_ids: Vec<&str> = had.iter().chain(&has).map(|token| token.key_id.as_str()).collect();
        key_ids.sort_unstable();
        key_ids.dedup();
        let place = |token: &LiveToken| key_ids.iter().position(|id| *id == token.key_id).map_or(0, |place| place + 1);
        let add: Vec<_> = has.iter().map(|token| json!([place(token), token.member, token.until])).collect();
        let remove: Vec<_> = had
            .iter()
            .filter(|token| !has.iter().any(|other| other.member == token.member))
            .map(|token| json!([place(token), token.member]))
            .collect();

        let was_in = self.lists_of(no_longer);
        let is_in = self.lists_of(after.map(|(state, _)| state));
        let lists: Vec<&String> = was_in.symmetric_difference(&is_in).collect();
        let places = |of: &BTreeSet<String>| -> Vec<usize> {
            let numbered = lists.iter().enumerate().filter(|(_, list)| of.contains(**list));
            numbered.map(|(number, _)| key_ids.len() + number + 1).collect()
        };
        let (enters, leaves) = (places(&is_in), places(&was_in));
        let keys = key_ids.iter().map(|key_id| self.schema.live(key_id)).chain(lists.into_iter().cloned()).collect();
        Indexed {
            roles,
            teams,
            keys,
            add,
            remove,
            enters,
            leaves,
            line: after.map(|(state, profile)| Entry::of(state, profile).line()).unwrap_or_default(),
            is_user: after
                .map(|(_, profile)| profile)
                .or(before.map(|before| &before.profile))
                .is_some_and(|profile| profile.kind == Kind::User),
            is_deleted: after.is_none(),
            admin,
            overlap: after.and_then(|(state, _)| state.previous.as_ref()).map_or(0, |previous| previous.ends_at),
        }
    }

    /// The lists that an account of this state is in.
    fn lists_of(&self, state: Option<&AccountState>) -> BTreeSet<String> {
        let Some(state) = state else { return BTreeSet::new() };
        let of_teams = state
            .teams
            .iter()
            .flat_map(|(team, role)| [self.schema.of_team(team.as_str()), self.schema.of_role(role.as_str())]);
        of_teams.chain([self.schema.of_role(state.role.as_str())]).collect()
    }
}
