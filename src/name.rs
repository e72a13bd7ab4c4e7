//! Names that people give: usernames, roles, teams, nodes. One pattern for all of them (contract, section 4.2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not a valid value of a type. The text of the error says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// `^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`
pub(crate) fn follows_the_pattern(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() <= 64
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn parse(what: &str, text: &str) -> Result<String, Invalid> {
    if follows_the_pattern(text) {
        Ok(text.to_owned())
    } else {
        Err(Invalid::new(format!(
            "a {what} is 1 to 64 characters of a-z, 0-9, '.', '_' and '-', and begins and ends with a letter or a digit"
        )))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "server", schema(value_type = String, pattern = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"))]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The unique, human name of an account. Never of the form of a UUID, so that `/accounts/{id or username}` is unambiguous.
    Username, "username"
}
name! {
    /// The name of a role.
    RoleName, "role name"
}
name! {
    /// The name of a team.
    TeamName, "team name"
}
name! {
    /// The name of a node: unique among the processes of a deployment, stable over restarts.
    NodeName, "node name"
}

impl FromStr for Username {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = parse("username", text)?;
        if uuid::Uuid::try_parse(&name).is_ok() {
            return Err(Invalid::new("a username may not have the form of a UUID"));
        }
        Ok(Self(name))
    }
}

impl FromStr for RoleName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse("role name", text).map(Self)
    }
}

impl FromStr for TeamName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse("team name", text).map(Self)
    }
}

impl FromStr for NodeName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse("node name", text).map(Self)
    }
}

/// A free text of at most 500 characters without control characters (line breaks and tabs excepted).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(value_type = String, max_length = 500, pattern = r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$"))]
pub struct Description(String);

impl Description {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Description {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.chars().count() > 500 {
            return Err(Invalid::new("a description is at most 500 characters long"));
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(Invalid::new("a description may not contain control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Describes a type that is a text outside in the OpenAPI document.
#[cfg(feature = "server")]
macro_rules! text_schema {
    ($type:ident, $pattern:literal) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .build()
                    .into()
            }
        }

        impl utoipa::ToSchema for $type {}
    };
}
#[cfg(feature = "server")]
pub(crate) use text_schema;

#[cfg(feature = "redis")]
impl NodeName {
    /// What a node on this host may begin its name with: the host's name as far as it fits, at most 40 characters.
    pub(crate) fn of_the_host() -> String {
        let host: String = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .to_ascii_lowercase()
            .chars()
            .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
            .take(40)
            .collect();
        let host = host.trim_matches('-');
        if host.is_empty() { "node".to_owned() } else { host.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["a", "ci", "ci-deploy", "a.b_c-d", "0", &"a".repeat(64)] {
            assert!(good.parse::<Username>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a b", "ä", "a\n", ".", &"a".repeat(65), "a/b", "a\0"] {
            assert!(bad.parse::<Username>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_username_never_looks_like_a_uuid() {
        assert!("01890a5d-ac96-774b-bcce-b302099a8057".parse::<Username>().is_err());
        assert!("01890a5dac96774bbcceb302099a8057".parse::<Username>().is_err());
        assert!("01890a5d-ac96-774b-bcce-b302099a8057".parse::<RoleName>().is_ok());
    }

    #[test]
    fn a_description_counts_characters_not_bytes() {
        assert!("ä".repeat(500).parse::<Description>().is_ok());
        assert!("ä".repeat(501).parse::<Description>().is_err());
        assert!("bell\u{7}".parse::<Description>().is_err());
    }
}
