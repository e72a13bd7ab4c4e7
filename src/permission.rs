//! Who may do what: permissions, roles, teams, and the algebra of granting (contract, section 3).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::name::{Description, Invalid, RoleName, TeamName};

/// The most permissions that one role may name.
pub const PERMISSIONS_PER_ROLE: usize = 200;

/// One thing that somebody may be allowed to do: `resource:action`, for example `deployments:create`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Permission {
    resource: String,
    action: String,
}

/// What a role grants: a permission in which either half may be `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Grant {
    resource: String,
    action: String,
}

fn halves(text: &str, wildcard: bool) -> Result<(String, String), Invalid> {
    let valid = |half: &str| (wildcard && half == "*") || half.parse::<RoleName>().is_ok();
    match text.split_once(':') {
        Some((resource, action)) if valid(resource) && valid(action) => Ok((resource.to_owned(), action.to_owned())),
        _ => Err(Invalid::new(format!(
            "a permission is resource:action, each half 1 to 64 characters of a-z, 0-9, '.', '_', '-'{}",
            if wildcard { " or '*'" } else { "" }
        ))),
    }
}

impl Permission {
    /// `resource:action` known at compile time to be well formed; checked by a test for every use.
    #[cfg(feature = "server")]
    pub(crate) fn known(text: &'static str) -> Self {
        let (resource, action) = text.split_once(':').unwrap_or((text, ""));
        Self { resource: resource.to_owned(), action: action.to_owned() }
    }
}

impl FromStr for Permission {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (resource, action) = halves(text, false)?;
        Ok(Self { resource, action })
    }
}

impl FromStr for Grant {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (resource, action) = halves(text, true)?;
        Ok(Self { resource, action })
    }
}

macro_rules! pair_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", self.resource, self.action)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pair_text!(Permission);
pair_text!(Grant);

impl Grant {
    /// Whether this grant allows the permission.
    pub fn allows(&self, permission: &Permission) -> bool {
        matches(&self.resource, &permission.resource) && matches(&self.action, &permission.action)
    }

    /// Whether whatever the other grant allows, this one allows too.
    pub fn includes(&self, other: &Grant) -> bool {
        matches(&self.resource, &other.resource) && matches(&self.action, &other.action)
    }
}

/// What both sets grant: of a wildcard and what it includes, the latter.
#[cfg(feature = "server")]
pub fn common_grants(a: &BTreeSet<Grant>, b: &BTreeSet<Grant>) -> BTreeSet<Grant> {
    let half = |mine: &str, other: &str| match (mine, other) {
        ("*", narrow) | (narrow, "*") => Some(narrow.to_owned()),
        (one, same) => (one == same).then(|| one.to_owned()),
    };
    let both = |(a, b): (&Grant, &Grant)| {
        Some(Grant { resource: half(&a.resource, &b.resource)?, action: half(&a.action, &b.action)? })
    };
    let all: BTreeSet<Grant> = a.iter().flat_map(|one| b.iter().filter_map(move |other| both((one, other)))).collect();
    let is_in_another = |grant: &&Grant| !all.iter().any(|other| other != *grant && other.includes(grant));
    all.iter().filter(is_in_another).cloned().collect()
}

fn matches(mine: &str, other: &str) -> bool {
    mine == "*" || mine == other
}

#[cfg(feature = "server")]
crate::name::text_schema!(
    Grant,
    r"^([a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?|\*):([a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?|\*)$"
);

/// A named set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// For people.
    pub description: Description,
    /// What it grants.
    pub permissions: BTreeSet<Grant>,
}

/// A group of accounts in which an account may have a role of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Team {
    /// Its name.
    pub name: TeamName,
    /// For people.
    pub description: Description,
}

/// The name of the built-in role that grants everything.
pub const ADMIN: &str = "admin";

/// The roles that are always there and can't be changed: `admin` and `auditor`.
pub fn built_in_roles() -> Vec<Role> {
    let role = |name: &str, description: &str, permissions: &[&str]| -> Result<Role, Invalid> {
        Ok(Role {
            name: name.parse()?,
            description: description.parse()?,
            permissions: permissions.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
        })
    };
    [
        role(ADMIN, "Everything. Built in.", &["*:*"]),
        role(
            "auditor",
            "Reads accounts, roles, keys and the audit. Built in.",
            &["accounts:read", "audit:read", "keys:read", "roles:read"],
        ),
    ]
    .into_iter()
    .flatten() // the texts above are valid: see the tests
    .collect()
}

/// Whether the name is one of a built-in role.
pub fn is_built_in(name: &RoleName) -> bool {
    matches!(name.as_str(), ADMIN | "auditor")
}

/// What an account may do at this moment: its default role's grants, and for each of its teams that team's role's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Powers {
    /// Grants of the default role.
    pub default: BTreeSet<Grant>,
    /// Grants that hold inside one team.
    pub teams: BTreeMap<TeamName, BTreeSet<Grant>>,
}

impl Powers {
    /// Whether the permission is held; asked for a team, the team's role and the default role both count.
    pub fn allow(&self, permission: &Permission, team: Option<&TeamName>) -> bool {
        self.default.iter().any(|grant| grant.allows(permission))
            || team
                .and_then(|team| self.teams.get(team))
                .is_some_and(|grants| grants.iter().any(|grant| grant.allows(permission)))
    }

    /// The first of the grants that isn't held, asked for a team or for everywhere. `None`: all may be granted.
    pub fn lacking<'a>(&self, grants: &'a BTreeSet<Grant>, team: Option<&TeamName>) -> Option<&'a Grant> {
        let in_team = team.and_then(|team| self.teams.get(team));
        grants
            .iter()
            .find(|wanted| !self.default.iter().chain(in_team.into_iter().flatten()).any(|held| held.includes(wanted)))
    }

    /// The first grant of the other powers that isn't held here, with the team in which it is missing.
    pub fn lacking_of<'a>(&self, other: &'a Powers) -> Option<(&'a Grant, Option<&'a TeamName>)> {
        self.lacking(&other.default, None).map(|grant| (grant, None)).or_else(|| {
            other
                .teams
                .iter()
                .find_map(|(team, grants)| self.lacking(grants, Some(team)).map(|grant| (grant, Some(team))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grants(texts: &[&str]) -> BTreeSet<Grant> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[cfg(feature = "server")]
    #[test]
    fn what_two_sets_have_in_common_is_what_both_allow() {
        let set = |text: &str| text.split_whitespace().map(|grant| grant.parse().unwrap()).collect::<BTreeSet<Grant>>();
        for (a, b, both) in [
            ("a:b c:d", "c:d e:f", "c:d"),
            ("*:*", "a:b c:*", "a:b c:*"),
            ("a:*", "*:b", "a:b"),
            ("a:* c:d", "a:b *:d", "a:b a:d c:d"),
            ("*:b a:*", "*:b a:*", "*:b a:*"),
            ("a:b", "a:c", ""),
            ("", "*:*", ""),
        ] {
            assert_eq!(common_grants(&set(a), &set(b)), set(both), "{a} and {b}");
            assert_eq!(common_grants(&set(b), &set(a)), set(both), "{b} and {a}");
        }
    }

    #[test]
    fn the_built_in_roles_are_whole() {
        let roles = built_in_roles();
        assert_eq!(roles.len(), 2);
        assert!(roles.iter().all(|role| is_built_in(&role.name)));
        assert_eq!(roles[1].permissions.len(), 4);
    }

    #[test]
    fn a_wildcard_is_granted_but_never_demanded() {
        assert!("*:*".parse::<Grant>().is_ok());
        assert!("deployments:*".parse::<Grant>().is_ok());
        for bad in ["*:*", "a", "a:", ":a", "a:b:c", "A:b", "a b:c", "", "a:*"] {
            assert!(bad.parse::<Permission>().is_err(), "{bad}");
        }
        assert!("a*:b".parse::<Grant>().is_err());
    }

    #[test]
    fn a_team_role_counts_only_in_its_team() {
        let team: TeamName = "payments".parse().unwrap();
        let other: TeamName = "search".parse().unwrap();
        let powers = Powers {
            default: grants(&["deployments:read"]),
            teams: BTreeMap::from([(team.clone(), grants(&["deployments:create"]))]),
        };
        let create: Permission = "deployments:create".parse().unwrap();
        let read: Permission = "deployments:read".parse().unwrap();
        assert!(powers.allow(&create, Some(&team)));
        assert!(!powers.allow(&create, Some(&other)));
        assert!(!powers.allow(&create, None));
        assert!(powers.allow(&read, Some(&other)));
        assert!(powers.lacking(&grants(&["deployments:create"]), Some(&team)).is_none());
        assert!(powers.lacking(&grants(&["deployments:create"]), None).is_some());
    }

    fn half() -> impl Strategy<Value = String> {
        prop_oneof![Just("*".to_owned()), Just("a".to_owned()), Just("b".to_owned()), Just("c".to_owned())]
    }

    fn grant() -> impl Strategy<Value = Grant> {
        (half(), half()).prop_map(|(resource, action)| Grant { resource, action })
    }

    fn grant_set() -> impl Strategy<Value = BTreeSet<Grant>> {
        prop::collection::btree_set(grant(), 0..5)
    }

    proptest! {
        /// Nobody can grant what they don't hold: if nothing is lacking, every single permission granted is held.
        #[test]
        fn what_may_be_granted_is_held(held in grant_set(), wanted in grant_set()) {
            let powers = Powers { default: held, teams: BTreeMap::new() };
            if powers.lacking(&wanted, None).is_none() {
                for resource in ["a", "b", "c", "zzz"] {
                    for action in ["a", "b", "c", "zzz"] {
                        let permission = Permission { resource: resource.into(), action: action.into() };
                        let granted = wanted.iter().any(|grant| grant.allows(&permission));
                        prop_assert!(!granted || powers.allow(&permission, None));
                    }
                }
            }
        }

        #[test]
        fn more_grants_never_allow_less(held in grant_set(), more in grant_set(), resource in "[abc]", action in "[abc]") {
            let permission = Permission { resource, action };
            let before = Powers { default: held.clone(), teams: BTreeMap::new() };
            let after = Powers { default: held.union(&more).cloned().collect(), teams: BTreeMap::new() };
            prop_assert!(!before.allow(&permission, None) || after.allow(&permission, None));
        }

        #[test]
        fn including_is_reflexive_and_transitive(a in grant(), b in grant(), c in grant()) {
            prop_assert!(a.includes(&a));
            prop_assert!(!(a.includes(&b) && b.includes(&c)) || a.includes(&c));
        }
    }
}
