//! Accounts: what they are, what the outside sees of them, and the small state record that every verification consults
//! (protocols, section 1).

mod record;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::clock::rfc3339;
use crate::epoch::Epoch;
use crate::name::{Description, Invalid, RoleName, TeamName, Username};
use crate::token::TokenId;

/// Limits of one account; they keep its token below 4,096 characters and its state record small.
pub mod limits {
    /// Teams that one account may be a member of.
    pub const TEAMS: usize = 32;
    /// Audiences that one account may name.
    pub const AUDIENCES: usize = 16;
    /// Networks that one account may be restricted to.
    pub const NETWORKS: usize = 32;
}

/// The id of an account: a UUIDv7, so that ids sort by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(value_type = String, format = Uuid))]
pub struct AccountId(Uuid);

impl AccountId {
    /// The id that no account has.
    #[cfg(feature = "redis")]
    pub(crate) fn nobody() -> Self {
        Self(Uuid::nil())
    }

    /// A new id made at this time.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self(crate::clock::uuid_v7(now))
    }

    /// As it is shown, without a formatter: it stands in every event and every answer to a gateway.
    #[cfg(feature = "redis")]
    pub(crate) fn encode<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// The id in 22 characters of base64url, as it is spelt in the key of the account's state record.
    pub fn packed(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.as_bytes())
    }

    /// Reads what [`packed`](Self::packed) writes.
    pub fn unpacked(text: &str) -> Result<Self, Invalid> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| Invalid::new("a packed account id is 22 characters of base64url"))?;
        Ok(Self(Uuid::from_bytes(bytes)))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for AccountId {
    type Err = Invalid;

    /// Takes the hyphenated lower-case form only, so that an id has one spelling.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let id = Uuid::try_parse(text).map_err(|_| Invalid::new("an account id is a UUID"))?;
        if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text {
            Ok(Self(id))
        } else {
            Err(Invalid::new("an account id is a UUID in lower case with hyphens"))
        }
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The name of an API that a token is good for: 1 to 200 printable ASCII characters without spaces, quotes, commas and backslashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(value_type = String, min_length = 1, max_length = 200, pattern = r#"^[!#-+\--\[\]-~]+$"#))]
pub struct Audience(String);

impl Audience {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Audience {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b',');
        if (1..=200).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(
                "an audience is 1 to 200 printable ASCII characters without spaces, quotes, commas and backslashes",
            ))
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A machine or a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Kind {
    /// A service account.
    Service,
    /// A person.
    User,
}

/// Whether an account may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Status {
    /// Its current token is good.
    Active,
    /// None of its tokens is good until it is enabled again.
    Disabled,
}

/// What a token is bound to, so that a thief of the token alone can't use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Binding {
    /// SHA-256 of the client certificate (RFC 8705, section 3.1).
    #[serde(rename = "x5t#S256")]
    Certificate(String),
    /// SHA-256 thumbprint of the DPoP key (RFC 9449, section 6.1).
    #[serde(rename = "jkt")]
    Key(String),
}

/// The generation before the current one, for as long as it overlaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// Its generation.
    #[serde(rename = "g")]
    pub generation: u64,
    /// Its token.
    #[serde(rename = "t", with = "record::packed")]
    pub token_id: TokenId,
    /// When it ends, in Unix seconds. There is no leeway here.
    #[serde(rename = "e")]
    pub ends_at: i64,
}

/// What a verification consults, as it lies in the store: one packed string, `term-counter {…}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountState {
    /// The default role.
    #[serde(rename = "r")]
    pub role: RoleName,
    /// Team to role in that team.
    #[serde(rename = "m", skip_serializing_if = "BTreeMap::is_empty")]
    pub teams: BTreeMap<TeamName, RoleName>,
    /// The account's name, which verifiers pass on.
    #[serde(rename = "u")]
    pub username: Username,
    /// The generation of the newest token that was ever issued; 0 when none was.
    #[serde(rename = "g")]
    pub generation: u64,
    /// The newest token; `None` when it was revoked.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none", serialize_with = "record::packed::serialize_some")]
    pub token_id: Option<TokenId>,
    /// Whether the account may act.
    #[serde(rename = "s", skip_serializing_if = "record::is_active")]
    pub status: Status,
    /// Audiences that its tokens are issued for; none: the default audience.
    #[serde(rename = "a", skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<Audience>,
    /// Networks that its tokens may be used from; none: everywhere.
    #[serde(rename = "n", skip_serializing_if = "Vec::is_empty")]
    pub allowed_networks: Vec<IpNet>,
    /// What its tokens are bound to.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// The generation before, while it overlaps.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// How often everybody who had signed in with the password had to do it anew. A session of another count has ended.
    #[serde(rename = "w", skip_serializing_if = "record::is_zero")]
    pub sign_ins: u64,
}

/// What remains of a deleted account: nobody may take its generations or its name over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tombstone {
    /// The name that it had.
    #[serde(rename = "u")]
    pub username: Username,
    /// Its last generation.
    #[serde(rename = "g")]
    pub generation: u64,
    /// When it was deleted, in Unix seconds.
    #[serde(rename = "d")]
    pub deleted_at: i64,
}

/// The state record: of an account, or of one that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum StateRecord {
    /// It is gone.
    Deleted(Tombstone),
    /// It is there.
    Live(AccountState),
}

/// A state record with the epoch of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The epoch of its last change.
    pub version: Epoch,
    /// The record.
    pub record: StateRecord,
}

impl AccountState {
    /// Whether this is the state before with nothing but something taken away: a token, or the right to act. Where nothing is
    /// left to act with, it may have been taken away already.
    pub fn only_takes_away_from(&self, before: &Self) -> bool {
        let mut less = before.clone();
        less.token_id = less.token_id.filter(|_| self.token_id.is_some());
        less.previous = less.previous.filter(|_| self.previous.is_some());
        if self.status == Status::Disabled {
            less.status = Status::Disabled;
        }
        // Sessions end when it rises.
        less.sign_ins = less.sign_ins.max(self.sign_ins);
        less == *self && (less != *before || self.token_id.is_none() || self.status == Status::Disabled)
    }

    /// The roles that it names, with repetitions.
    pub fn roles(&self) -> impl Iterator<Item = &RoleName> {
        std::iter::once(&self.role).chain(self.teams.values())
    }

    /// Whether the account may act by this address. No networks: every address may.
    pub fn admits(&self, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed_networks.is_empty() || self.allowed_networks.iter().any(|network| network.contains(&address))
    }
}

/// What is known about a token that was issued, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct TokenFacts {
    /// The token's name: the first 16 bytes of SHA-256 over its `jti`, in hex.
    pub id: TokenId,
    /// The signing key.
    pub key_id: String,
    /// When it was issued.
    #[serde(with = "rfc3339")]
    pub issued_at: DateTime<Utc>,
    /// When it expires.
    #[serde(with = "rfc3339")]
    pub expires_at: DateTime<Utc>,
    /// When a node last accepted it.
    #[serde(with = "rfc3339::option")]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub last_used_at: Option<DateTime<Utc>>,
}

/// The previous token during an overlap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PreviousToken {
    /// The token's name.
    pub id: TokenId,
    /// Its generation.
    pub generation: u64,
    /// The signing key.
    pub key_id: String,
    /// When it expires, should that be before its end.
    #[serde(with = "rfc3339")]
    pub expires_at: DateTime<Utc>,
    /// When it ends.
    #[serde(with = "rfc3339")]
    pub ends_at: DateTime<Utc>,
    /// When a node last accepted it.
    #[serde(with = "rfc3339::option")]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub last_used_at: Option<DateTime<Utc>>,
}

/// How a person signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct SignIn {
    /// When the password was set; null: there is none yet.
    #[serde(with = "rfc3339::option")]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub password_set_at: Option<DateTime<Utc>>,
    /// Until when the link is good by which a password can be set; null: there is none.
    #[serde(with = "rfc3339::option")]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub link_expires_at: Option<DateTime<Utc>>,
}

/// Dead tokens of an account that are used all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct DeadTokensInUse {
    /// How many tokens.
    pub tokens: u64,
    /// How many calls were refused for it.
    pub calls: u64,
    /// When the last of them was.
    #[serde(with = "rfc3339")]
    pub last_used_at: DateTime<Utc>,
}

/// An account as the outside sees it (contract, section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// A machine or a person.
    pub kind: Kind,
    /// Its unique name.
    pub username: Username,
    /// For people.
    pub description: Description,
    /// The default role.
    pub role: RoleName,
    /// Team to role in that team.
    #[cfg_attr(feature = "server", schema(value_type = BTreeMap<String, RoleName>))]
    pub teams: BTreeMap<TeamName, RoleName>,
    /// Audiences of its tokens; empty: the default audience.
    pub audiences: Vec<Audience>,
    /// Networks that its tokens may be used from; empty: everywhere.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub allowed_networks: Vec<IpNet>,
    /// Whether it may act.
    pub status: Status,
    /// The generation of its newest token; 0 when none was issued.
    pub generation: u64,
    /// Its current token; null when it was revoked.
    #[cfg_attr(feature = "server", schema(required = true))]
    pub token: Option<TokenFacts>,
    /// The token before, while it overlaps.
    #[cfg_attr(feature = "server", schema(required = true))]
    pub previous_token: Option<PreviousToken>,
    /// Tokens of it that are dead, and that somebody uses; null when nobody does.
    #[cfg_attr(feature = "server", schema(required = true))]
    pub dead_tokens: Option<DeadTokensInUse>,
    /// How a person signs in; null for a machine.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub sign_in: Option<SignIn>,
    /// When it was created.
    #[serde(with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[serde(with = "rfc3339")]
    pub updated_at: DateTime<Utc>,
    /// The epoch of its last change; also its `ETag`.
    pub version: Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_id_reads_back_and_has_one_spelling() {
        let id = AccountId::new(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
        let packed = id.packed();
        assert_eq!((packed.len(), AccountId::unpacked(&packed)), (22, Ok(id)));
        // The last character carries four bits that must be zero.
        for bad in ["", &id.to_string(), &packed[1..], &format!("{}B", &packed[..21]), &format!("{packed}==")] {
            assert!(AccountId::unpacked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_address_it_maps() {
        let mut state = AccountState {
            username: "a".parse().unwrap(),
            generation: 1,
            token_id: None,
            status: Status::Active,
            role: "r".parse().unwrap(),
            teams: BTreeMap::new(),
            audiences: vec![],
            allowed_networks: vec!["10.0.0.0/8".parse().unwrap()],
            binding: None,
            previous: None,
            sign_ins: 0,
        };
        assert!(state.admits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!state.admits("11.1.2.3".parse().unwrap()));
        state.allowed_networks.clear();
        assert!(state.admits("11.1.2.3".parse().unwrap()));
    }

    #[test]
    fn taking_away_is_told_from_giving() {
        let token = |name: &str| Some(TokenId::of_jti(name));
        let before = AccountState {
            username: "ci-deploy".parse().unwrap(),
            generation: 3,
            token_id: token("abc"),
            status: Status::Active,
            role: "deployer".parse().unwrap(),
            teams: BTreeMap::new(),
            audiences: vec![],
            allowed_networks: vec![],
            binding: None,
            previous: Some(Previous { generation: 2, token_id: TokenId::of_jti("old"), ends_at: 1 }),
            sign_ins: 0,
        };
        let with = |change: fn(&mut AccountState)| {
            let mut after = before.clone();
            change(&mut after);
            after.only_takes_away_from(&before)
        };
        assert!(with(|after| after.token_id = None));
        assert!(with(|after| after.previous = None));
        assert!(with(|after| after.status = Status::Disabled));
        assert!(with(|after| (after.token_id, after.previous, after.status) = (None, None, Status::Disabled)));
        assert!(with(|after| (after.status, after.sign_ins) = (Status::Disabled, after.sign_ins + 1)));
        // Nothing, while it could still act; something else beside it; another token.
        assert!(!with(|_| {}));
        assert!(!with(|after| (after.token_id, after.role) = (None, "admin".parse().unwrap())));
        assert!(!with(|after| (after.status, after.generation) = (Status::Disabled, 4)));
        assert!(!with(|after| after.token_id = Some(TokenId::of_jti("new"))));
        let dead = AccountState { status: Status::Disabled, ..before.clone() };
        assert!(dead.only_takes_away_from(&dead) && !before.only_takes_away_from(&dead));
    }
}
