//! Who needs a signing key: what dies with it, and who has not got a new token since it was revoked (K3).

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Act, Authority, Error, KeyView};
use crate::account::{AccountId, Status};
use crate::clock::rfc3339;
use crate::keyring::StepError;
use crate::name::{TeamName, Username};
use crate::permission::Permission;
use crate::store::{CallsOfKey, StoredAccount, for_one_request};
use crate::verify::Reason;

/// How far back calls are counted.
const WINDOW: TimeDelta = TimeDelta::hours(24);
/// Accounts that are looked at for the blast radius, at the most.
const LOOK_AT: usize = 50_000;
/// Accounts that are read at once.
const CHUNK: usize = 500;
/// Accounts that are named.
const NAMED: usize = 100;

/// What dies with a key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BlastRadius {
    /// Its thumbprint.
    pub key_id: String,
    /// Living tokens that it signed.
    pub live_tokens: u64,
    /// When the last of them expires.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub last_expiry: Option<DateTime<Utc>>,
    /// Accounts with such a token.
    pub accounts: u64,
    /// How many of them are members of which team.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub teams: BTreeMap<TeamName, u64>,
    /// Whether all such accounts were counted; else there are more.
    pub complete: bool,
    /// Calls with such tokens.
    pub calls_24h: CallsOfKey,
    /// Whether the caller's own token is one of them.
    pub own_token: bool,
}

/// A key, and who has a living token that it signed; of a revoked one, who has no new token yet.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct KeyDetail {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
    /// Calls with tokens that it signed.
    pub calls_24h: CallsOfKey,
    /// Accounts that need it, or wait for a new token, a hundred at the most. None for whoever may not read accounts.
    pub accounts: Vec<KeyUser>,
    /// Whether these are all.
    pub complete: bool,
}

/// An account with a token that a key signed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct KeyUser {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub username: Username,
    /// Its status.
    pub status: Status,
    /// When a dead token of a revoked key was last used in its name.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub last_refused_at: Option<DateTime<Utc>>,
}

/// Living tokens of each key, counted anew.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Recount {
    /// The keys, in the order in which they were made.
    pub keys: Vec<RecountedKey>,
    /// Tokens that were not counted, or wrongly. 0: all was right.
    pub corrected: u64,
}

/// Living tokens of a key, before and after they were counted anew.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RecountedKey {
    /// Its thumbprint.
    pub id: String,
    /// As they had been counted.
    pub before: u64,
    /// As they are.
    pub after: u64,
}

impl Authority {
    /// Counts the living tokens of each key anew, and corrects what was wrong.
    pub async fn recount_keys(&self) -> Result<Recount, Error> {
        // It walks through all accounts: once for all who ask is enough.
        let _alone = self.recounting.lock().await;
        let before = self.key_views().await?;
        let ids: Vec<String> = before.iter().map(|key| key.id.clone()).collect();
        let corrected = self.store.recount(&ids, self.clock.now()).await?;
        if corrected > 0 {
            tracing::warn!(corrected, "the counts of living tokens were wrong, and are corrected");
        }
        let after = self.key_views().await?;
        let keys = before
            .into_iter()
            .filter_map(|key| {
                let after = after.iter().find(|after| after.id == key.id)?.live_tokens;
                Some(RecountedKey { id: key.id, before: key.live_tokens, after })
            })
            .collect();
        Ok(Recount { keys, corrected })
    }

    /// What would die with a key. Nothing is changed.
    pub async fn blast_radius(&self, act: &Act, key_id: &str) -> Result<BlastRadius, Error> {
        self.blast_radius_within(act, key_id, LOOK_AT).await
    }

    /// The same, looking at so many accounts at the most.
    pub async fn blast_radius_within(&self, act: &Act, key_id: &str, look_at: usize) -> Result<BlastRadius, Error> {
        let view = self.key_view(key_id).await?;
        let now = self.clock.now();
        let (ids, more) = self.store.accounts_of_key(key_id, now, look_at).await?;
        let mut teams = BTreeMap::<TeamName, u64>::new();
        let mut accounts = 0;
        for chunk in ids.chunks(CHUNK) {
            // Not on the time of the request: they may be many.
            for state in for_one_request(self.store.states(chunk)).await? {
                accounts += 1;
                for team in state.teams.into_keys() {
                    *teams.entry(team).or_default() += 1;
                }
            }
        }
        Ok(BlastRadius {
            key_id: view.id,
            live_tokens: view.live_tokens,
            last_expiry: view.last_expiry,
            accounts,
            teams,
            complete: !more,
            calls_24h: self.calls_of_key(key_id, now).await?,
            own_token: act.actor.key_id() == Some(key_id),
        })
    }

    /// A key, and who needs it: accounts are named to whoever may read them.
    pub async fn key_detail(&self, act: &Act, key_id: &str) -> Result<KeyDetail, Error> {
        let key = self.key_view(key_id).await?;
        let now = self.clock.now();
        if !act.actor.allows(&Permission::known("accounts:read"), None) {
            let calls_24h = self.calls_of_key(key_id, now).await?;
            let complete = key.live_tokens == 0 && key.revoked_at.is_none();
            return Ok(KeyDetail { key, calls_24h, accounts: Vec::new(), complete });
        }
        let (ids, more) = self.store.accounts_of_key(key_id, now, NAMED).await?;
        let found = self.store.accounts(&ids).await?.into_iter().flatten();
        let mut accounts = Vec::new();
        // One that overlaps is of no use any more either, but whoever has it has a new one.
        let waits = |account: &StoredAccount| {
            key.revoked_at.is_none() || account.profile.token.as_ref().is_some_and(|token| token.key_id == key_id)
        };
        for account in found.filter(waits) {
            let last_refused_at = key.revoked_at.and_then(|since| last_refused(&account, since));
            accounts.push(KeyUser {
                id: account.id,
                username: account.state.username,
                status: account.state.status,
                last_refused_at,
            });
        }
        let calls_24h = self.calls_of_key(key_id, now).await?;
        Ok(KeyDetail { key, calls_24h, accounts, complete: !more })
    }

    async fn key_view(&self, key_id: &str) -> Result<KeyView, Error> {
        let views = self.key_views().await?;
        Ok(views.into_iter().find(|view| view.id == key_id).ok_or(StepError::NoSuchKey)?)
    }

    async fn calls_of_key(&self, key_id: &str, now: DateTime<Utc>) -> Result<CallsOfKey, Error> {
        Ok(self.store.calls_of_key(key_id, now - WINDOW).await?)
    }
}

/// When a dead token of a revoked key was last used since then.
fn last_refused(account: &StoredAccount, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let of_key = account.dead.iter().filter(|token| token.reason == Reason::RevokedKey.as_str());
    let last = of_key.map(|token| token.last).max().and_then(DateTime::from_timestamp_millis);
    last.filter(|last| *last >= since)
}
