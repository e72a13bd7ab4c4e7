use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::{Jti, TokenId};
use crate::account::{AccountId, Audience};
use crate::name::{RoleName, TeamName};

/// The claims of a token (contract, section 1; RFC 9068, section 2.2).
#[derive(Debug, Clone)]
pub struct Claims {
    /// `iss`: the issuer URL.
    pub issuer: String,
    /// `sub` and `client_id`.
    pub account: AccountId,
    /// `aud`.
    pub audiences: Vec<Audience>,
    /// `iat`, Unix seconds.
    pub issued_at: i64,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// Which token it is; the `jti` itself is not kept.
    pub token_id: TokenId,
    /// `role`: the default role at issue, a hint.
    pub role: RoleName,
    /// `teams`: the team roles at issue, a hint.
    pub teams: BTreeMap<TeamName, RoleName>,
    /// `gen`.
    pub generation: u64,
    /// `cnf`.
    pub confirmation: Option<Confirmation>,
}

/// The `cnf` claim (RFC 7800, section 3.1): exactly one method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Confirmation {
    /// RFC 8705, section 3.1.
    Certificate {
        /// SHA-256 of the client certificate, base64url.
        #[serde(rename = "x5t#S256")]
        thumbprint: String,
    },
    /// RFC 9449, section 6.1.
    Key {
        /// SHA-256 thumbprint of the DPoP key, base64url.
        jkt: String,
    },
}

#[derive(Serialize)]
struct Outgoing<'a> {
    iss: &'a str,
    sub: AccountId,
    client_id: AccountId,
    aud: &'a [Audience],
    iat: i64,
    exp: i64,
    jti: &'a str,
    role: &'a RoleName,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    teams: &'a BTreeMap<TeamName, RoleName>,
    r#gen: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: &'a Option<Confirmation>,
}

/// The order of the members is free and further members may come one day; those that are here have exactly these types.
#[derive(Deserialize)]
struct Incoming {
    iss: String,
    sub: AccountId,
    client_id: AccountId,
    aud: Vec<Audience>,
    iat: i64,
    exp: i64,
    jti: String,
    role: RoleName,
    #[serde(default)]
    teams: BTreeMap<TeamName, RoleName>,
    r#gen: u64,
    #[serde(default, deserialize_with = "present")]
    cnf: Option<Confirmation>,
}

/// A `cnf` that is there but empty, or null, is not the same as none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Confirmation>, D::Error> {
    let members = serde_json::Map::deserialize(deserializer)?;
    if members.len() != 1 {
        return Err(serde::de::Error::custom("cnf has exactly one member"));
    }
    serde_json::from_value(Value::Object(members)).map(Some).map_err(serde::de::Error::custom)
}

impl Claims {
    /// The payload of a token with this `jti`.
    pub(super) fn to_json(&self, jti: &Jti) -> Vec<u8> {
        let outgoing = Outgoing {
            iss: &self.issuer,
            sub: self.account,
            client_id: self.account,
            aud: &self.audiences,
            iat: self.issued_at,
            exp: self.expires_at,
            jti: jti.expose(),
            role: &self.role,
            teams: &self.teams,
            r#gen: self.generation,
            cnf: &self.confirmation,
        };
        // Strings, integers and maps with string keys always have a JSON form.
        serde_json::to_vec(&outgoing).unwrap_or_default()
    }

    /// Reads a payload whose members are known to be unique. `None`: it is not of the shape of section 1.
    pub(super) fn from_json(payload: Value) -> Option<Self> {
        let incoming: Incoming = serde_json::from_value(payload).ok()?;
        let plausible = incoming.sub == incoming.client_id
            && !incoming.aud.is_empty()
            && incoming.r#gen >= 1
            && incoming.jti.len() == 22
            && (0..=MAX_TIME).contains(&incoming.iat)
            && (0..=MAX_TIME).contains(&incoming.exp);
        plausible.then(|| Self {
            issuer: incoming.iss,
            account: incoming.sub,
            audiences: incoming.aud,
            issued_at: incoming.iat,
            expires_at: incoming.exp,
            token_id: TokenId::of_jti(&incoming.jti),
            role: incoming.role,
            teams: incoming.teams,
            generation: incoming.r#gen,
            confirmation: incoming.cnf,
        })
    }
}

/// 9999-12-31T23:59:59Z: no later time has an RFC 3339 form.
const MAX_TIME: i64 = 253_402_300_799;
