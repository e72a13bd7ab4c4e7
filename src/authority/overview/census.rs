//! All accounts, counted now and then by one issuer. It walks through them, which nobody who asks could wait for.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::account::{AccountId, Kind, Status};
use crate::authority::Authority;
use crate::clock::rfc3339;
use crate::name::Username;
use crate::store::{Listing, StoreError, StoredAccount, for_one_request};
use crate::verify::{KeySet, KeyState};

/// A count is good for so long.
const EVERY: Duration = Duration::from_secs(60);
/// Of the time, so much is spent on counting at the most: one in so many parts.
const SHARE: u32 = 30;
/// Accounts that are read at once.
const CHUNK: usize = 500;
/// For so long a turn is kept, again with every few hundred accounts.
const TURN: Duration = Duration::from_secs(30);
/// So many days ahead it is told how many tokens expire on each.
pub(super) const DAYS: i64 = 60;
/// A dead token is in use if somebody has tried it since.
const IN_USE: TimeDelta = TimeDelta::days(7);
/// Accounts with dead tokens in use that are named: those whose were used last.
const NAMED: usize = 20;

/// All accounts at some time. While they were walked through, others may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Census {
    /// When the walk began.
    #[serde(with = "rfc3339")]
    pub counted_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Service accounts.
    pub service_accounts: AccountStates,
    /// Users.
    pub users: AccountStates,
    /// How many current tokens of accounts that are not disabled expire on which day (UTC), from today on for 60 days; only days with any.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub expiring: BTreeMap<NaiveDate, u64>,
    /// Accounts in whose name a dead token was used within the last 7 days.
    pub dead_tokens_in_use: u64,
    /// Those of them where it was used last, 20 at the most.
    pub last_dead_tokens: Vec<DeadTokenUser>,
}

/// How many accounts are in which state; each is in one, the first that it is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountStates {
    /// All of them.
    pub total: u64,
    /// They are disabled.
    pub disabled: u64,
    /// They have no token: it was revoked, or its key was, or they never had one, as people who sign in need not.
    pub without_token: u64,
    /// Their token has expired.
    pub expired: u64,
    /// Their token is good.
    pub active: u64,
}

/// An account in whose name a dead token is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadTokenUser {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub username: Username,
    /// Calls with its dead tokens, each since it was first noticed.
    pub calls: u64,
    /// When one was last used.
    #[serde(with = "rfc3339")]
    pub last_used_at: DateTime<Utc>,
}

impl Census {
    fn at(now: DateTime<Utc>) -> Self {
        Self { counted_at: now, ..Self::default() }
    }

    fn take(&mut self, account: &StoredAccount, keys: &KeySet) {
        let now = self.counted_at;
        let is_dead = |key_id: &str| keys.find(key_id).is_some_and(|key| key.state == KeyState::Revoked);
        let token = account.state.token_id.and(account.profile.token.as_ref());
        let expires_at = token.filter(|token| !is_dead(&token.key_id)).map(|token| token.expires_at);
        let states = match account.profile.kind {
            Kind::Service => &mut self.service_accounts,
            Kind::User => &mut self.users,
        };
        states.total += 1;
        match expires_at {
            _ if account.state.status == Status::Disabled => states.disabled += 1,
            None => states.without_token += 1,
            Some(expires_at) if expires_at <= now => states.expired += 1,
            Some(expires_at) => {
                states.active += 1;
                let day = expires_at.date_naive();
                if day <= last_day(now) {
                    *self.expiring.entry(day).or_default() += 1;
                }
            }
        }
        let Some(dead) = account.view().dead_tokens.filter(|dead| dead.last_used_at >= now - IN_USE) else { return };
        self.dead_tokens_in_use += 1;
        self.last_dead_tokens.push(DeadTokenUser {
            id: account.id,
            username: account.state.username.clone(),
            calls: dead.calls,
            last_used_at: dead.last_used_at,
        });
        if self.last_dead_tokens.len() > 2 * NAMED {
            self.sort();
        }
    }

    fn sort(&mut self) {
        self.last_dead_tokens.sort_by_key(|user| std::cmp::Reverse(user.last_used_at));
        self.last_dead_tokens.truncate(NAMED);
    }

    /// Tokens that expire from that day on and on none of the days after the other.
    pub(super) fn expiring_within(&self, from: NaiveDate, days: i64) -> u64 {
        let last = from + TimeDelta::days(days);
        self.expiring.range(from..=last).map(|(_, count)| count).sum()
    }

    /// Whether another one is due.
    fn is_old(&self, now: DateTime<Utc>) -> bool {
        let rest = EVERY.max(Duration::from_millis(self.took_ms).saturating_mul(SHARE));
        // Of a clock that was far ahead nothing is believed.
        let age = (now - self.counted_at).abs();
        age.to_std().unwrap_or(Duration::MAX) >= rest
    }
}

fn last_day(now: DateTime<Utc>) -> NaiveDate {
    now.date_naive() + TimeDelta::days(DAYS)
}

impl Authority {
    /// The last count of all accounts. `None`: there is none yet, or none that can be read.
    pub(super) async fn census(&self) -> Result<Option<Census>, StoreError> {
        let text = self.store.census().await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Counts all accounts, if that is due and no other issuer does it.
    pub async fn count_accounts(&self) -> Result<(), StoreError> {
        if self.census().await?.is_some_and(|last| !last.is_old(self.clock.now())) {
            return Ok(());
        }
        let node = self.recorder().node();
        if !self.store.turn_to_count(node, TURN).await? {
            return Ok(());
        }
        let counted = self.count_all(node).await;
        // If it is not given back, it ends by itself.
        let _ = self.store.turn_to_count(node, Duration::ZERO).await;
        let Some(census) = counted? else { return Ok(()) };
        // All that is in it has a JSON form.
        self.store.put_census(&serde_json::to_string(&census).unwrap_or_default()).await
    }

    /// `None`: another issuer has taken over.
    async fn count_all(&self, node: &str) -> Result<Option<Census>, StoreError> {
        let began = self.clock.monotonic();
        let mut census = Census::at(self.clock.now());
        let mut after: Option<String> = None;
        let mut kept = began;
        loop {
            let asked = self.clock.monotonic();
            let which = Listing { after: after.as_deref(), ..Listing::default() };
            let some = for_one_request(self.store.some_accounts(which, CHUNK)).await?;
            let keys = self.keys.set();
            for account in &some.accounts {
                census.take(account, &keys);
            }
            let now = self.clock.monotonic();
            let Some(next) = some.next else {
                census.sort();
                let took = now.saturating_duration_since(began);
                census.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                return Ok(Some(census));
            };
            after = Some(next);
            if now.saturating_duration_since(kept) >= TURN / 3 {
                if !self.store.turn_to_count(node, TURN).await? {
                    return Ok(None);
                }
                kept = now;
            }
            // Everybody else comes first.
            tokio::time::sleep(now.saturating_duration_since(asked)).await;
        }
    }
}
