//! Events that were read from the firehose, by the account that they concern.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;
use redis::streams::StreamId;

use super::counted::Counting;
use super::told::Told;
use crate::account::AccountId;

/// The longest that events wait to be written together.
const LONGEST: Duration = Duration::from_millis(400);
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
    /// By account and batch; of each shard in order.
    pub(super) concerned: HashMap<AccountId, Vec<Part>>,
    pub(super) calls: Counting,
    /// Entries of each shard, to be acknowledged once all that is written.
    pub(super) read: BTreeMap<u16, Vec<String>>,
    since: Option<Instant>,
    events: u32,
    bytes: usize,
}

/// The events of one account out of one batch.
pub(super) struct Part {
    batch: Arc<Batch>,
    /// Where they lie in it.
    places: Vec<Range<usize>>,
}

/// An entry of a shard.
pub(super) struct Batch {
    shard: u16,
    id: String,
    lines: String,
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
        let batch = Arc::new(Batch { shard, id: entry.id, lines });
        let (mut start, mut number) = (0, 0);
        while start < batch.lines.len() {
            let rest = batch.lines.as_bytes().get(start..).unwrap_or_default();
            let place = start..start + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            start = place.end + 1;
            number += 1;
            if number % AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            if self.take_line(&batch, place).is_none() {
                let entry = &batch.id;
                tracing::error!(shard, entry, "an unreadable event of the firehose is left out of the activity logs");
            }
        }
    }

    fn take_line(&mut self, batch: &Arc<Batch>, place: Range<usize>) -> Option<()> {
        let told = Told::of(batch.lines.get(place.clone())?)?;
        let read = |id: Option<&str>| id.map(|id| id.parse::<AccountId>().ok());
        let (account, actor) = (read(told.account), read(told.actor));
        if let Some(outcome) = told.outcome.parse().ok().filter(|_| told.is_call()) {
            self.calls.take(batch, told.key_id, outcome, told.time);
        }
        self.events = self.events.saturating_add(1);
        self.bytes += place.len();
        if let Some(account) = account {
            push(self.concerned.entry(account?).or_default(), batch, place.clone());
        }
        if let Some(actor) = actor.filter(|actor| Some(actor) != account.as_ref()) {
            push(self.concerned.entry(actor?).or_default(), batch, place);
        }
        Some(())
    }
}

impl Batch {
    pub(super) fn shard(&self) -> u16 {
        self.shard
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

fn push(parts: &mut Vec<Part>, batch: &Arc<Batch>, place: Range<usize>) {
    match parts.last_mut() {
        Some(last) if Arc::ptr_eq(&last.batch, batch) => last.places.push(place),
        _ => parts.push(Part { batch: Arc::clone(batch), places: vec![place] }),
    }
}

impl Part {
    pub(super) fn shard(&self) -> u16 {
        self.batch.shard
    }

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

    /// Each of its lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.places.iter().filter_map(|place| self.batch.lines.get(place.clone()))
    }
}
