//! Events that were read from the firehose, by the account that they concern.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use redis::Value;
use redis::streams::StreamId;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::account::AccountId;
use crate::audit::{Event, Outcome, kinds};
use crate::token::TokenId;

/// The longest that events wait to be written together.
const LONGEST: Duration = Duration::from_secs(2);
/// Each event is worth waiting so long: a few are written at once, many in large groups, which cost no more.
const EACH: Duration = Duration::from_millis(1);
/// The most bytes that wait.
const BYTES: usize = 32 * 1024 * 1024;

/// What was read and is to be written.
#[derive(Default)]
pub(super) struct Gathered {
    /// By shard and account.
    pub(super) concerned: HashMap<(u16, AccountId), Concerned>,
    /// Entries of each shard, to be acknowledged once all that is written.
    pub(super) read: BTreeMap<u16, Vec<String>>,
    since: Option<Instant>,
    events: u32,
    bytes: usize,
}

/// The events of one account from one shard, in order.
#[derive(Default)]
pub(super) struct Concerned {
    /// By the batch that they came in.
    pub(super) parts: Vec<Part>,
    /// Where the last call with a good token is: in which part, and where in its lines.
    used: Option<(usize, usize)>,
}

/// Those of one batch.
pub(super) struct Part {
    /// The batch's id in the shard.
    pub(super) entry: String,
    pub(super) count: usize,
    pub(super) lines: String,
}

/// What of an event decides where it goes. We have written these texts: nothing in them is escaped.
#[derive(Deserialize)]
struct Concern<'a> {
    kind: &'a str,
    outcome: Outcome,
    account_id: Option<&'a str>,
    actor_id: Option<&'a str>,
    token_id: Option<IgnoredAny>,
}

impl Gathered {
    /// Whether it is time to write them.
    pub(super) fn is_due(&self) -> bool {
        let waits = self.since.map(|since| since.elapsed());
        waits.is_some_and(|waits| self.bytes >= BYTES || waits >= (EACH * self.events).min(LONGEST))
    }

    /// Takes in an entry of a shard. Of it the lines that can't be read are left out.
    pub(super) fn take(&mut self, shard: u16, entry: &StreamId) {
        self.since.get_or_insert_with(Instant::now);
        self.read.entry(shard).or_default().push(entry.id.clone());
        let lines = match entry.map.get("e") {
            Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).unwrap_or("?"),
            _ => "?",
        };
        for line in lines.lines() {
            if self.take_line(shard, &entry.id, line).is_none() {
                tracing::error!(
                    shard,
                    entry = entry.id,
                    "an unreadable event of the firehose is left out of the activity logs"
                );
            }
        }
    }

    fn take_line(&mut self, shard: u16, entry: &str, line: &str) -> Option<()> {
        let concern: Concern<'_> = serde_json::from_str(line).ok()?;
        let read = |id: Option<&str>| id.map(|id| id.parse::<AccountId>().ok());
        let (account, actor) = (read(concern.account_id), read(concern.actor_id));
        let is_use = concern.kind == kinds::CALL && concern.outcome == Outcome::Allowed && concern.token_id.is_some();
        if let Some(account) = account {
            self.concerned.entry((shard, account?)).or_default().push(entry, line, is_use);
        }
        if let Some(actor) = actor.filter(|actor| Some(actor) != account.as_ref()) {
            self.concerned.entry((shard, actor?)).or_default().push(entry, line, false);
        }
        self.events = self.events.saturating_add(1);
        self.bytes += line.len();
        Some(())
    }
}

impl Concerned {
    fn push(&mut self, entry: &str, line: &str, is_use: bool) {
        if self.parts.last().is_none_or(|last| last.entry != entry) {
            self.parts.push(Part { entry: entry.to_owned(), count: 0, lines: String::new() });
        }
        let index = self.parts.len() - 1;
        let Some(part) = self.parts.last_mut() else { return };
        if is_use {
            self.used = Some((index, part.lines.len()));
        }
        part.count += 1;
        part.lines.push_str(line);
        part.lines.push('\n');
    }

    /// The last call with a good token: when, in milliseconds, and with which one.
    pub(super) fn used(&self) -> Option<(i64, TokenId)> {
        let (part, place) = self.used?;
        let line = self.parts.get(part)?.lines.get(place..)?.lines().next()?;
        let event = Event::from_line(line)?;
        Some((event.time.timestamp_millis(), event.token_id?))
    }
}
