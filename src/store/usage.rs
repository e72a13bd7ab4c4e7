//! Reading what the roll-ups say of an account's calls.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};

use super::{Store, StoreError};
use crate::account::AccountId;
use crate::audit::rollup::{AHEAD, DeadTokens, HourOfCalls, hour_of};

/// What the roll-ups say.
#[derive(Debug)]
pub struct RolledUp {
    /// The calls of each hour since 1970 that had any.
    pub hours: BTreeMap<i64, HourOfCalls>,
    /// Since when all calls are in there.
    pub since: DateTime<Utc>,
    /// Dead tokens that are used.
    pub dead: DeadTokens,
}

impl Store {
    /// What is known of an account's calls within these hours since 1970, as far as they are kept.
    pub async fn rolled_up(&self, account: AccountId, hours: RangeInclusive<i64>) -> Result<RolledUp, StoreError> {
        let now = self.clock.now();
        let oldest = self.oldest_hour(now);
        let kept = oldest.max(*hours.start())..=(*hours.end()).min(hour_of(now.timestamp_millis()) + AHEAD);
        let _turn = self.turn_to_read(&self.readers).await?;
        let mut pipeline = redis::pipe();
        pipeline.cmd("HMGET").arg(self.schema.usage(account)).arg("since").arg("events").arg("dead");
        if !kept.is_empty() {
            pipeline.cmd("HMGET").arg(self.schema.hours(account));
            for hour in kept.clone() {
                pipeline.arg(hour);
            }
        }
        let replies: Vec<Vec<Option<String>>> =
            self.pipeline(&*self.reads.at(&self.schema.usage(account)).await?, &pipeline).await?;
        let mut replies = replies.into_iter().map(Vec::into_iter);
        let mut fields = replies.next().unwrap_or_default();
        let mut field = || fields.next().flatten();
        let (since, events, dead) = (field(), field(), field());
        let since = match (since, events) {
            (Some(since), _) => since.parse().ok().and_then(DateTime::from_timestamp_millis),
            // Those calls came when there were no roll-ups.
            (None, Some(_)) => Some(now),
            (None, None) => Some(DateTime::UNIX_EPOCH),
        };
        let since = since.ok_or_else(|| StoreError::Corrupt(format!("the use of account {account}")))?;
        let first_kept = DateTime::from_timestamp(oldest * 3600, 0).unwrap_or_default();
        let read = |text: String| {
            let read = serde_json::from_str(&text).ok();
            read.ok_or_else(|| StoreError::Corrupt(format!("a roll-up of calls of account {account}")))
        };
        let hours = kept.zip(replies.next().unwrap_or_default());
        let hours = hours.filter_map(|(hour, text)| Some((hour, text?)));
        Ok(RolledUp {
            hours: hours.map(|(hour, text)| Ok((hour, read(text)?))).collect::<Result<_, StoreError>>()?,
            since: since.max(first_kept),
            dead: dead_tokens(account, dead.as_deref()),
        })
    }

    fn oldest_hour(&self, now: DateTime<Utc>) -> i64 {
        hour_of(now.timestamp_millis()) - self.options.retention.hours() + 1
    }
}

/// Dead tokens as they lie in the store. What can't be read is passed over: accounts are listed with it.
pub(super) fn dead_tokens(account: AccountId, stored: Option<&str>) -> DeadTokens {
    let Some(text) = stored else { return DeadTokens::default() };
    serde_json::from_str(text).unwrap_or_else(|_| {
        tracing::error!(%account, "what is kept of dead tokens that are used can't be read");
        DeadTokens::default()
    })
}
