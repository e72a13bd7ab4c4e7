use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::AsOf;
use crate::account::{AccountId, AccountState, Audience};
use crate::name::{RoleName, TeamName, Username};
use crate::permission::Powers;
use crate::token::{Claims, TokenId};

/// Whose genuine token it is, good or dead.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The account.
    pub account: AccountId,
    /// Its name, where its record was found.
    pub username: Option<Username>,
    /// Which token.
    pub token_id: TokenId,
    /// The token's generation.
    pub generation: u64,
    /// The key that signed it.
    pub key_id: String,
    pub(super) key_is_retired: bool,
}

impl Holder {
    pub(super) fn of(claims: &Claims, key_id: &str) -> Self {
        Self {
            account: claims.account,
            username: None,
            token_id: claims.token_id,
            generation: claims.generation,
            key_id: key_id.to_owned(),
            key_is_retired: false,
        }
    }
}

/// Proof that a token was good at the moment of asking. Only [`super::Decider::verify`] makes it.
#[derive(Debug, Clone)]
pub struct Verified {
    holder: Holder,
    state: AccountState,
    powers: Powers,
    as_of: AsOf,
    issuer: String,
    audiences: Vec<Audience>,
    issued_at: i64,
    expires_at: i64,
}

impl Verified {
    pub(super) fn new(holder: Holder, claims: &Claims, state: AccountState, powers: Powers, as_of: AsOf) -> Self {
        Self {
            holder,
            state,
            powers,
            as_of,
            issuer: claims.issuer.clone(),
            audiences: claims.audiences.clone(),
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
        }
    }

    /// Account, name, token id, generation, key.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The account.
    pub fn account(&self) -> AccountId {
        self.holder.account
    }

    /// Its name.
    pub fn username(&self) -> &Username {
        &self.state.username
    }

    /// Its default role now, whatever the token says.
    pub fn role(&self) -> &RoleName {
        &self.state.role
    }

    /// Its team roles now.
    pub fn teams(&self) -> &BTreeMap<TeamName, RoleName> {
        &self.state.teams
    }

    /// What it may do now.
    pub fn powers(&self) -> &Powers {
        &self.powers
    }

    /// The moment that all this is about.
    pub fn as_of(&self) -> &AsOf {
        &self.as_of
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `aud`.
    pub fn audiences(&self) -> &[Audience] {
        &self.audiences
    }

    /// `iat`, Unix seconds.
    pub fn issued_at(&self) -> i64 {
        self.issued_at
    }

    /// `exp`, Unix seconds.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// Whether it is the account's newest token, not one in its overlap.
    pub fn is_current(&self) -> bool {
        self.state.generation == self.holder.generation && self.state.token_id == Some(self.holder.token_id)
    }

    /// `iat` as a time.
    pub fn issued_time(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.issued_at, 0).unwrap_or_default()
    }

    /// `exp` as a time.
    pub fn expiry_time(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.expires_at, 0).unwrap_or_default()
    }
}
