//! Events that were read from the firehose, by the account that they concern.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use memchr::memmem;
use redis::Value;
use redis::streams::StreamId;

use crate::account::AccountId;
use crate::audit::{Outcome, kinds};
use crate::token::TokenId;

/// The longest that events wait to be written together.
const LONGEST: Duration = Duration::from_secs(2);
/// Each event is worth waiting so long: a few are written at once, many in large groups, which cost no more.
const EACH: Duration = Duration::from_millis(1);
/// Lines that are read at once; calls are answered in between. Under load a turn comes once in some sixty of theirs, so this
/// must be far more than they bring meanwhile.
const AT_ONCE: usize = 512;
/// The most bytes that wait.
const BYTES: usize = 32 * 1024 * 1024;

/// What was read and is to be written.
#[derive(Default)]
pub(super) struct Gathered {
    /// By shard and account.
    pub(super) concerned: HashMap<(u16, AccountId), Concerned>,
    /// By shard and signing key.
    pub(super) calls: Vec<CallsOfKey>,
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
    /// The last call with a good token.
    used: Option<(Arc<Batch>, Range<usize>)>,
}

/// Those of one batch.
pub(super) struct Part {
    batch: Arc<Batch>,
    /// Where they lie in it.
    places: Vec<Range<usize>>,
}

/// Calls from one shard with tokens that one key signed. There are few of these.
pub(super) struct CallsOfKey {
    pub(super) shard: u16,
    pub(super) key_id: String,
    /// By the batch that they came in, in order: how many were let through, and refused.
    batches: Vec<(Arc<Batch>, u64, u64)>,
}

impl CallsOfKey {
    /// Each batch's id in the shard, with how many were let through, and refused.
    pub(super) fn batches(&self) -> impl ExactSizeIterator<Item = (&str, u64, u64)> {
        self.batches.iter().map(|(batch, allowed, refused)| (batch.id.as_str(), *allowed, *refused))
    }
}

/// An entry of a shard.
struct Batch {
    id: String,
    lines: String,
}

/// What of an event decides where it goes.
struct Concern<'a> {
    kind: &'a str,
    outcome: &'a str,
    account: Option<&'a str>,
    actor: Option<&'a str>,
    has_token: bool,
    key_id: Option<&'a str>,
}

impl<'a> Concern<'a> {
    /// Of a line that we have written. Each is read on its way into a log, so it is not taken apart.
    fn of(line: &'a str) -> Option<Self> {
        let line = ours(line)?;
        Some(Self {
            kind: member(line, "\"kind\":\"")?,
            outcome: member(line, "\"outcome\":\"")?,
            account: member(line, "\"account_id\":\""),
            actor: member(line, "\"actor_id\":\""),
            has_token: member(line, TOKEN).is_some(),
            key_id: member(line, "\"key_id\":\""),
        })
    }
}

const TOKEN: &str = "\"token_id\":\"";

/// The members that every event may have, of a line that we have written; what an act adds comes last.
fn ours(line: &str) -> Option<&str> {
    let line = line.strip_prefix('{')?.strip_suffix('}')?;
    line.get(..memmem::find(line.as_bytes(), b",\"details\":").unwrap_or(line.len()))
}

/// The value of the member that begins so, in one of [`ours`]. The texts that are not ours have their quotation marks escaped there, so that a
/// member's name can stand nowhere else; only values in which nothing is escaped are asked for.
fn member<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    let at = memmem::find(line.as_bytes(), start.as_bytes())?;
    line.get(at + start.len()..)?.split('"').next()
}

impl Gathered {
    /// Whether it is time to write them.
    pub(super) fn is_due(&self) -> bool {
        let waits = self.since.map(|since| since.elapsed());
        waits.is_some_and(|waits| self.bytes >= BYTES || waits >= (EACH * self.events).min(LONGEST))
    }

    /// Takes in an entry of a shard, but for lines that don't say what they concern.
    pub(super) async fn take(&mut self, shard: u16, mut entry: StreamId) {
        self.since.get_or_insert_with(Instant::now);
        self.read.entry(shard).or_default().push(entry.id.clone());
        let lines = match entry.map.remove("e") {
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes).unwrap_or_else(|_| "?".to_owned()),
            _ => "?".to_owned(),
        };
        let batch = Arc::new(Batch { id: entry.id, lines });
        let (mut start, mut number) = (0, 0);
        while start < batch.lines.len() {
            let rest = batch.lines.as_bytes().get(start..).unwrap_or_default();
            let place = start..start + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            start = place.end + 1;
            number += 1;
            if number % AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            if self.take_line(shard, &batch, place).is_none() {
                let entry = &batch.id;
                tracing::error!(shard, entry, "an unreadable event of the firehose is left out of the activity logs");
            }
        }
    }

    fn take_line(&mut self, shard: u16, batch: &Arc<Batch>, place: Range<usize>) -> Option<()> {
        let concern = Concern::of(batch.lines.get(place.clone())?)?;
        let read = |id: Option<&str>| id.map(|id| id.parse::<AccountId>().ok());
        let (account, actor) = (read(concern.account), read(concern.actor));
        if let Some(key_id) = concern.key_id.filter(|_| concern.kind == kinds::CALL) {
            self.count_call(shard, key_id, batch, concern.outcome == Outcome::Allowed.as_str());
        }
        let is_use = concern.kind == kinds::CALL && concern.outcome == Outcome::Allowed.as_str() && concern.has_token;
        self.events = self.events.saturating_add(1);
        self.bytes += place.len();
        if let Some(account) = account {
            self.concerned.entry((shard, account?)).or_default().push(batch, place.clone(), is_use);
        }
        if let Some(actor) = actor.filter(|actor| Some(actor) != account.as_ref()) {
            self.concerned.entry((shard, actor?)).or_default().push(batch, place, false);
        }
        Some(())
    }
}

impl Gathered {
    fn count_call(&mut self, shard: u16, key_id: &str, batch: &Arc<Batch>, is_allowed: bool) {
        let known = self.calls.iter().position(|calls| calls.shard == shard && calls.key_id == key_id);
        let at = known.unwrap_or_else(|| {
            self.calls.push(CallsOfKey { shard, key_id: key_id.to_owned(), batches: Vec::new() });
            self.calls.len() - 1
        });
        let Some(CallsOfKey { batches, .. }) = self.calls.get_mut(at) else { return };
        if batches.last().is_none_or(|(last, ..)| !Arc::ptr_eq(last, batch)) {
            batches.push((Arc::clone(batch), 0, 0));
        }
        if let Some((_, allowed, refused)) = batches.last_mut() {
            *(if is_allowed { allowed } else { refused }) += 1;
        }
    }
}

impl Concerned {
    fn push(&mut self, batch: &Arc<Batch>, place: Range<usize>, is_use: bool) {
        if is_use {
            self.used = Some((Arc::clone(batch), place.clone()));
        }
        match self.parts.last_mut() {
            Some(last) if Arc::ptr_eq(&last.batch, batch) => last.places.push(place),
            _ => self.parts.push(Part { batch: Arc::clone(batch), places: vec![place] }),
        }
    }

    /// The last call with a good token: when, in milliseconds, and with which one.
    pub(super) fn used(&self) -> Option<(i64, TokenId)> {
        let (batch, place) = self.used.as_ref()?;
        use_of(batch.lines.get(place.clone())?)
    }
}

/// When a call was, in milliseconds, and with which token.
fn use_of(line: &str) -> Option<(i64, TokenId)> {
    let line = ours(line)?;
    let time = DateTime::parse_from_rfc3339(member(line, "\"time\":\"")?).ok()?;
    Some((time.timestamp_millis(), member(line, TOKEN)?.parse().ok()?))
}

impl Part {
    /// The batch's id in the shard.
    pub(super) fn batch(&self) -> &str {
        &self.batch.id
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// Bytes of its lines, each with its end.
    pub(super) fn length(&self) -> usize {
        self.places.iter().map(|place| place.len() + 1).sum()
    }

    pub(super) fn lines(&self) -> String {
        let mut lines = String::with_capacity(self.length());
        for line in self.places.iter().filter_map(|place| self.batch.lines.get(place.clone())) {
            lines.push_str(line);
            lines.push('\n');
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::Event;

    fn event(texts: &str) -> Event {
        let time = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let mut event = Event::new(time, kinds::CALL, Outcome::Refused);
        event.path = Some(texts.to_owned());
        event.user_agent = Some(texts.to_owned());
        event.detail("said", json!({"kind": "call", "outcome": "allowed", "actor_id": texts, "token_id": texts}))
    }

    #[test]
    fn a_text_from_outside_is_taken_for_no_member() {
        let id = AccountId::nobody();
        for text in [
            format!(
                r#"","account_id":"{id}","actor_id":"{id}","token_id":"00112233445566778899aabbccddeeff","outcome":"allowed","x":""#
            ),
            format!(r#"","account_id":"{id}","details":{{"#),
            r#"\"#.to_owned(),
        ] {
            let line = event(&text).to_line();
            let concern = Concern::of(&line).unwrap();
            assert_eq!((concern.kind, concern.outcome), (kinds::CALL, "refused"), "{line}");
            assert_eq!((concern.account, concern.actor, concern.has_token), (None, None, false), "{line}");
            assert_eq!(use_of(&line), None, "{line}");
        }
    }

    #[test]
    fn what_decides_where_an_event_goes_is_read_as_it_was_written() {
        let mut event = event("/");
        let (account, actor) = (AccountId::nobody(), "0197f0a0-0000-7000-8000-0000deadbeef".parse().unwrap());
        event.account_id = Some(account);
        event.actor_id = Some(actor);
        event.token_id = Some("00112233445566778899aabbccddeeff".parse().unwrap());
        let line = event.to_line();
        let concern = Concern::of(&line).unwrap();
        assert_eq!(concern.account, Some(account.to_string().as_str()));
        assert_eq!(concern.actor, Some(actor.to_string().as_str()));
        assert!(concern.has_token);
        assert_eq!(use_of(&line), Some((event.time.timestamp_millis(), event.token_id.unwrap())));
        for unreadable in ["", "{}", "{\"kind\":\"call\"}", "?", line.get(1..).unwrap()] {
            assert!(Concern::of(unreadable).is_none(), "{unreadable}");
        }
    }
}
