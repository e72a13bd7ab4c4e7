//! What each door has to say to each row.

use serde_json::json;

use super::bench::{Expected, Row};
use super::door::Door;
use crate::app::Answer;

/// What comes before the signature is proven: one and the same outside.
pub const UNPROVEN: [&str; 5] = ["malformed", "too_large", "unsupported_algorithm", "unknown_key", "bad_signature"];

/// What has to be decided about a row at a door, and what has to be counted.
pub fn verdict(row: &Row, door: Door) -> (&'static str, Vec<(&'static str, u64)>) {
    let in_header = |c: char| c.is_ascii() && !matches!(c, ' ' | ',' | '\t');
    let unusable = if door.takes_bearer() {
        // More than one space after the scheme is as good as one.
        let token = row.token.trim_start_matches(' ');
        token.is_empty() || !token.chars().all(in_header)
    } else {
        door != Door::Basic && row.token.is_empty()
    };
    let verdict = match row.expected {
        _ if unusable => "invalid_request",
        Expected::Refused(reason) => reason,
        Expected::OtherAudience if door.wants_own_audience() => "wrong_audience",
        Expected::OtherAudience | Expected::Allowed => "allowed",
    };
    // Introspection decides twice: about its caller, and about what he asks.
    let counted = match (verdict, door) {
        ("allowed", Door::Caller | Door::Basic | Door::Introspect) => vec![("allowed", 2)],
        (_, Door::Introspect) => vec![("allowed", 1), (verdict, 1)],
        // Whose it is is found out first, and then it is refused.
        (_, Door::Exposed) if !unusable => vec![(verdict, 1), ("invalid_request", 1)],
        _ => vec![(verdict, 1)],
    };
    (verdict, counted)
}

/// The reason in the event, where there is one. Of what can't be understood there is none, and of garbage that somebody was
/// asked about only the asker's.
pub fn recorded(door: Door, verdict: &'static str) -> Option<Option<&'static str>> {
    let unproven = UNPROVEN.contains(&verdict);
    match (verdict, door) {
        ("invalid_request", _) => None,
        (_, Door::Introspect) if unproven => None,
        (_, Door::Exposed) if !unproven => Some(Some("invalid_request")),
        ("allowed", _) => Some(None),
        (reason, _) => Some(Some(reason)),
    }
}

/// Whether a door has said that. `Err`: what it said instead.
pub fn check(answer: &Answer, door: Door, verdict: &'static str) -> Result<(), String> {
    let said = |ok: bool| if ok { Ok(()) } else { Err(format!("{answer:?}")) };
    if verdict == "invalid_request" || door == Door::Exposed {
        let status = if door == Door::Verify { 401 } else { 400 };
        return said(answer.status == status && answer.reason() == "invalid_request");
    }
    match door {
        Door::Introspect if verdict == "allowed" => said(answer.status == 200 && answer["active"] == true),
        Door::Introspect => said(answer.status == 200 && answer.json == json!({ "active": false })),
        Door::Revoke => said(answer.status == 200 && answer.text.is_empty()),
        // Authority is what the state says, whatever stands in the token.
        Door::Verify if verdict == "allowed" => {
            said(answer.status == 200 && answer.header("x-countermark-role") == "everything")
        }
        _ if verdict == "allowed" => said(answer.status == 200),
        _ => {
            let outside = if UNPROVEN.contains(&verdict) { "invalid_token" } else { verdict };
            let challenge = match door {
                Door::Basic => r#"Basic realm="countermark", charset="UTF-8""#,
                _ => r#"Bearer realm="countermark", error="invalid_token", error_description=""#,
            };
            let challenged = answer.header("www-authenticate").starts_with(challenge);
            said(answer.status == 401 && answer.reason() == outside && challenged)
        }
    }
}
