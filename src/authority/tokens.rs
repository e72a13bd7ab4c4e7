//! Tokens: issue, regenerate, renew, revoke.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Months, TimeDelta, Utc};
use serde::Serialize;

use super::call::By;
use super::checks::{may_grant, powers_of};
use super::{AccountRef, Act, Authority, Call, Error, Precondition, Receipt};
use crate::account::{Account, AccountId, AccountState, Binding, Previous, Status};
use crate::audit::kinds;
use crate::clock::rfc3339;
use crate::permission::{Grant, Permission};
use crate::session::SessionId;
use crate::store::{AccountChange, IssuedToken, Profile, StoredAccount};
use crate::token::{Claims, Confirmation, Jti, Signer, TokenId, encode};
use crate::verify::{Actor, Demand, KeyState, Presenter, Reason, Verified};

/// The longest overlap, in seconds (protocols, section 4).
pub const MAX_OVERLAP: u64 = 7 * 24 * 3600;

/// A token, shown this once.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Issued {
    /// Its account.
    pub account: Account,
    /// The token. It is stored nowhere.
    pub token: String,
    /// When it expires.
    #[serde(with = "rfc3339")]
    pub expires_at: DateTime<Utc>,
    /// Since when the older token is dead.
    pub receipt: Receipt,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issued({} …)", self.account.id)
    }
}

/// Who I am and what I may do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SelfView {
    /// My account.
    pub account: Account,
    /// What my default role grants.
    pub permissions: std::collections::BTreeSet<Grant>,
    /// What my team roles grant in their teams.
    #[schema(value_type = BTreeMap<String, Vec<Grant>>)]
    pub team_permissions: BTreeMap<crate::name::TeamName, std::collections::BTreeSet<Grant>>,
    /// The token that I showed; null: I am signed in.
    #[schema(required = true)]
    pub token: Option<SelfToken>,
    /// The session, where I am signed in; null: I showed a token.
    #[schema(required = true)]
    pub session: Option<SelfSession>,
}

/// The session in which I am.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SelfSession {
    /// Its name.
    pub id: SessionId,
    /// When it ends by itself; later, if there are calls before.
    #[serde(with = "rfc3339")]
    pub ends_at: DateTime<Utc>,
}

/// The token that was shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SelfToken {
    /// Its name.
    pub id: TokenId,
    /// `iat`.
    #[serde(with = "rfc3339")]
    pub issued_at: DateTime<Utc>,
    /// `exp`.
    #[serde(with = "rfc3339")]
    pub expires_at: DateTime<Utc>,
    /// The key that signed it.
    pub key_id: String,
}

/// Why a token was not revoked by its holder.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// It could not be looked at.
    #[error("the token could not be looked at")]
    Refused(super::Refused),
    /// It could not be ended.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// How often a token is signed anew because another key signs by now.
pub(super) const SIGNINGS: usize = 4;

fn ended(account: &StoredAccount) -> AccountState {
    AccountState { token_id: None, previous: None, ..account.state.clone() }
}

fn overlap_ended(account: &StoredAccount) -> AccountState {
    AccountState { previous: None, ..account.state.clone() }
}

/// Where it takes long to sign, others are not kept waiting.
async fn encoded(claims: Claims, jti: Jti, signer: &Arc<dyn Signer>) -> Result<String, Error> {
    if !signer.waits() {
        return Ok(encode(&claims, &jti, signer.as_ref())?);
    }
    let signer = Arc::clone(signer);
    let signed = tokio::task::spawn_blocking(move || encode(&claims, &jti, signer.as_ref())).await;
    Ok(signed.map_err(|error| Error::Internal(error.to_string()))??)
}

/// A token that is signed and not yet anybody's: it counts once its record is written (S2).
pub(super) struct Signed {
    token: String,
    expires_at: DateTime<Utc>,
    pub(super) keys_version: u64,
}

impl Signed {
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl Authority {
    /// A new generation for an account; the older token is dead when this returns, or when the overlap ends.
    pub async fn regenerate_token(
        &self,
        act: &Act,
        wanted: &AccountRef,
        valid_for_months: u32,
        overlap_seconds: u64,
        only: &Precondition,
    ) -> Result<Issued, Error> {
        // Asked for together: the answer waits for enough turns of the store as it is.
        let (before, roles) = tokio::try_join!(self.account_to_change(act, kinds::TOKEN_REGENERATE, wanted), async {
            Ok(self.store.roles().await?)
        })?;
        only.check(Some(before.version))?;
        may_grant(&act.actor.powers(), &powers_of(&before.state, &roles))?;
        let by = By::Somebody(act);
        let issued = self.next_generation(by, kinds::TOKEN_REGENERATE, before, valid_for_months, overlap_seconds).await;
        issued.map_err(|error| only.or_failed(error))
    }

    /// A new generation for myself. One in its overlap can't: its successor would die of it.
    pub async fn renew_token(&self, act: &Act, valid_for_months: u32, overlap_seconds: u64) -> Result<Issued, Error> {
        act.call.record().kind = Some(kinds::TOKEN_RENEW);
        if !act.actor.token().is_some_and(Verified::is_current) {
            return Err(Error::NotCurrent);
        }
        let before = self.account(&AccountRef::Id(act.actor.account())).await?;
        self.next_generation(By::Somebody(act), kinds::TOKEN_RENEW, before, valid_for_months, overlap_seconds).await
    }

    pub(super) async fn next_generation(
        &self,
        by: By<'_>,
        kind: &'static str,
        before: StoredAccount,
        valid_for_months: u32,
        overlap_seconds: u64,
    ) -> Result<Issued, Error> {
        let mut tries = 0;
        loop {
            let version = self.keys.set().version();
            tries += 1;
            match self.try_next_generation(by, kind, &before, valid_for_months, overlap_seconds).await {
                Err(Error::KeysChanged) if tries < SIGNINGS => self.newer_keys(version).await?,
                other => return other,
            }
        }
    }

    /// Waits for the keys after that version: what was signed under it was not accepted.
    pub(super) async fn newer_keys(&self, version: u64) -> Result<(), Error> {
        let newer = self.keys.at_least(version + 1).await;
        newer.map(|_| ()).map_err(|_| Error::Unavailable("the keys could not be read".into()))
    }

    async fn try_next_generation(
        &self,
        by: By<'_>,
        kind: &'static str,
        before: &StoredAccount,
        valid_for_months: u32,
        overlap_seconds: u64,
    ) -> Result<Issued, Error> {
        self.check_lifetime(valid_for_months)?;
        if overlap_seconds > MAX_OVERLAP {
            return Err(Error::field(
                "overlap_seconds",
                format!("an overlap lasts at most {MAX_OVERLAP} seconds (7 days)"),
            ));
        }
        if before.state.status != Status::Active {
            return Err(Error::AccountDisabled);
        }
        let now = self.clock.now();
        let (mut state, mut profile) = (before.state.clone(), before.profile.clone());
        let signed = self.sign_next(before.id, &mut state, &mut profile, valid_for_months, overlap_seconds).await?;
        profile.updated_at = now;
        let ends = state.previous.as_ref().and_then(|previous| DateTime::from_timestamp(previous.ends_at, 0));
        let mut event = self
            .act_event(by, kind, before.id, &state, &profile)
            .detail("expires_at", rfc3339::text(&signed.expires_at));
        if let Some(ends) = &ends {
            event = event.detail("overlap_until", rfc3339::text(ends));
        }
        let change = AccountChange {
            keys_version: Some(signed.keys_version),
            ..self.change(by, before, (&state, &profile), now, &event)
        };
        let receipt = self.commit_everywhere(by, &change, ends).await?;
        Ok(self.issued(before.id, state, profile, signed, receipt))
    }

    /// Ends every token of an account; none follows.
    pub async fn revoke_token(&self, act: &Act, wanted: &AccountRef, only: &Precondition) -> Result<Receipt, Error> {
        let before = self.account_to_change(act, kinds::TOKEN_REVOKE, wanted).await?;
        only.check(Some(before.version))?;
        let receipt = self.end_tokens(By::Somebody(act), &before, ended(&before)).await;
        receipt.map_err(|error| only.or_failed(error))
    }

    /// RFC 7009: the holder ends his own token. The current one takes all with it, one in its overlap only itself.
    /// `None`: it was no longer good, so that it is as revoked as its holder wants it.
    pub async fn revoke_presented(&self, call: &Call, token: &str) -> Result<Option<Receipt>, RevokeError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_revoke(call, token).await {
                // What was true of the token when it was looked at may no longer be: look again.
                Err(RevokeError::Failed(Error::AuthorChanged | Error::Conflict | Error::NotFound(_))) if tries < 5 => {}
                other => return other,
            }
        }
    }

    async fn try_to_revoke(&self, call: &Call, token: &str) -> Result<Option<Receipt>, RevokeError> {
        let demand = Demand { audience: None, permission: None, team: None, presenter: Presenter::ThirdParty };
        match self.verify_in_the_store(call, token, &demand).await {
            Ok(actor) => {
                let before = self.account(&AccountRef::Id(actor.account())).await?;
                let state = if actor.is_current() { ended(&before) } else { overlap_ended(&before) };
                let act = Act { actor: Actor::Token(actor), call: call.clone() };
                Ok(Some(self.end_tokens(By::Somebody(&act), &before, state).await?))
            }
            Err(refused) => match (refused.refusal.reason, &refused.refusal.holder) {
                (Reason::StoreUnavailable | Reason::RateLimited, _) => Err(RevokeError::Refused(refused)),
                // It would be good again as soon as somebody enables the account.
                (Reason::Disabled, Some(holder)) => {
                    let before = self.account(&AccountRef::Id(holder.account)).await?;
                    let held = holder.token.as_ref();
                    let is = |generation, id| held.is_some_and(|held| generation == held.generation && id == held.id);
                    let state = if before.state.token_id.is_some_and(|id| is(before.state.generation, id)) {
                        ended(&before)
                    } else if before.state.previous.as_ref().is_some_and(|old| is(old.generation, old.token_id)) {
                        overlap_ended(&before)
                    } else {
                        return Ok(self.is_held(holder.account, kinds::TOKEN_REVOKE).await.map(|()| None)?);
                    };
                    Ok(Some(self.end_tokens(By::Holder(call), &before, state).await?))
                }
                // Somebody else's answer to the same may still be waiting for a node, or for a replica.
                (Reason::Superseded | Reason::Revoked | Reason::UnknownAccount, Some(holder)) => {
                    match self.is_held(holder.account, kinds::TOKEN_REVOKE).await {
                        // Nobody ever had it.
                        Ok(()) | Err(Error::NotFound(_)) => Ok(None),
                        Err(error) => Err(error.into()),
                    }
                }
                _ => Ok(None),
            },
        }
    }

    async fn end_tokens(&self, by: By<'_>, before: &StoredAccount, state: AccountState) -> Result<Receipt, Error> {
        let now = self.clock.now();
        let mut profile = before.profile.clone();
        if state.token_id.is_none() {
            profile.token = None;
        }
        if state.previous.is_none() {
            profile.previous = None;
        }
        profile.updated_at = now;
        let event = self.act_event(by, kinds::TOKEN_REVOKE, before.id, &before.state, &before.profile);
        let change = self.change(by, before, (&state, &profile), now, &event);
        self.commit_everywhere(by, &change, None).await
    }

    /// Who I am. Any valid token may ask.
    pub async fn self_view(&self, actor: &Actor) -> Result<SelfView, Error> {
        let account = self.account(&AccountRef::Id(actor.account())).await?.view();
        Ok(SelfView {
            account,
            permissions: actor.permissions().cloned().collect(),
            team_permissions: actor.powers().teams,
            token: actor.token().map(|verified| SelfToken {
                id: verified.token_id(),
                issued_at: verified.issued_time(),
                expires_at: verified.expiry_time(),
                key_id: verified.key_id().to_owned(),
            }),
            session: actor.session().map(|session| SelfSession { id: session.id, ends_at: session.ends_at }),
        })
    }

    /// What the scope of a token is said to be (RFC 7662): what its default role grants now.
    pub fn scope(&self, verified: &Verified) -> String {
        verified.permissions().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Whether one more permission is held; for acts that need two.
    pub fn demand_also(&self, act: &Act, permission: &Permission) -> Result<(), Error> {
        if act.actor.allows(permission, None) {
            return Ok(());
        }
        act.call.record().permission = Some(permission.clone());
        Err(crate::verify::Refusal::lacking(&act.actor).into())
    }

    pub(super) fn claims(
        &self,
        id: AccountId,
        state: &AccountState,
        token_id: TokenId,
        now: DateTime<Utc>,
        expires: DateTime<Utc>,
    ) -> Claims {
        Claims {
            issuer: self.issuer().to_owned(),
            account: id,
            audiences: if state.audiences.is_empty() {
                vec![self.own_audience.clone()]
            } else {
                state.audiences.clone()
            },
            issued_at: now.timestamp(),
            expires_at: expires.timestamp(),
            token_id,
            role: state.role.clone(),
            teams: state.teams.clone(),
            generation: state.generation,
            confirmation: state.binding.as_ref().map(|binding| match binding {
                Binding::Certificate(thumbprint) => Confirmation::Certificate { thumbprint: thumbprint.clone() },
                Binding::Key(jkt) => Confirmation::Key { jkt: jkt.clone() },
            }),
        }
    }

    /// Moves state and profile on to the next generation and signs its token.
    pub(super) async fn sign_next(
        &self,
        id: AccountId,
        state: &mut AccountState,
        profile: &mut Profile,
        valid_for_months: u32,
        overlap_seconds: u64,
    ) -> Result<Signed, Error> {
        // Whole seconds, as in the claims.
        let now = DateTime::from_timestamp(self.clock.now().timestamp(), 0).unwrap_or_default();
        let expires_at = now
            .checked_add_months(Months::new(valid_for_months))
            .ok_or_else(|| Error::field("valid_for_months", "that is beyond the calendar"))?;
        let loaded = self.keys.now();
        let signer = loaded.signer.as_ref().ok_or_else(|| match &loaded.out_of_reach {
            Some(why) => Error::TokenAway(why.clone()),
            None => Error::Unavailable("no key signs at the moment".into()),
        })?;
        let jti = Jti::random()?;

        // What is dead already overlaps with nothing.
        let is_alive = |key_id: &str| loaded.set.find(key_id).is_none_or(|key| key.state != KeyState::Revoked);
        let before = state.token_id.zip(profile.token.take());
        let before = before.filter(|(_, token)| token.expires_at > now && is_alive(&token.key_id));
        (state.previous, profile.previous) = match before.filter(|_| overlap_seconds > 0) {
            Some((token_id, token)) => {
                let ends_at = now + TimeDelta::seconds(i64::try_from(overlap_seconds).unwrap_or(0));
                (Some(Previous { generation: state.generation, token_id, ends_at: ends_at.timestamp() }), Some(token))
            }
            None => (None, None),
        };
        state.generation += 1;
        state.token_id = Some(jti.token_id());
        let claims = self.claims(id, state, jti.token_id(), now, expires_at);
        profile.token = Some(IssuedToken {
            key_id: signer.public().key_id().to_owned(),
            issued_at: now,
            expires_at,
            for_own_api: claims.audiences.contains(&self.own_audience),
        });
        self.check_length(id, state)?;
        let token = encoded(claims, jti, signer).await?;
        Ok(Signed { token, expires_at, keys_version: loaded.set.version() })
    }

    pub(super) fn issued(
        &self,
        id: AccountId,
        state: AccountState,
        profile: Profile,
        signed: Signed,
        receipt: Receipt,
    ) -> Issued {
        let (used, dead) = Default::default();
        let account = StoredAccount { id, version: receipt.epoch, state, profile, used, dead };
        Issued { account: account.view(), token: signed.token, expires_at: signed.expires_at, receipt }
    }
}
