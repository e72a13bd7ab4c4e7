//! All calls, by the minute and by the hour. Each shard of the firehose has counts of its own, which the filler of the activity logs
//! adds to, once for each call.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::schema::SHARDS;
use super::{Store, StoreError};
use crate::audit::Outcome;

pub(super) const MINUTE_MS: i64 = 60_000;
/// Minutes that are kept: an hour, and what is on its way.
pub(super) const MINUTES_KEPT: i64 = 120;
/// Hours that are kept: a day, and the hours at its ends.
pub(super) const HOURS_KEPT: i64 = 26;
/// How long counts are kept after the last call.
pub(super) const KEPT: Duration = Duration::from_secs(27 * 3600);
/// How far a node's clock may be ahead of the store's and be believed, in minutes.
const AHEAD: i64 = 30;
/// What a call can have come to.
const OUTCOMES: [Outcome; 3] = [Outcome::Allowed, Outcome::Refused, Outcome::Failed];

/// How many calls came to what. Calls without a genuine token are not among them: they are only counted in the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CallCounts {
    /// Let through.
    pub allowed: u64,
    /// Refused.
    pub refused: u64,
    /// Let through, and failed for a fault of the service.
    pub failed: u64,
}

impl CallCounts {
    fn of(&mut self, outcome: &str) -> Option<&mut u64> {
        match outcome {
            "allowed" => Some(&mut self.allowed),
            "refused" => Some(&mut self.refused),
            "failed" => Some(&mut self.failed),
            _ => None,
        }
    }
}

/// Calls by the time in which they were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallsInTime {
    /// By the minute since 1970; only those with calls.
    pub minutes: BTreeMap<i64, CallCounts>,
    /// By the hour since 1970.
    pub hours: BTreeMap<i64, CallCounts>,
}

impl CallsInTime {
    fn take(&mut self, fields: &HashMap<String, String>) {
        for (field, count) in fields {
            let Some((name, number)) = field.split_once(':') else { continue };
            let (Ok(number), Ok(count)) = (number.parse::<i64>(), count.parse::<u64>()) else { continue };
            let counts = match name.strip_suffix("_minute") {
                Some(_) => self.minutes.entry(number).or_default(),
                None if name == "mark" => continue,
                None => self.hours.entry(number).or_default(),
            };
            if let Some(total) = counts.of(name.strip_suffix("_minute").unwrap_or(name)) {
                *total += count;
            }
        }
    }
}

/// The field of a minute's calls.
pub(super) fn minute_field(outcome: Outcome, minute: i64) -> String {
    format!("{}_minute:{minute}", outcome.as_str())
}

/// The field of an hour's calls.
pub(super) fn hour_field(outcome: Outcome, hour: i64) -> String {
    format!("{}:{hour}", outcome.as_str())
}

/// By the name of a field, the lowest number of it that is kept.
pub(super) fn oldest_kept(hour: i64, minute: i64) -> Value {
    OUTCOMES
        .into_iter()
        .flat_map(|outcome| {
            let name = outcome.as_str();
            [(name.to_owned(), json!(hour - HOURS_KEPT)), (format!("{name}_minute"), json!(minute - MINUTES_KEPT))]
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The minute of a call, by what its node says and by when it came into the store: a clock that is far ahead is not believed.
pub(super) fn sane_minute(told: i64, written: i64) -> i64 {
    if told > written + AHEAD { written } else { told }
}

impl Store {
    /// All calls that are counted by now: of the last two hours by the minute, of the last day by the hour.
    pub async fn calls(&self) -> Result<CallsInTime, StoreError> {
        let of_shard = |shard| {
            let key = self.schema.shard_calls(shard);
            let mut command = redis::cmd("HGETALL");
            command.arg(&key);
            (key, command)
        };
        let shards: Vec<HashMap<String, String>> = self.each(&self.reads, (0..SHARDS).map(of_shard).collect()).await?;
        let mut calls = CallsInTime::default();
        for fields in &shards {
            calls.take(fields);
        }
        Ok(calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_are_written() {
        let fields = |outcome, count: u64| {
            [(minute_field(outcome, 61), count.to_string()), (hour_field(outcome, 1), (10 * count).to_string())]
        };
        let mut calls = CallsInTime::default();
        for (outcome, count) in OUTCOMES.into_iter().zip(1..) {
            calls.take(&fields(outcome, count).into());
        }
        calls.take(
            &[("mark:2", "1-0"), ("other:1", "5"), ("allowed:x", "5"), ("x", "5")]
                .map(|(a, b)| (a.into(), b.into()))
                .into(),
        );
        let counts = |by| CallCounts { allowed: by, refused: 2 * by, failed: 3 * by };
        assert_eq!(calls.minutes, BTreeMap::from([(61, counts(1))]));
        assert_eq!(calls.hours, BTreeMap::from([(1, counts(10))]));
    }

    #[test]
    fn a_clock_that_is_far_ahead_is_not_believed() {
        assert_eq!(
            [sane_minute(100, 100), sane_minute(50, 100), sane_minute(130, 100), sane_minute(131, 100)],
            [100, 50, 130, 100]
        );
    }
}
