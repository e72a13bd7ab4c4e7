//! Whoever is signed in, and whoever acts: by a token or by a session. What is decided about is decided by the one function.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::signed::{Common, Signed};
use super::snapshot::AsOf;
use super::verified::{HeldToken, Standing};
use super::{Decider, Demand, Held, Holder, Reason, Refusal, Source, Verified};
use crate::account::{AccountId, AccountState, Audience};
use crate::clock::Clock;
use crate::name::{RoleName, TeamName, Username};
use crate::permission::{Grant, Permission, Powers};
use crate::session::SessionId;
use crate::token::{Algorithm, TokenId};

/// A session that was begun, as the store has it.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Whose.
    pub account: AccountId,
    /// What he signed in with.
    pub by: SignedInBy,
    /// When it ends by itself: after so long without a call, or whatever he does.
    pub ends_at: DateTime<Utc>,
}

/// What somebody signed in with. The session is good for as long as that would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedInBy {
    /// A password, when the account's count of sign-ins stood so: another password, or whoever ends all sessions, raises it.
    Password(u64),
    /// A token.
    Token(ShownToken),
}

/// What a token said that somebody signed in with, its signature having been genuine. Neither its text nor its `jti`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownToken {
    token_id: TokenId,
    generation: u64,
    issued_at: i64,
    expires_at: i64,
    key_id: String,
    algorithm: Algorithm,
    issuer: String,
    audiences: Vec<Audience>,
}

impl ShownToken {
    /// Of a token that was let in. `None`: it is bound, and a session can't prove what it is bound to.
    pub fn of(verified: &Verified) -> Option<Self> {
        let Signed { token_id, generation, issued_at, expires_at, ref common, .. } = verified.signed;
        if common.binding.is_some() {
            return None;
        }
        Some(Self {
            token_id,
            generation,
            issued_at,
            expires_at,
            key_id: common.key_id.to_string(),
            algorithm: common.algorithm,
            issuer: common.issuer.clone(),
            audiences: common.audiences.to_vec(),
        })
    }

    fn signed(&self, account: AccountId) -> Signed {
        Signed {
            account,
            token_id: self.token_id,
            generation: self.generation,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            common: Arc::new(Common {
                key_id: self.key_id.as_str().into(),
                algorithm: self.algorithm,
                issuer: self.issuer.clone(),
                audiences: self.audiences.clone().into(),
                binding: None,
                is_shared: false,
            }),
        }
    }
}

/// Proof that somebody was signed in at the moment of asking. Only [`Decider::verify_session`] makes it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignedIn {
    session: Arc<Session>,
    token: Option<Signed>,
    standing: Standing,
}

impl SignedIn {
    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Account, name, session, and the token that it was begun with.
    pub fn holder(&self) -> Holder {
        self.session.holder(self.token.as_ref().map(HeldToken::of), Some(&self.standing.state))
    }
}

impl Session {
    pub(super) fn holder(&self, token: Option<HeldToken>, state: Option<&Arc<AccountState>>) -> Holder {
        Holder { account: self.account, token, session: Some(self.id), state: state.cloned() }
    }
}

impl<C: Clock + ?Sized> Decider<C> {
    /// Decides whether whoever is signed in may do what is demanded: as [`Decider::verify`] decides about the token that he signed
    /// in with, or, where that was a password, about the account alone.
    pub async fn verify_session<S: Source>(
        &self,
        source: &S,
        session: &Arc<Session>,
        demand: &Demand,
    ) -> Result<SignedIn, Refusal> {
        if self.has_ended(session) {
            return Err(Refusal::proven(Reason::SessionEnded, session.holder(None, None)));
        }
        let (token, standing) = match &session.by {
            SignedInBy::Token(shown) => {
                let signed = shown.signed(session.account);
                let key_state = match source.keys().find(&shown.key_id).map(|key| key.state) {
                    Some(state) => state,
                    // Our copy of the set may be older than the key.
                    None => match source.keys_for_unknown(&shown.key_id).await {
                        Ok(keys) => keys.find(&shown.key_id).map_or(super::KeyState::Revoked, |key| key.state),
                        Err(_) => return Err(Refusal::proven(Reason::StoreUnavailable, session.holder(None, None))),
                    },
                };
                let standing = self.standing(source, &Held::Token(&signed, key_state), demand).await;
                let standing = standing.map_err(|refusal| refusal.in_session(session.id))?;
                (Some(signed), standing)
            }
            SignedInBy::Password(sign_ins) => {
                (None, self.standing(source, &Held::Session(session, *sign_ins), demand).await?)
            }
        };
        let signed_in = SignedIn { session: Arc::clone(session), token, standing };
        let allowed =
            demand.permission.as_ref().is_none_or(|wanted| signed_in.standing.allows(wanted, demand.team.as_ref()));
        if allowed { Ok(signed_in) } else { Err(Refusal::lacking(&Actor::Session(signed_in))) }
    }

    pub(super) fn has_ended(&self, session: &Session) -> bool {
        self.clock.now() >= session.ends_at
    }
}

impl Refusal {
    fn in_session(mut self, session: SessionId) -> Self {
        if let Some(holder) = &mut self.holder {
            holder.session = Some(session);
        }
        self
    }

    /// Somebody was let in, and lacks what he would need for more.
    pub fn lacking(actor: &Actor) -> Self {
        match actor {
            Actor::Token(verified) => Self::insufficient(verified.clone()),
            Actor::Session(_) => Self::proven(Reason::InsufficientPermission, actor.holder()),
        }
    }
}

/// Whoever was let in. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Actor {
    /// By a token.
    Token(Verified),
    /// By a session.
    Session(SignedIn),
}

impl Actor {
    fn standing(&self) -> &Standing {
        match self {
            Self::Token(verified) => &verified.standing,
            Self::Session(signed_in) => &signed_in.standing,
        }
    }

    fn signed(&self) -> Option<&Signed> {
        match self {
            Self::Token(verified) => Some(&verified.signed),
            Self::Session(signed_in) => signed_in.token.as_ref(),
        }
    }

    /// The token, if that is what he showed.
    pub fn token(&self) -> Option<&Verified> {
        match self {
            Self::Token(verified) => Some(verified),
            Self::Session(_) => None,
        }
    }

    /// The session, if he is signed in.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Token(_) => None,
            Self::Session(signed_in) => Some(signed_in.session()),
        }
    }

    /// Account, name, token, session.
    pub fn holder(&self) -> Holder {
        match self {
            Self::Token(verified) => verified.holder(),
            Self::Session(signed_in) => signed_in.holder(),
        }
    }

    /// The account.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Token(verified) => verified.account(),
            Self::Session(signed_in) => signed_in.session.account,
        }
    }

    /// Its name.
    pub fn username(&self) -> &Username {
        &self.standing().state.username
    }

    /// Its default role now.
    pub fn role(&self) -> &RoleName {
        &self.standing().state.role
    }

    /// Its team roles now.
    pub fn teams(&self) -> &BTreeMap<TeamName, RoleName> {
        &self.standing().state.teams
    }

    /// Whether it may do this now; asked for a team, the team's role and the default role both count.
    pub fn allows(&self, permission: &Permission, team: Option<&TeamName>) -> bool {
        self.standing().allows(permission, team)
    }

    /// What it may do now without regard to teams: what its default role grants.
    pub fn permissions(&self) -> impl Iterator<Item = &Grant> {
        self.standing().permissions()
    }

    /// All that it may do now, written down.
    pub fn powers(&self) -> Powers {
        self.standing().powers()
    }

    /// The moment that all this is about.
    pub fn as_of(&self) -> AsOf {
        self.standing().as_of()
    }

    /// The key that signed the token that he showed, or signed in with.
    pub fn key_id(&self) -> Option<&str> {
        self.signed().map(|signed| &*signed.common.key_id)
    }
}
