//! Named demands for `/verify/~NAME`, so that a proxy needs to know a name only.
use std::collections::BTreeMap;

use super::error::Origin;
use super::reader::Reader;
use crate::account::Audience;
use crate::name::TeamName;
use crate::permission::Permission;

/// What `/verify/~NAME` demands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The permission.
    pub permission: Option<Permission>,
    /// The team in which it is asked for.
    pub team: Option<TeamName>,
    /// The audience; the default audience when there is none.
    pub audience: Option<Audience>,
}

pub(super) fn read(reader: &mut Reader) -> BTreeMap<String, Policy> {
    let mut policies = BTreeMap::new();
    for name in reader.policy_names() {
        let path = format!("policies.{name}");
        reader.take_empty_table(&path);
        let permission = reader.parsed(&format!("{path}.permission"), permission);
        let team = reader.parsed(&format!("{path}.team"), name_of::<TeamName>);
        let audience = reader.parsed(&format!("{path}.audience"), audience);
        let first = [
            permission.as_ref().map(|it| &it.origin),
            team.as_ref().map(|it| &it.origin),
            audience.as_ref().map(|it| &it.origin),
        ];
        let origin = first.into_iter().flatten().next().map_or(Origin::Default, Clone::clone);
        if let Err(problem) = name_of::<TeamName>(&name) {
            reader.problem(&path, &origin, format!("{name:?} is {problem}"));
        }
        if team.is_some() && permission.is_none() {
            let problem = "team says where a permission is needed; give the permission too";
            reader.problem(&path, &origin, problem);
        }
        let policy = Policy {
            permission: permission.map(|it| it.value),
            team: team.map(|it| it.value),
            audience: audience.map(|it| it.value),
        };
        policies.insert(name, policy);
    }
    policies
}

/// A name as usernames, teams and nodes have it.
pub(super) fn name_of<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "not a name: 1 to 64 of a-z 0-9 . _ -, a letter or digit first and last")
}

fn permission(text: &str) -> Result<Permission, &'static str> {
    text.parse().map_err(|_| "not a permission: resource:action, each of a-z 0-9 . _ - (a policy can't demand *)")
}

fn audience(text: &str) -> Result<Audience, &'static str> {
    text.parse()
        .map_err(|_| "not an audience: up to 200 ASCII characters without spaces, quotes, commas and backslashes")
}
