use serde::{Deserialize, Serialize};

use super::{HOURS, Seen, hour_of};
use crate::audit::Outcome;
use crate::token::TokenId;

/// The most that are kept of an account.
const MOST: usize = 16;
/// The most characters of an address or an agent.
const LENGTH: usize = 160;

/// Genuine tokens of an account that are dead, and were used all the same (protocols, section 7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeadTokens(Vec<DeadToken>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadToken {
    /// Its name.
    #[serde(rename = "i")]
    pub token_id: TokenId,
    /// Its generation.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Why it was refused last.
    #[serde(rename = "r")]
    pub reason: String,
    /// How often it was used since it was first noticed.
    #[serde(rename = "n")]
    pub count: u64,
    /// When that was, in milliseconds.
    #[serde(rename = "f")]
    pub first: i64,
    /// When it was last used, in milliseconds.
    #[serde(rename = "t")]
    pub last: i64,
    /// From where last.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// By what last.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

fn is_dead(reason: &str) -> bool {
    matches!(reason, "expired" | "superseded" | "revoked" | "revoked_key" | "disabled" | "unknown_account")
}

impl DeadTokens {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &DeadToken> {
        self.0.iter()
    }

    /// Takes in a call, whatever became of it: whether anything has changed.
    pub fn take(&mut self, call: &Seen<'_>) -> bool {
        let Some(token_id) = call.token_id else { return false };
        if call.outcome == Outcome::Allowed {
            // Its account was disabled, and is not any more.
            let before = self.0.len();
            self.0.retain(|token| token.token_id != token_id || token.last > call.time);
            return self.0.len() != before;
        }
        let Some(reason) = call.reason.filter(|reason| is_dead(reason)) else { return false };
        let text = |text: Option<&str>| text.map(|text| text.chars().take(LENGTH).collect::<String>());
        let mut newest = DeadToken {
            token_id,
            generation: call.generation,
            reason: reason.to_owned(),
            count: 1,
            first: call.time,
            last: call.time,
            client_address: text(call.client_address),
            user_agent: text(call.user_agent),
        };
        if let Some(known) = self.0.iter_mut().find(|token| token.token_id == token_id) {
            known.count += 1;
            known.first = known.first.min(call.time);
            if known.last <= call.time {
                (newest.count, newest.first) = (known.count, known.first);
                *known = newest;
            }
        } else if self.0.len() < MOST {
            self.0.push(newest);
        } else {
            // First one that nobody has used for long, then the rarest: tokens that are made up with a stolen key are used once.
            let is_in_use = |token: &DeadToken| hour_of(token.last) > hour_of(call.time) - HOURS;
            let goes = self.0.iter_mut().min_by_key(|token| match is_in_use(token) {
                false => (false, 0, token.last),
                true => (true, token.count, token.last),
            });
            if let Some(goes) = goes {
                *goes = newest;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(token: u64, reason: Option<&'a str>, time: i64, address: &'a str) -> Seen<'a> {
        Seen {
            time,
            outcome: if reason.is_some() { Outcome::Refused } else { Outcome::Allowed },
            reason,
            token_id: Some(TokenId::of_jti(&token.to_string())),
            generation: Some(token),
            method: None,
            path: None,
            client_address: Some(address),
            user_agent: Some("curl"),
        }
    }

    #[test]
    fn a_token_is_dead_until_it_lives_again_and_what_came_last_is_told() {
        let mut dead = DeadTokens::default();
        assert!(!dead.take(&call(1, Some("insufficient_permission"), 1, "a")));
        assert!(!dead.take(&call(1, None, 2, "a")));
        for (reason, time, address) in [("superseded", 10, "late"), ("expired", 30, "last"), ("disabled", 20, "before")]
        {
            assert!(dead.take(&call(1, Some(reason), time, address)));
        }
        let token = dead.iter().next().unwrap();
        assert_eq!((token.count, token.first, token.last, token.reason.as_str()), (3, 10, 30, "expired"));
        assert_eq!((token.client_address.as_deref(), token.generation), (Some("last"), Some(1)));
        let stored = serde_json::to_string(&dead).unwrap();
        assert_eq!(serde_json::from_str::<DeadTokens>(&stored).unwrap(), dead);
        // An old success that comes late says nothing.
        assert!(!dead.take(&call(1, None, 29, "a")));
        assert!(dead.take(&call(1, None, 31, "a")) && dead.is_empty());
    }

    #[test]
    fn made_up_tokens_push_out_one_another_and_not_what_is_used_often() {
        let mut dead = DeadTokens::default();
        for time in 0..3 {
            dead.take(&call(1, Some("superseded"), time, "a"));
        }
        for token in 2..500 {
            dead.take(&call(token, Some("superseded"), 10, "b"));
        }
        assert_eq!(dead.iter().len(), MOST);
        assert!(dead.iter().any(|token| token.generation == Some(1) && token.count == 3));
        // Unless nobody uses it any more.
        let later = HOURS * 3_600_000 + 3_600_001;
        for token in 500..500 + MOST as u64 {
            dead.take(&call(token, Some("superseded"), later, "b"));
        }
        assert!(dead.iter().all(|token| token.last == later));
    }
}
