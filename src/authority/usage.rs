//! Who uses an account's tokens, from where.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Authority, Error};
use crate::account::AccountId;
use crate::audit::{Event, Outcome, kinds};
use crate::clock::rfc3339;
use crate::store::{AuditFilter, Trail};
use crate::token::TokenId;

/// How far back it looks.
const WINDOW: TimeDelta = TimeDelta::hours(24);
/// Calls that it looks at, at the most.
const LOOK_AT: usize = 20_000;
/// Rows of each list.
const TOP: usize = 10;

/// The use of an account's tokens within a day.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// Its beginning.
    #[serde(with = "rfc3339")]
    pub from: DateTime<Utc>,
    /// Its end.
    #[serde(with = "rfc3339")]
    pub to: DateTime<Utc>,
    /// Whether all calls of that time were looked at; else only the newest.
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
    /// Dead tokens still in use.
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
    /// What.
    pub value: String,
    /// How often.
    pub count: u64,
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
    /// How often it was used.
    pub count: u64,
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

struct Tally<K>(HashMap<K, (u64, DateTime<Utc>)>);

impl<K: Hash + Eq + Ord + Clone + Into<String>> Tally<K> {
    fn add(&mut self, key: Option<K>, time: DateTime<Utc>) {
        if let Some(key) = key {
            let (count, last) = self.0.entry(key).or_insert((0, time));
            *count += 1;
            *last = time.max(*last);
        }
    }

    fn top(self) -> Vec<Count> {
        let mut rows: Vec<_> = self.0.into_iter().collect();
        rows.sort_by(|(a, (a_count, _)), (b, (b_count, _))| b_count.cmp(a_count).then_with(|| a.cmp(b)));
        rows.truncate(TOP);
        rows.into_iter()
            .map(|(value, (count, last_seen_at))| Count { value: value.into(), count, last_seen_at })
            .collect()
    }
}

fn is_dead(reason: &str) -> bool {
    matches!(reason, "expired" | "superseded" | "revoked" | "revoked_key" | "disabled" | "unknown_account")
}

impl Authority {
    /// The use of an account's tokens within the last day.
    pub async fn usage(&self, account: AccountId) -> Result<Usage, Error> {
        let to = self.clock.now();
        let from = to - WINDOW;
        let filter = AuditFilter { kind: Some(kinds::CALL.into()), from: Some(from), ..AuditFilter::default() };
        let mut calls: Vec<Event> = Vec::new();
        let mut cursor = None;
        let complete = loop {
            let (events, next) = self.store.events(Trail::Account(account), &filter, cursor.as_ref(), LOOK_AT).await?;
            calls.extend(events.into_iter().filter(|event| event.account_id == Some(account)));
            match next {
                None => break true,
                Some(_) if calls.len() >= LOOK_AT => break false,
                next => cursor = next,
            }
        };
        Ok(tally(&calls, from, to, complete))
    }
}

fn tally(calls: &[Event], from: DateTime<Utc>, to: DateTime<Utc>, complete: bool) -> Usage {
    let mut hours = BTreeMap::<i64, (u64, u64)>::new();
    let mut refusals = Tally(HashMap::new());
    let mut addresses = Tally(HashMap::new());
    let mut agents = Tally(HashMap::new());
    let mut paths = Tally(HashMap::new());
    let mut dead = HashMap::<TokenId, DeadToken>::new();
    for call in calls {
        let hour = hours.entry(call.time.timestamp().div_euclid(3600)).or_default();
        if call.outcome == Outcome::Allowed {
            hour.0 += 1;
        } else {
            hour.1 += 1;
            refusals.add(call.reason.clone(), call.time);
        }
        addresses.add(call.client_address.clone(), call.time);
        agents.add(call.user_agent.clone(), call.time);
        let path = call.method.as_ref().zip(call.path.as_ref()).map(|(method, path)| format!("{method} {path}"));
        paths.add(path, call.time);
        let Some((token_id, reason)) = call.token_id.zip(call.reason.as_ref()).filter(|(_, reason)| is_dead(reason))
        else {
            continue;
        };
        let entry = dead.entry(token_id).or_insert_with(|| DeadToken {
            token_id,
            generation: call.generation,
            reason: reason.clone(),
            count: 0,
            last_seen_at: call.time,
            client_address: call.client_address.clone(),
            user_agent: call.user_agent.clone(),
        });
        entry.count += 1;
        if call.time > entry.last_seen_at {
            entry.reason.clone_from(reason);
            entry.last_seen_at = call.time;
            entry.client_address.clone_from(&call.client_address);
            entry.user_agent.clone_from(&call.user_agent);
        }
    }
    let mut dead_tokens: Vec<_> = dead.into_values().collect();
    dead_tokens.sort_by_key(|token| std::cmp::Reverse(token.last_seen_at));
    Usage {
        from,
        to,
        complete,
        calls_by_hour: hours
            .into_iter()
            .map(|(hour, (allowed, refused))| HourUsage {
                hour: DateTime::from_timestamp(hour * 3600, 0).unwrap_or_default(),
                allowed,
                refused,
            })
            .collect(),
        refusals: refusals.top(),
        addresses: addresses.top(),
        user_agents: agents.top(),
        paths: paths.top(),
        dead_tokens,
    }
}
