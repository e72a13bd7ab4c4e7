use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::signed::{Common, Signed};
use super::snapshot::{self, AsOf, Roles};
use crate::account::{AccountId, AccountState, Audience};
use crate::epoch::Epoch;
use crate::name::{RoleName, TeamName, Username};
use crate::permission::{Grant, Permission, Powers};
use crate::token::TokenId;

/// Whose genuine token it is, good or dead. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The account.
    pub account: AccountId,
    /// Which token.
    pub token_id: TokenId,
    /// The token's generation.
    pub generation: u64,
    common: Arc<Common>,
    state: Option<Arc<AccountState>>,
}

impl Holder {
    pub(super) fn of(signed: &Signed, state: Option<&Arc<AccountState>>) -> Self {
        Self {
            account: signed.account,
            token_id: signed.token_id,
            generation: signed.generation,
            common: Arc::clone(&signed.common),
            state: state.cloned(),
        }
    }

    /// The account's name, where its record was found.
    pub fn username(&self) -> Option<&Username> {
        self.state.as_ref().map(|state| &state.username)
    }

    /// The key that signed the token.
    pub fn key_id(&self) -> &str {
        &self.common.key_id
    }
}

/// Proof that a token was good at the moment of asking. Only [`super::Decider::verify`] makes it. Cheap to clone: it holds
/// what memory holds, and works out only what is asked of it.
#[derive(Debug, Clone)]
pub struct Verified {
    signed: Signed,
    state: Arc<AccountState>,
    version: Epoch,
    roles: Roles,
}

impl Verified {
    pub(super) fn new(signed: Signed, state: Arc<AccountState>, version: Epoch, roles: Roles) -> Self {
        Self { signed, state, version, roles }
    }

    /// Account, name, token id, generation, key.
    pub fn holder(&self) -> Holder {
        Holder::of(&self.signed, Some(&self.state))
    }

    /// The account.
    pub fn account(&self) -> AccountId {
        self.signed.account
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

    /// Whether it may do this now; asked for a team, the team's role and the default role both count.
    pub fn allows(&self, permission: &Permission, team: Option<&TeamName>) -> bool {
        snapshot::allows(&self.state, &self.roles, permission, team)
    }

    /// What it may do now without regard to teams: what its default role grants.
    pub fn permissions(&self) -> impl Iterator<Item = &Grant> {
        snapshot::default_grants(&self.state, &self.roles)
    }

    /// All that it may do now, written down. To ask for one permission, [`allows`](Self::allows) is the shorter way.
    pub fn powers(&self) -> Powers {
        snapshot::powers(&self.state, &self.roles)
    }

    /// The moment that all this is about.
    pub fn as_of(&self) -> AsOf {
        snapshot::as_of(self.version, &self.roles)
    }

    /// Which token it is.
    pub fn token_id(&self) -> TokenId {
        self.signed.token_id
    }

    /// The token's generation.
    pub fn generation(&self) -> u64 {
        self.signed.generation
    }

    /// The key that signed it.
    pub fn key_id(&self) -> &str {
        &self.signed.common.key_id
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.signed.common.issuer
    }

    /// `aud`.
    pub fn audiences(&self) -> &[Audience] {
        &self.signed.common.audiences
    }

    /// `iat`, Unix seconds.
    pub fn issued_at(&self) -> i64 {
        self.signed.issued_at
    }

    /// `exp`, Unix seconds.
    pub fn expires_at(&self) -> i64 {
        self.signed.expires_at
    }

    /// Whether it is the account's newest token, not one in its overlap.
    pub fn is_current(&self) -> bool {
        self.state.generation == self.signed.generation && self.state.token_id == Some(self.signed.token_id)
    }

    /// `iat` as a time.
    pub fn issued_time(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.signed.issued_at, 0).unwrap_or_default()
    }

    /// `exp` as a time.
    pub fn expiry_time(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.signed.expires_at, 0).unwrap_or_default()
    }
}
