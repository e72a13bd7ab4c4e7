//! What rests on a signing key.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Store, StoreError};
use crate::account::{AccountId, AccountState, StateRecord, Versioned};

/// Calls with tokens that a key signed, within a day, by whole hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct CallsOfKey {
    /// Let through.
    pub allowed: u64,
    /// Refused.
    pub refused: u64,
}

impl Store {
    /// How many living tokens a key signed, and when the last of them expires.
    pub async fn live_tokens_of(
        &self,
        key_id: &str,
        now: DateTime<Utc>,
    ) -> Result<(u64, Option<DateTime<Utc>>), StoreError> {
        let mut pipeline = redis::pipe();
        let key = self.schema.live(key_id);
        pipeline.cmd("ZCOUNT").arg(&key).arg(format!("({}", now.timestamp())).arg("+inf");
        pipeline.cmd("ZRANGE").arg(&key).arg(0).arg(0).arg("REV").arg("WITHSCORES");
        let (count, last): (u64, Vec<(String, i64)>) = self.pipeline(&self.shared, &pipeline).await?;
        let last = last.first().and_then(|(_, until)| DateTime::from_timestamp(*until, 0));
        Ok((count, last.filter(|_| count > 0)))
    }

    /// Active admins with a token that is good beyond `now`, so many at the most.
    pub async fn able_admins(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<AccountId>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.schema.admins()).arg(format!("({}", now.timestamp())).arg("+inf").arg("BYSCORE");
        command.arg("LIMIT").arg(0).arg(limit);
        let ids: Vec<String> = self.query(&self.shared, command).await?;
        Ok(ids.into_iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Accounts with a living token that a key signed, or signed before it was revoked: the first of them, and whether there are more.
    pub async fn accounts_of_key(
        &self,
        key_id: &str,
        now: DateTime<Utc>,
        limit: usize,
    ) -> Result<(Vec<AccountId>, bool), StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.schema.live(key_id)).arg(format!("({}", now.timestamp())).arg("+inf").arg("BYSCORE");
        // An account has two at the most.
        command.arg("LIMIT").arg(0).arg(2 * limit + 1);
        let members: Vec<String> = self.query(&self.shared, command).await?;
        let is_all = members.len() <= 2 * limit;
        let mut seen = HashSet::new();
        let mut ids: Vec<AccountId> = members
            .iter()
            .filter_map(|member| member.split_once(':')?.0.parse().ok())
            .filter(|id| seen.insert(*id))
            .collect();
        let is_cut = ids.len() > limit;
        ids.truncate(limit);
        Ok((ids, is_cut || !is_all))
    }

    /// The states of these accounts, of those that are there.
    pub async fn states(&self, ids: &[AccountId]) -> Result<Vec<AccountState>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for id in ids {
            command.arg(self.schema.state(*id));
        }
        let texts: Vec<Option<String>> = self.query(&self.shared, command).await?;
        let read = |text: String| Versioned::parse(&text).map_err(|error| StoreError::Corrupt(error.0));
        let records: Vec<Versioned> = texts.into_iter().flatten().map(read).collect::<Result<_, _>>()?;
        let living = records.into_iter().filter_map(|versioned| match versioned.record {
            StateRecord::Live(state) => Some(state),
            StateRecord::Deleted(_) => None,
        });
        Ok(living.collect())
    }

    /// Forgets tokens of a key that have expired before this.
    pub async fn forget_expired(&self, key_id: &str, before: DateTime<Utc>) -> Result<(), StoreError> {
        let mut command = redis::cmd("ZREMRANGEBYSCORE");
        command.arg(self.schema.live(key_id)).arg("-inf").arg(format!("({}", before.timestamp()));
        self.query(&self.shared, command).await
    }

    /// The calls with tokens that a key signed, in the hours since `from`, as far as they have been gathered.
    pub async fn calls_of_key(&self, key_id: &str, from: DateTime<Utc>) -> Result<CallsOfKey, StoreError> {
        let mut command = redis::cmd("HGETALL");
        let key = self.schema.key_calls(key_id);
        command.arg(&key);
        let fields: HashMap<String, String> = self.query(&*self.shared.at(&key).await?, command).await?;
        let first = from.timestamp().div_euclid(TimeDelta::hours(1).num_seconds());
        let sum = |outcome: &str| {
            let of_hour = |(name, count): (&String, &String)| {
                let hour: i64 = name.strip_prefix(outcome)?.strip_prefix(':')?.parse().ok()?;
                count.parse::<u64>().ok().filter(|_| hour >= first)
            };
            fields.iter().filter_map(of_hour).sum()
        };
        Ok(CallsOfKey { allowed: sum("allowed"), refused: sum("refused") })
    }
}
