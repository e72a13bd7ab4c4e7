//! Calls of the last hour and the last day.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::authority::{Authority, Error};
use crate::clock::rfc3339;
use crate::store::CallCounts;

const MINUTES: i64 = 60;
const HOURS: i64 = 24;

/// Calls with genuine tokens, by what they came to. Those of the present minute and hour are not all there yet; nodes tell of calls
/// some seconds late, see `activity_lag_seconds`. Nothing is counted where calls are not recorded.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CallsOverview {
    /// The last 60 minutes, the present one last.
    pub minutes: Vec<CallsAt>,
    /// The last 24 hours, the present one last.
    pub hours: Vec<CallsAt>,
}

/// Calls of a minute or an hour.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CallsAt {
    /// Its beginning.
    #[serde(with = "rfc3339")]
    pub from: DateTime<Utc>,
    /// The calls.
    #[serde(flatten)]
    pub calls: CallCounts,
}

impl Authority {
    pub(super) async fn calls_overview(&self) -> Result<CallsOverview, Error> {
        let calls = self.store.calls().await?;
        let now = self.clock.now();
        Ok(CallsOverview {
            minutes: last(MINUTES, 60, now, &calls.minutes),
            hours: last(HOURS, 3600, now, &calls.hours),
        })
    }
}

/// So many units of so many seconds, also those without calls.
fn last(units: i64, seconds: i64, now: DateTime<Utc>, calls: &BTreeMap<i64, CallCounts>) -> Vec<CallsAt> {
    let present = now.timestamp().div_euclid(seconds);
    let at = |unit: i64| CallsAt {
        from: DateTime::from_timestamp(unit * seconds, 0).unwrap_or_default(),
        calls: calls.get(&unit).copied().unwrap_or_default(),
    };
    (present - units + 1..=present).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_without_calls_are_told_too_and_the_present_one_is_the_last() {
        let now = DateTime::from_timestamp(1_700_000_030, 0).unwrap();
        let minute = 1_700_000_030 / 60;
        let counts = CallCounts { allowed: 3, ..CallCounts::default() };
        let calls =
            BTreeMap::from([(minute, counts), (minute - 59, counts), (minute - 60, counts), (minute + 1, counts)]);
        let told = last(MINUTES, 60, now, &calls);
        assert_eq!(told.len(), 60);
        assert_eq!(told.iter().map(|at| at.calls.allowed).sum::<u64>(), 6);
        assert_eq!((told[0].calls, told[59].calls), (counts, counts));
        assert_eq!(told[59].from.timestamp(), minute * 60);
    }
}
