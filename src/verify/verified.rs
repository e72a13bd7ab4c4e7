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

/// Whose genuine token it is, good or dead, or who is signed in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The account.
    pub account: AccountId,
    /// Which token. `None`: he has signed in with a password.
    pub token: Option<HeldToken>,
    /// The session, where he has signed in.
    #[cfg(feature = "server")]
    pub session: Option<crate::session::SessionId>,
    pub(super) state: Option<Arc<AccountState>>,
}

/// A genuine token, good or dead.
#[derive(Debug, Clone)]
pub struct HeldToken {
    /// Its name.
    pub id: TokenId,
    /// Its generation.
    pub generation: u64,
    common: Arc<Common>,
}

impl HeldToken {
    pub(super) fn of(signed: &Signed) -> Self {
        Self { id: signed.token_id, generation: signed.generation, common: Arc::clone(&signed.common) }
    }

    /// The key that signed it.
    pub fn key_id(&self) -> &str {
        &self.common.key_id
    }
}

impl Holder {
    pub(super) fn of(signed: &Signed, state: Option<&Arc<AccountState>>) -> Self {
        Self {
            account: signed.account,
            token: Some(HeldToken::of(signed)),
            #[cfg(feature = "server")]
            session: None,
            state: state.cloned(),
        }
    }

    /// The account's name, where its record was found.
    pub fn username(&self) -> Option<&Username> {
        self.state.as_ref().map(|state| &state.username)
    }
}

/// An account as it stood at the moment of a decision.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) state: Arc<AccountState>,
    version: Epoch,
    roles: Roles,
}

impl Standing {
    pub(super) fn new(state: Arc<AccountState>, version: Epoch, roles: Roles) -> Self {
        Self { state, version, roles }
    }

    pub(super) fn allows(&self, permission: &Permission, team: Option<&TeamName>) -> bool {
        snapshot::allows(&self.state, &self.roles, permission, team)
    }

    pub(super) fn permissions(&self) -> impl Iterator<Item = &Grant> {
        snapshot::default_grants(&self.state, &self.roles)
    }

    pub(super) fn powers(&self) -> Powers {
        snapshot::powers(&self.state, &self.roles)
    }

    pub(super) fn as_of(&self) -> AsOf {
        snapshot::as_of(self.version, &self.roles)
    }
}

/// Proof that a token was good at the moment of asking. Only [`super::Decider::verify`] makes it. Cheap to clone: it holds
/// what memory holds, and works out only what is asked of it.
#[derive(Debug, Clone)]
pub struct Verified {
    pub(super) signed: Signed,
    pub(super) standing: Standing,
}

impl Verified {
    pub(super) fn new(signed: Signed, standing: Standing) -> Self {
        Self { signed, standing }
    }

    /// Account, name, token.
    pub fn holder(&self) -> Holder {
        Holder::of(&self.signed, Some(&self.standing.state))
    }

    /// The account.
    pub fn account(&self) -> AccountId {
        self.signed.account
    }

    /// Its name.
    pub fn username(&self) -> &Username {
        &self.standing.state.username
    }

    /// Its default role now, whatever the token says.
    pub fn role(&self) -> &RoleName {
        &self.standing.state.role
    }

    /// Its team roles now.
    pub fn teams(&self) -> &BTreeMap<TeamName, RoleName> {
        &self.standing.state.teams
    }

    /// Whether it may do this now; asked for a team, the team's role and the default role both count.
    pub fn allows(&self, permission: &Permission, team: Option<&TeamName>) -> bool {
        self.standing.allows(permission, team)
    }

    /// What it may do now without regard to teams: what its default role grants.
    pub fn permissions(&self) -> impl Iterator<Item = &Grant> {
        self.standing.permissions()
    }

    /// All that it may do now, written down. To ask for one permission, [`allows`](Self::allows) is the shorter way.
    pub fn powers(&self) -> Powers {
        self.standing.powers()
    }

    /// The moment that all this is about.
    pub fn as_of(&self) -> AsOf {
        self.standing.as_of()
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
        self.standing.state.generation == self.signed.generation
            && self.standing.state.token_id == Some(self.signed.token_id)
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
