//! Roll-ups: what is kept of an account's calls by the hour, so that nobody has to read them again to know who makes them, from
//! where. Their size is bounded, whatever stands in the calls.

mod dead;
mod top;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

pub use dead::{DeadToken, DeadTokens};
pub use top::{Estimate, KEPT, Top, Union};

use super::Outcome;
use crate::token::TokenId;

/// How many hours are kept, the present one among them.
pub const HOURS: i64 = 7 * 24;
/// How far a node's clock may be ahead of the store's and be believed, in hours.
pub const AHEAD: i64 = 24;
const HOUR_MS: i64 = TimeDelta::hours(1).num_milliseconds();

/// What a roll-up takes in of one call. Texts are borrowed from its line.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// When, in milliseconds.
    pub time: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused.
    pub reason: Option<&'a str>,
    /// The token.
    pub token_id: Option<TokenId>,
    /// Its generation.
    pub generation: Option<u64>,
    /// The method of the request.
    pub method: Option<&'a str>,
    /// Its path.
    pub path: Option<&'a str>,
    /// Where it came from.
    pub client_address: Option<&'a str>,
    /// What the client says it is.
    pub user_agent: Option<&'a str>,
}

/// The hour since 1970 in which a moment lies, given in milliseconds.
pub fn hour_of(time: i64) -> i64 {
    time.div_euclid(HOUR_MS)
}

/// When an event was, by what its node says and by when it came into the store, both in milliseconds: a clock that is days ahead is
/// not believed. `None`: so long ago that no roll-up is kept of it.
pub fn sane_time(told: i64, written: i64) -> Option<i64> {
    let time = if hour_of(told) > hour_of(written) + AHEAD { written } else { told };
    (hour_of(time) > hour_of(written) - HOURS).then_some(time)
}

/// The calls of one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourOfCalls {
    /// Let through.
    #[serde(default)]
    pub allowed: u64,
    /// Refused, or failed.
    #[serde(default)]
    pub refused: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Top::is_empty")]
    pub reasons: Top,
    /// Who was let through.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub by_allowed: Origins,
    /// Who was refused. Apart: whoever has a dead token can write there what he likes, and push nobody else out.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub by_refused: Origins,
}

/// Who made calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    /// Client addresses.
    #[serde(default, skip_serializing_if = "Top::is_empty")]
    pub addresses: Top,
    /// User agents.
    #[serde(default, skip_serializing_if = "Top::is_empty")]
    pub user_agents: Top,
    /// `METHOD /path`.
    #[serde(default, skip_serializing_if = "Top::is_empty")]
    pub paths: Top,
}

impl Origins {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.user_agents.is_empty() && self.paths.is_empty()
    }
}

impl HourOfCalls {
    /// Takes in a call of this hour.
    pub fn take(&mut self, call: &Seen<'_>) {
        let origins = if call.outcome == Outcome::Allowed {
            self.allowed += 1;
            &mut self.by_allowed
        } else {
            self.refused += 1;
            if let Some(reason) = call.reason {
                self.reasons.take(reason, call.time);
            }
            &mut self.by_refused
        };
        if let Some(address) = call.client_address {
            origins.addresses.take(address, call.time);
        }
        if let Some(agent) = call.user_agent {
            origins.user_agents.take(agent, call.time);
        }
        if let (Some(method), Some(path)) = (call.method, call.path) {
            origins.paths.take_parts([method, " ", path], call.time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_ahead_is_not_believed_and_what_is_too_old_is_not_counted() {
        let written = 500_000 * HOUR_MS + 5;
        assert_eq!(sane_time(written - 3, written), Some(written - 3));
        assert_eq!(sane_time(written + AHEAD * HOUR_MS, written), Some(written + AHEAD * HOUR_MS));
        assert_eq!(sane_time(written + (AHEAD + 1) * HOUR_MS, written), Some(written));
        assert_eq!(sane_time(written - (HOURS - 1) * HOUR_MS, written), Some(written - (HOURS - 1) * HOUR_MS));
        assert_eq!(sane_time(written - HOURS * HOUR_MS, written), None);
    }

    #[test]
    fn whoever_is_refused_pushes_nobody_out_who_is_let_through() {
        let mut hour = HourOfCalls::default();
        fn call(outcome: Outcome, text: &str) -> Seen<'_> {
            Seen {
                time: 1,
                outcome,
                reason: None,
                token_id: None,
                generation: None,
                method: Some("GET"),
                path: Some(text),
                client_address: Some(text),
                user_agent: Some(text),
            }
        }
        hour.take(&call(Outcome::Allowed, "ours"));
        let flood: Vec<String> = (0..1_000).map(|number| format!("/{number}")).collect();
        for text in &flood {
            hour.take(&call(Outcome::Refused, text));
        }
        assert_eq!((hour.allowed, hour.refused), (1, 1_000));
        let Origins { addresses, user_agents, paths } = &hour.by_allowed;
        for (top, value) in [(addresses, "ours"), (user_agents, "ours"), (paths, "GET ours")] {
            let values: Vec<_> = top.values().collect();
            assert_eq!(values, [value]);
        }
        let stored = serde_json::to_string(&hour).unwrap();
        assert_eq!(serde_json::from_str::<HourOfCalls>(&stored).unwrap(), hour);
        assert_eq!(serde_json::to_string(&HourOfCalls::default()).unwrap(), r#"{"allowed":0,"refused":0}"#);
    }
}
