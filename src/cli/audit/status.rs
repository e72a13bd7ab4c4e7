//! `audit status`: what is proven of the audit, what is missing, how far those have come who read it.

use reqwest::Method;
use serde_json::Value;

use crate::cli::Output;
use crate::cli::answer::{Answer, Exit, Failure};
use crate::cli::client::{Call, Session};
use crate::cli::json::indent;
use crate::cli::table::{details, or_dash, second, table, text};

/// Does what the command says. Exit code 1: something that was signed is not there, or the last checkpoint is none.
pub async fn run(session: &Session) -> Result<Answer, Failure> {
    let reply = session.client.call(Call::new(Method::GET, &["audit", "status"])).await?;
    let answer = match session.output {
        Output::Json => Answer::yes(indent(&reply.text)?),
        Output::Table => Answer::yes(told(&reply.body)),
    };
    Ok(answer.with_exit(if is_whole(&reply.body) { Exit::Yes } else { Exit::No }))
}

fn rows<'a>(status: &'a Value, name: &str) -> &'a [Value] {
    status.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn is_whole(status: &Value) -> bool {
    let checkpoint = status.get("checkpoint").filter(|checkpoint| !checkpoint.is_null());
    let is_missing = |chain: &Value| text(chain, "state") == "missing";
    checkpoint.is_none_or(|checkpoint| checkpoint.get("verified") == Some(&Value::Bool(true)))
        && rows(status, "lost").is_empty()
        && !rows(status, "chains").iter().any(is_missing)
}

fn told(status: &Value) -> String {
    let mut parts = vec![checkpoint(status)];
    let mut part = |headings: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            parts.push(table(headings, rows));
        }
    };
    let lost = rows(status, "lost").iter();
    let lost = lost.map(|lost| vec![text(lost, "node"), text(lost, "block"), second(&text(lost, "noticed_at"))]);
    part(&["LOST BLOCK OF", "NUMBER", "NOTICED (UTC)"], lost.collect());
    let chains = rows(status, "chains").iter().map(|chain| {
        vec![
            text(chain, "node"),
            text(chain, "block"),
            or_dash(text(chain, "signed_block")),
            text(chain, "events"),
            or_dash(second(&text(chain, "written_at"))),
            text(chain, "state"),
        ]
    });
    part(&["NODE", "BLOCK", "SIGNED", "EVENTS", "WRITTEN (UTC)", "STATE"], chains.collect());
    let streams = rows(status, "streams").iter().map(|stream| {
        vec![
            text(stream, "name"),
            text(stream, "entries"),
            text(stream, "removed"),
            or_dash(second(&text(stream, "last_at"))),
            seconds(stream, "activity_lag_seconds"),
            archive(stream.get("archive").unwrap_or(&Value::Null)),
        ]
    });
    part(&["STREAM", "ENTRIES", "REMOVED", "LAST (UTC)", "ACTIVITY LAG", "ARCHIVE"], streams.collect());
    let sinks = rows(status, "sinks").iter().map(|sink| {
        let is_delivered = sink.get("is_delivered") == Some(&Value::Bool(true));
        vec![
            text(sink, "name"),
            or_dash(text(sink, "behind_entries")),
            seconds(sink, "lag_seconds"),
            if is_delivered { "delivered" } else { "nobody delivers it now" }.to_owned(),
        ]
    });
    part(&["SINK", "BEHIND", "LAG", "STATE"], sinks.collect());
    parts.join("\n\n")
}

fn checkpoint(status: &Value) -> String {
    let Some(checkpoint) = status.get("checkpoint").filter(|checkpoint| !checkpoint.is_null()) else {
        return "Nothing is signed yet.".to_owned();
    };
    let problem = text(checkpoint, "problem");
    details(&[
        ("checkpoint", or_dash(text(checkpoint, "number"))),
        ("signed", format!("{}, {} ago", second(&text(checkpoint, "time")), seconds(checkpoint, "age_seconds"))),
        ("key", or_dash(text(checkpoint, "key_id"))),
        ("signature", if problem.is_empty() { "genuine".to_owned() } else { problem }),
        ("over", format!("{} chains, {} acts", text(checkpoint, "chains"), text(checkpoint, "acts"))),
        ("acts on their way", text(status, "unlinked_acts")),
    ])
}

fn seconds(of: &Value, name: &str) -> String {
    format!("{} s", of.get(name).and_then(Value::as_u64).unwrap_or_default())
}

fn archive(archive: &Value) -> String {
    match archive.get("is_on") {
        Some(Value::Bool(true)) => {
            let segment = text(archive, "segment");
            format!("segment {segment}, {} not archived", seconds(archive, "lag_seconds"))
        }
        Some(_) => "ended".to_owned(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "checkpoint": {
                "number": 87, "time": "2027-05-23T14:00:05Z", "age_seconds": 3, "key_id": "kid", "chains": 2, "acts": 12,
                "verified": true, "problem": null,
            },
            "unlinked_acts": 0,
            "chains": [
                { "node": "node-1", "block": 9, "signed_block": 8, "events": 70, "written_at": "2027-05-23T14:00:06Z", "state": "waiting" },
            ],
            "lost": [],
            "streams": [{
                "name": "0", "entries": 9, "removed": 2, "last_at": "2027-05-23T14:00:06Z", "activity_lag_seconds": 0,
                "archive": { "is_on": true, "segment": 4, "lag_seconds": 60 },
            }],
            "sinks": [{ "name": "siem", "behind_entries": 3, "lag_seconds": 12, "is_delivered": false }],
        })
    }

    #[test]
    fn how_the_audit_stands_is_told_in_tables() {
        let text = told(&status());
        for expected in [
            "2027-05-23 14:00:05, 3 s ago",
            "2 chains, 12 acts",
            "node-1  9      8       70      2027-05-23 14:00:06  waiting",
            "segment 4, 60 s not archived",
            "siem  3       12 s  nobody delivers it now",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert_eq!(told(&json!({ "checkpoint": null })), "Nothing is signed yet.");
    }

    #[test]
    fn it_is_whole_as_long_as_nothing_that_was_signed_is_missing() {
        assert!(is_whole(&status()) && is_whole(&json!({ "checkpoint": null })));
        let mut unverified = status();
        unverified["checkpoint"]["verified"] = false.into();
        let mut missing = status();
        missing["chains"][0]["state"] = "missing".into();
        let mut lost = status();
        lost["lost"] = json!([{ "node": "n", "block": 1, "noticed_at": "2027-05-23T14:00:06Z" }]);
        for bad in [unverified, missing, lost] {
            assert!(!is_whole(&bad), "{bad}");
        }
    }
}
