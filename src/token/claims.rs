use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::id::TokenId;
use crate::account::{AccountId, Audience, Binding};
use crate::name::{RoleName, TeamName};

/// The claims of a token that is to be made (contract, section 1; RFC 9068, section 2.2).
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

/// What a token claims, as far as anybody consults it: the roles in it are hints. Borrowed from its payload.
pub struct Claimed<'a> {
    /// `iss`.
    pub issuer: Cow<'a, str>,
    /// `sub` and `client_id`.
    pub account: AccountId,
    /// `aud`.
    pub audiences: Vec<Audience>,
    /// `iat`, Unix seconds.
    pub issued_at: i64,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// `jti`, a secret.
    pub(super) jti: Cow<'a, str>,
    /// `gen`.
    pub generation: u64,
    /// `cnf`.
    pub confirmation: Option<Confirmation>,
}

impl Claimed<'_> {
    /// Which token it is.
    pub fn token_id(&self) -> TokenId {
        TokenId::of_jti(&self.jti)
    }
}

/// The `jti` is a secret.
impl fmt::Debug for Claimed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claimed({} {})", self.account, self.token_id())
    }
}

/// The `cnf` claim (RFC 7800, section 3.1): exactly one method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

impl Confirmation {
    /// What the token is bound to.
    pub fn to_binding(&self) -> Binding {
        match self {
            Self::Certificate { thumbprint } => Binding::Certificate(thumbprint.clone()),
            Self::Key { jkt } => Binding::Key(jkt.clone()),
        }
    }
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

impl Claims {
    /// The payload of a token with this `jti`.
    pub(super) fn to_json(&self, jti: &str) -> Vec<u8> {
        let outgoing = Outgoing {
            iss: &self.issuer,
            sub: self.account,
            client_id: self.account,
            aud: &self.audiences,
            iat: self.issued_at,
            exp: self.expires_at,
            jti,
            role: &self.role,
            teams: &self.teams,
            r#gen: self.generation,
            cnf: &self.confirmation,
        };
        // Strings, integers and maps with string keys always have a JSON form.
        serde_json::to_vec(&outgoing).unwrap_or_default()
    }
}

/// 9999-12-31T23:59:59Z: no later time has an RFC 3339 form.
pub(super) const MAX_TIME: i64 = 253_402_300_799;
