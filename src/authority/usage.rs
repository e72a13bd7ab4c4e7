//! Who uses an account's tokens, from where.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Authority, Error};
use crate::account::AccountId;
use crate::audit::rollup::{self, HourOfCalls, Top, Union, hour_of};
use crate::clock::rfc3339;
use crate::store::RolledUp;
use crate::token::TokenId;

/// How far back it looks if nobody says otherwise.
const WINDOW: TimeDelta = TimeDelta::hours(24);
/// Rows of each list.
const TOP: usize = 10;

/// The use of an account's tokens, by whole hours.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// The beginning of the first hour.
    #[serde(with = "rfc3339")]
    pub from: DateTime<Utc>,
    /// The end of what was asked for.
    #[serde(with = "rfc3339")]
    pub to: DateTime<Utc>,
    /// Whether the calls of all that time are counted; else its beginning is not kept any more.
    pub complete: bool,
    /// Calls, by the hour in which they were made.
    pub calls_by_hour: Vec<HourUsage>,
    /// Refusals, by reason.
    pub refusals: Vec<Count>,
    /// Client addresses, the most frequent first.
    pub addresses: Vec<Count>,
    /// User agents, the most frequent first.
    pub user_agents: Vec<Count>,
    /// Method and path, the most frequent first.
    pub paths: Vec<Count>,
    /// Dead tokens that were used in that time, the last one first.
    pub dead_tokens: Vec<DeadToken>,
}

/// The calls of one hour.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct HourUsage {
    /// Its beginning.
    #[serde(with = "rfc3339")]
    pub hour: DateTime<Utc>,
    /// Let through.
    pub allowed: u64,
    /// Refused.
    pub refused: u64,
}

/// How often something was seen, and when last.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Count {
    /// What; what is long is cut.
    pub value: String,
    /// How often.
    pub count: u64,
    /// By how much the count may be too high. Of each hour the 16 most frequent values are kept, of calls that were let through and of
    /// others; where there were no more, counts are exact.
    pub too_high_by: u64,
    /// By how much it may be too low.
    pub too_low_by: u64,
    /// Of the count, calls that were refused.
    pub refused: u64,
    /// When last.
    #[serde(with = "rfc3339")]
    pub last_seen_at: DateTime<Utc>,
}

/// A genuine token that is dead, and still used.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeadToken {
    /// Its name.
    pub token_id: TokenId,
    /// Its generation.
    #[schema(required = true)]
    pub generation: Option<u64>,
    /// Why it is refused.
    pub reason: String,
    /// How often it was used since it was first noticed.
    pub count: u64,
    /// When that was.
    #[serde(with = "rfc3339")]
    pub first_seen_at: DateTime<Utc>,
    /// When last.
    #[serde(with = "rfc3339")]
    pub last_seen_at: DateTime<Utc>,
    /// From where last.
    #[schema(required = true)]
    pub client_address: Option<String>,
    /// By what last.
    #[schema(required = true)]
    pub user_agent: Option<String>,
}

impl Authority {
    /// The use of an account's tokens within a time, or else within the last day. The hour in which it begins is taken whole.
    pub async fn usage(
        &self,
        account: AccountId,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
    ) -> Result<Usage, Error> {
        let to = to.unwrap_or_else(|| self.clock.now());
        let from = from.unwrap_or_else(|| to.checked_sub_signed(WINDOW).unwrap_or(to));
        if from > to {
            // Nothing is in it, as in the activity.
            let none = hour_of(from.timestamp_millis())..=hour_of(from.timestamp_millis()) - 1;
            return Ok(told(&self.store.rolled_up(account, none).await?, from, to));
        }
        // Up to its end, and not with the hour that begins there.
        let last = (to.timestamp_millis() - 1).max(from.timestamp_millis());
        let hours = hour_of(from.timestamp_millis())..=hour_of(last);
        let from = start_of(*hours.start());
        Ok(told(&self.store.rolled_up(account, hours).await?, from, to))
    }
}

fn start_of(hour: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(hour.saturating_mul(3600), 0).unwrap_or_default()
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

fn told(rolled: &RolledUp, from: DateTime<Utc>, to: DateTime<Utc>) -> Usage {
    let hours = || rolled.hours.values();
    let top = |of: fn(&rollup::Origins) -> &Top| {
        most_frequent(hours().flat_map(|hour| [(of(&hour.by_allowed), false), (of(&hour.by_refused), true)]))
    };
    let is_of_that_time = |token: &&rollup::DeadToken| at(token.last) >= from && at(token.first) <= to;
    let mut dead: Vec<&rollup::DeadToken> = rolled.dead.iter().filter(is_of_that_time).collect();
    dead.sort_by_key(|token| std::cmp::Reverse(token.last));
    Usage {
        from,
        to,
        complete: from >= rolled.since,
        calls_by_hour: rolled
            .hours
            .iter()
            .map(|(hour, HourOfCalls { allowed, refused, .. })| HourUsage {
                hour: start_of(*hour),
                allowed: *allowed,
                refused: *refused,
            })
            .collect(),
        refusals: most_frequent(hours().map(|hour| (&hour.reasons, true))),
        addresses: top(|origins| &origins.addresses),
        user_agents: top(|origins| &origins.user_agents),
        paths: top(|origins| &origins.paths),
        dead_tokens: dead
            .into_iter()
            .map(|token| DeadToken {
                token_id: token.token_id,
                generation: token.generation,
                reason: token.reason.clone(),
                count: token.count,
                first_seen_at: at(token.first),
                last_seen_at: at(token.last),
                client_address: token.client_address.clone(),
                user_agent: token.user_agent.clone(),
            })
            .collect(),
    }
}

fn most_frequent<'a>(tops: impl Iterator<Item = (&'a Top, bool)>) -> Vec<Count> {
    let mut all = Union::default();
    tops.for_each(|(top, of_refused)| all.add(top, of_refused));
    let rows = all.most_frequent(TOP).into_iter();
    rows.map(|(value, seen)| Count {
        value,
        count: seen.count,
        too_high_by: seen.too_high_by,
        too_low_by: seen.too_low_by,
        refused: seen.refused,
        last_seen_at: at(seen.last),
    })
    .collect()
}
