//! What a caller knows of what he made.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// An account, a role or a team, as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    Account(Account),
    Named(Named),
}

/// `None`: there is none.
pub type Account = Option<Live>;

/// A role or a team with the number that stands in it. `None`: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub what: &'static str,
    pub number: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub generation: u64,
    pub has_token: bool,
    /// Whether the token before it is still good.
    pub overlaps: bool,
    pub active: bool,
    pub role: String,
    pub teams: BTreeMap<String, String>,
    pub description: String,
}

/// A change that is asked for.
#[derive(Debug, Clone)]
pub enum Act {
    Create { role: String },
    Regenerate { overlap: bool },
    Revoke,
    Status { active: bool },
    Describe(String),
    Role(String),
    Teams(BTreeMap<String, String>),
    Delete,
    Set(u64),
    Remove,
}

impl Act {
    /// What it makes of what there is.
    pub fn upon(&self, known: &Known) -> Known {
        let mut after = known.clone();
        match (&mut after, self) {
            (Known::Account(account), Self::Create { role }) => {
                *account = Some(Live {
                    generation: 1,
                    has_token: true,
                    overlaps: false,
                    active: true,
                    role: role.clone(),
                    teams: BTreeMap::new(),
                    description: String::new(),
                });
            }
            (Known::Account(account), Self::Delete) => *account = None,
            (Known::Account(Some(live)), act) => act.change(live),
            (Known::Named(named), Self::Set(number)) => named.number = Some(*number),
            (Known::Named(named), Self::Remove) => named.number = None,
            (known, act) => panic!("{act:?} of {known:?}"),
        }
        after
    }

    fn change(&self, live: &mut Live) {
        match self {
            Self::Regenerate { overlap } => {
                live.generation += 1;
                live.overlaps = *overlap && live.has_token;
                live.has_token = true;
            }
            Self::Revoke => (live.has_token, live.overlaps) = (false, false),
            Self::Status { active } => live.active = *active,
            Self::Describe(text) => live.description.clone_from(text),
            Self::Role(role) => live.role.clone_from(role),
            Self::Teams(teams) => live.teams.clone_from(teams),
            Self::Create { .. } | Self::Delete | Self::Set(_) | Self::Remove => panic!("{self:?}"),
        }
    }

    /// Method, what follows the path of the subject, and body.
    pub fn request(&self, name: &str, known: &Known) -> (&'static str, &'static str, Option<Value>) {
        match self {
            Self::Create { role } => {
                ("CREATE", "", Some(json!({"username": name, "role": role, "valid_for_months": 6})))
            }
            Self::Regenerate { overlap } => {
                let seconds = if *overlap { 7 * 24 * 3600 } else { 0 };
                ("POST", "/token", Some(json!({"valid_for_months": 6, "overlap_seconds": seconds})))
            }
            Self::Revoke => ("DELETE", "/token", None),
            Self::Status { active } => {
                ("PATCH", "", Some(json!({"status": if *active { "active" } else { "disabled" }})))
            }
            Self::Describe(text) => ("PATCH", "", Some(json!({"description": text}))),
            Self::Role(role) => ("PATCH", "", Some(json!({"role": role}))),
            Self::Teams(teams) => ("PATCH", "", Some(json!({"teams": teams}))),
            Self::Delete | Self::Remove => ("DELETE", "", None),
            Self::Set(number) => ("PUT", "", Some(definition(known, *number))),
        }
    }
}

fn definition(known: &Known, number: u64) -> Value {
    match known {
        Known::Named(Named { what: "roles", .. }) => {
            json!({"description": number.to_string(), "permissions": [format!("number:v{number}")]})
        }
        _ => json!({"description": number.to_string()}),
    }
}

impl Known {
    /// Whether this is what the API tells; `None`: that there is none.
    pub fn is(&self, told: Option<&Value>) -> bool {
        match (self, told) {
            (Self::Account(None) | Self::Named(Named { number: None, .. }), told) => told.is_none(),
            (_, None) => false,
            (Self::Named(Named { what, number: Some(number) }), Some(told)) => {
                told["description"].as_str() == Some(number.to_string().as_str())
                    && (*what != "roles" || told["permissions"] == json!([format!("number:v{number}")]))
            }
            (Self::Account(Some(live)), Some(told)) => {
                told["generation"] == live.generation
                    && told["token"].is_object() == live.has_token
                    && told["previous_token"].is_object() == live.overlaps
                    && told["status"] == if live.active { "active" } else { "disabled" }
                    && told["role"] == live.role.as_str()
                    && told["teams"] == json!(live.teams)
                    && told["description"] == live.description.as_str()
            }
        }
    }

    /// What `/verify` must say of the account's token of this generation. `None`: it is good.
    pub fn refusal(&self, generation: u64) -> Option<&'static str> {
        let Self::Account(account) = self else { panic!("{self:?}") };
        let Some(live) = account else { return Some("unknown_account") };
        if !live.active {
            return Some("disabled");
        }
        let current = live.has_token && generation == live.generation;
        let overlapping = live.overlaps && generation + 1 == live.generation;
        match live.has_token {
            _ if current || overlapping => None,
            true => Some("superseded"),
            false => Some("revoked"),
        }
    }
}
