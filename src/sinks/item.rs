use chrono::{DateTime, Utc};
use serde_json::json;

use crate::audit::{Event, Outcome};
use crate::clock::rfc3339;
use crate::store::Missed;

/// What is delivered.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event.
    Event(Box<Event>),
    /// That events were removed from the store before they could be delivered, and when that was seen.
    Missed(Missed, DateTime<Utc>),
}

/// The kind of an item that is no event.
const MISSED: &str = "sink.missed";

/// Severities of syslog (RFC 5424, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Informational = 6,
}

impl Item {
    /// One JSON object in one line. Written member by member from what was read: whoever can write to the store can't put a second
    /// line into it.
    pub(crate) fn json(&self) -> String {
        match self {
            // All of it is text, numbers and maps of them, which can be written.
            Self::Event(event) => serde_json::to_string(event).unwrap_or_default(),
            Self::Missed(Missed { stream, entries }, seen) => {
                json!({"kind": MISSED, "time": rfc3339::text(seen), "stream": stream, "entries": entries}).to_string()
            }
        }
    }

    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Event(event) => &event.kind,
            Self::Missed(..) => MISSED,
        }
    }

    /// The node that decided.
    pub(crate) fn node(&self) -> &str {
        match self {
            Self::Event(event) => &event.node,
            Self::Missed(..) => "",
        }
    }

    pub(crate) fn time(&self) -> &DateTime<Utc> {
        match self {
            Self::Event(event) => &event.time,
            Self::Missed(_, seen) => seen,
        }
    }

    pub(crate) fn severity(&self) -> Severity {
        match self {
            Self::Missed(..) => Severity::Error,
            Self::Event(event) => match event.outcome {
                Outcome::Allowed | Outcome::Done => Severity::Informational,
                Outcome::Refused => Severity::Notice,
                Outcome::Failed => Severity::Warning,
            },
        }
    }

    /// Of how many events it tells that they were delivered.
    pub(crate) fn events(&self) -> u64 {
        u64::from(matches!(self, Self::Event(_)))
    }

    /// Of how many entries it tells that they were not.
    pub(crate) fn missed(&self) -> u64 {
        match self {
            Self::Event(_) => 0,
            Self::Missed(missed, _) => missed.entries,
        }
    }
}
