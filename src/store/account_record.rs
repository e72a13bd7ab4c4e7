//! An account as it lies in the store.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::account::{Account, AccountId, AccountState, DeadTokensInUse, Kind, PreviousToken, SignIn, TokenFacts};
use crate::audit::rollup::DeadTokens;
use crate::clock::rfc3339;
use crate::epoch::Epoch;
use crate::name::Description;
use crate::session::SecretId;
use crate::token::TokenId;

/// What no verification needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// A machine or a person.
    pub kind: Kind,
    /// For people.
    pub description: Description,
    /// When it was created.
    #[serde(with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[serde(with = "rfc3339")]
    pub updated_at: DateTime<Utc>,
    /// Of the current token.
    pub token: Option<IssuedToken>,
    /// Of the previous token, while it overlaps.
    pub previous: Option<IssuedToken>,
    /// Whether whoever set the allowed networks was in them.
    #[serde(default)]
    pub networks_proven: bool,
    /// The password of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<StoredPassword>,
    /// A link by which a person may set the password, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<StoredLink>,
}

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPassword {
    /// argon2id, as a PHC string.
    pub hash: String,
    /// When it was set.
    #[serde(with = "rfc3339")]
    pub set_at: DateTime<Utc>,
}

/// Never the hash: it can be guessed at.
impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredPassword(set at {}, …)", self.set_at)
    }
}

/// What is kept of a link by which a password is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLink {
    /// The name of its secret.
    pub id: SecretId,
    /// Until when it is good.
    #[serde(with = "rfc3339")]
    pub expires_at: DateTime<Utc>,
    /// A digest of what the account could do when it was made: it gives nobody more than whoever made it could give.
    pub powers: String,
}

/// What is remembered of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// The key that signed it.
    pub key_id: String,
    /// `iat`.
    #[serde(with = "rfc3339")]
    pub issued_at: DateTime<Utc>,
    /// `exp`.
    #[serde(with = "rfc3339")]
    pub expires_at: DateTime<Utc>,
    /// Whether Countermark's own API is among its audiences.
    pub for_own_api: bool,
}

impl Profile {
    /// Whether somebody within the allowed networks set them, or there are none: networks from which nobody was ever seen may
    /// shut everybody out.
    pub fn is_reachable(&self, state: &AccountState) -> bool {
        state.allowed_networks.is_empty() || self.networks_proven
    }
}

/// An account as it lies in the store.
#[derive(Debug, Clone)]
pub struct StoredAccount {
    /// Its id.
    pub id: AccountId,
    /// The epoch of its last change.
    pub version: Epoch,
    /// What verifications consult.
    pub state: AccountState,
    /// The rest.
    pub profile: Profile,
    /// When each of its tokens was last used.
    pub used: HashMap<TokenId, DateTime<Utc>>,
    /// Those that are dead, and used all the same.
    pub dead: DeadTokens,
}

impl StoredAccount {
    /// As the outside sees it.
    pub fn view(&self) -> Account {
        let (state, profile) = (&self.state, &self.profile);
        let token = state.token_id.zip(profile.token.as_ref()).map(|(id, token)| TokenFacts {
            id,
            key_id: token.key_id.clone(),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            last_used_at: self.used.get(&id).copied(),
        });
        let previous_token =
            state.previous.as_ref().zip(profile.previous.as_ref()).map(|(previous, token)| PreviousToken {
                id: previous.token_id,
                generation: previous.generation,
                key_id: token.key_id.clone(),
                expires_at: token.expires_at,
                ends_at: DateTime::from_timestamp(previous.ends_at, 0).unwrap_or_default(),
                last_used_at: self.used.get(&previous.token_id).copied(),
            });
        let dead_tokens = self.dead.iter().map(|token| token.last).max().map(|last| DeadTokensInUse {
            tokens: self.dead.iter().count() as u64,
            calls: self.dead.iter().map(|token| token.count).sum(),
            last_used_at: DateTime::from_timestamp_millis(last).unwrap_or_default(),
        });
        Account {
            id: self.id,
            kind: profile.kind,
            sign_in: (profile.kind == Kind::User).then(|| SignIn {
                password_set_at: profile.password.as_ref().map(|password| password.set_at),
                link_expires_at: profile.link.as_ref().map(|link| link.expires_at),
            }),
            username: state.username.clone(),
            description: profile.description.clone(),
            role: state.role.clone(),
            teams: state.teams.clone(),
            audiences: state.audiences.clone(),
            allowed_networks: state.allowed_networks.clone(),
            status: state.status,
            generation: state.generation,
            token,
            previous_token,
            dead_tokens,
            created_at: profile.created_at,
            updated_at: profile.updated_at,
            version: self.version,
        }
    }

    /// The tokens of it that live.
    pub fn live_tokens(&self) -> Vec<LiveToken> {
        live_tokens(self.id, &self.state, &self.profile)
    }
}

/// A living token, as counted for its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveToken {
    /// The key that signed it.
    pub key_id: String,
    /// `ACCOUNT:GENERATION`.
    pub member: String,
    /// When it ends, Unix seconds.
    pub until: i64,
}

/// The same of an account that is not stored yet.
pub(super) fn live_tokens(id: AccountId, state: &AccountState, profile: &Profile) -> Vec<LiveToken> {
    let current = state.token_id.and(profile.token.as_ref()).map(|token| (state.generation, token, i64::MAX));
    let previous = state
        .previous
        .as_ref()
        .zip(profile.previous.as_ref())
        .map(|(previous, token)| (previous.generation, token, previous.ends_at));
    current
        .into_iter()
        .chain(previous)
        .map(|(generation, token, ends_at)| LiveToken {
            key_id: token.key_id.clone(),
            member: format!("{id}:{generation}"),
            until: token.expires_at.timestamp().min(ends_at),
        })
        .collect()
}
