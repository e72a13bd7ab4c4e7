//! The firehose and the activity logs: writing batches, reading back from the newest.

use std::collections::VecDeque;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use redis::streams::StreamRangeReply;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::lenient::Lenient;
use super::link::counted;
use super::schema::SHARDS;
use super::{Store, StoreError};
use crate::account::AccountId;
use crate::audit::{Event, Outcome};
use crate::token::TokenId;

/// What is read.
#[derive(Debug, Clone, Copy)]
pub enum Trail {
    /// All of it.
    Firehose,
    /// What concerns one account: its calls, its acts, acts upon it.
    Account(AccountId),
}

/// Which events are wanted. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this kind.
    pub kind: Option<String>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// For this reason.
    pub reason: Option<String>,
    /// Decided by this node.
    pub node: Option<String>,
    /// By a request of this method.
    pub method: Option<String>,
    /// For a path that begins so.
    pub path: Option<String>,
    /// From an address of this network.
    pub address: Option<IpNet>,
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

impl AuditFilter {
    /// Whether it is one of them.
    pub fn passes(&self, event: &Event) -> bool {
        self.kind.as_ref().is_none_or(|kind| event.kind == *kind)
            && self.outcome.is_none_or(|outcome| event.outcome == outcome)
            && self.reason.as_ref().is_none_or(|reason| event.reason.as_ref() == Some(reason))
            && self.node.as_ref().is_none_or(|node| event.node == *node)
            && self.method.as_ref().is_none_or(|method| event.method.as_ref() == Some(method))
            && self.path.as_ref().is_none_or(|path| event.path.as_ref().is_some_and(|at| at.starts_with(path.as_str())))
            && self.address.is_none_or(|network| {
                let address = event.client_address.as_ref().and_then(|address| address.parse::<IpAddr>().ok());
                address.is_some_and(|address| network.contains(&address))
            })
            && self.from.is_none_or(|from| event.time >= from)
            && self.to.is_none_or(|to| event.time < to)
    }
}

/// Where reading goes on: for each stream the entry that was reached, and how many of its lines are still unread. Stays
/// right while entries arrive, because they arrive at the other end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCursor(Vec<Option<(String, usize)>>);

impl AuditCursor {
    /// As one opaque text.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what [`AuditCursor::encode`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let cursor: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        // Exactly as Redis writes them: it refuses some of what only looks like one.
        let of_an_entry = |id: &str| {
            let parts = id.split_once('-').and_then(|(ms, number)| Some((ms.parse().ok()?, number.parse().ok()?)));
            parts.is_some_and(|(ms, number): (u64, u64)| format!("{ms}-{number}") == id)
        };
        // What is exhausted is written so, and nothing else is.
        let sound = |(id, unread): &(String, usize)| of_an_entry(id) && (id != BEFORE_ALL || *unread == 0);
        (cursor.0.len() <= 64 && cursor.0.iter().flatten().all(sound)).then_some(cursor)
    }
}

/// How many events one request may look at: about 6 µs each.
const LOOK_AT: usize = 2_000;
/// Entries read at once from a stream of one event each.
const CHUNK: usize = 100;
/// Entries read at once from a shard of the firehose, whose entries are batches.
const BATCHES: usize = 2;
/// An entry may be older or younger than its event: clocks differ, and events wait for a store that is away.
const EARLY_MS: i64 = 60_000;
const LATE_MS: i64 = 3_600_000;

/// Where nothing is left to read. No entry has this id.
const BEFORE_ALL: &str = "0-0";

struct Reader {
    key: String,
    /// How many entries are read at once.
    chunk: usize,
    /// The next entry to read is this one (with so many unread lines), or one before it.
    position: Option<(String, usize)>,
    oldest: String,
    newest: String,
    /// The next event, with its entry and its place there.
    next: Option<(String, usize, Event)>,
    /// Lines that come after it, unread: most of a batch is read by nobody.
    lines: VecDeque<(String, usize, String)>,
    exhausted: bool,
}

impl Reader {
    /// A stream that gave nothing to this page is held where it stands, too: what arrives there meanwhile is newer than the page.
    fn goes_on_at(self) -> Option<(String, usize)> {
        let next = || self.next.as_ref().map(|(id, index, _)| (id.clone(), index + 1));
        self.position.clone().or_else(next).or_else(|| Some((BEFORE_ALL.to_owned(), 0)))
    }
}

impl Store {
    /// Events from the newest on, up to the limit, and where to go on. Looks at 2,000 at the most: a page may so be short,
    /// or empty, and still have a next one.
    pub async fn events(
        &self,
        trail: Trail,
        filter: &AuditFilter,
        cursor: Option<&AuditCursor>,
        limit: usize,
    ) -> Result<(Vec<Event>, Option<AuditCursor>), StoreError> {
        let _turn = self.turn_to_read(&self.readers).await?;
        let keys = match trail {
            Trail::Firehose => {
                let mut keys = vec![(self.schema.acts(), CHUNK)];
                keys.extend((0..SHARDS).map(|shard| (self.schema.shard_log(shard), BATCHES)));
                keys
            }
            Trail::Account(id) => vec![(self.schema.acts_of(id), CHUNK), (self.schema.activity(id), CHUNK)],
        };
        let oldest =
            filter.from.map_or_else(|| "-".to_owned(), |from| (from.timestamp_millis() - EARLY_MS).max(0).to_string());
        let newest =
            filter.to.map_or_else(|| "+".to_owned(), |to| (to.timestamp_millis() + LATE_MS).max(0).to_string());
        let mut readers: Vec<Reader> = keys
            .into_iter()
            .enumerate()
            .map(|(place, (key, chunk))| Reader {
                key,
                chunk,
                position: cursor.and_then(|cursor| cursor.0.get(place)).cloned().flatten(),
                oldest: oldest.clone(),
                newest: newest.clone(),
                next: None,
                lines: VecDeque::new(),
                exhausted: false,
            })
            .collect();
        let mut found = Vec::new();
        let mut looked_at = 0;
        let more = loop {
            for reader in readers.iter_mut().filter(|reader| reader.next.is_none() && !reader.exhausted) {
                self.fill(reader).await?;
            }
            let latest = readers
                .iter_mut()
                .filter(|reader| reader.next.is_some())
                .max_by_key(|reader| reader.next.as_ref().map(|(_, _, event)| (event.time, event.id)));
            let Some(reader) = latest else { break false };
            if found.len() == limit || looked_at >= LOOK_AT {
                break true;
            }
            let Some((id, unread, event)) = reader.next.take() else { break false };
            reader.position = Some((id, unread));
            looked_at += 1;
            if filter.passes(&event) {
                found.push(event);
            }
        };
        let next = more.then(|| AuditCursor(readers.into_iter().map(Reader::goes_on_at).collect()));
        Ok((found, next))
    }

    /// Events are many and large: those who read them wait for one another, and nobody else for them.
    pub(super) async fn turn_to_read<'a>(&self, readers: &'a Semaphore) -> Result<SemaphorePermit<'a>, StoreError> {
        let turn = counted(tokio::time::timeout(self.timeout, readers.acquire())).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| StoreError::Unavailable("others read events for too long".into()))
    }

    /// Reads the next event of one stream, if there is one.
    async fn fill(&self, reader: &mut Reader) -> Result<(), StoreError> {
        // Where the reader stands in the last entry that was read, independently of what was handed out.
        let mut end = match (reader.lines.back(), &reader.position) {
            (Some((id, ..)), _) => format!("({id}"),
            (None, Some((id, _))) if id == BEFORE_ALL => {
                reader.exhausted = true;
                return Ok(());
            }
            (None, Some((id, 0))) => format!("({id}"),
            (None, Some((id, _))) => id.clone(),
            (None, None) => reader.newest.clone(),
        };
        loop {
            while let Some((id, index, line)) = reader.lines.pop_front() {
                match Event::from_line(&line) {
                    Some(event) => {
                        reader.next = Some((id, index, event));
                        return Ok(());
                    }
                    None => tracing::error!(
                        entry = id,
                        stream = reader.key,
                        line = index,
                        "an unreadable event is left out"
                    ),
                }
            }
            let mut command = redis::cmd("XREVRANGE");
            command.arg(&reader.key).arg(&end).arg(&reader.oldest).arg("COUNT").arg(reader.chunk);
            let Lenient(reply): Lenient<StreamRangeReply> =
                self.query(&*self.reads.at(&reader.key).await?, command).await?;
            let Some(last) = reply.ids.last() else {
                reader.exhausted = true;
                return Ok(());
            };
            end = format!("({}", last.id);
            for entry in &reply.ids {
                let lines: String = entry.get("e").unwrap_or_default();
                let lines: Vec<&str> = lines.lines().collect();
                let unread = match &reader.position {
                    Some((id, unread)) if *id == entry.id => (*unread).min(lines.len()),
                    _ => lines.len(),
                };
                let lines = lines.into_iter().enumerate().take(unread).rev();
                reader.lines.extend(lines.map(|(index, line)| (entry.id.clone(), index, line.to_owned())));
            }
        }
    }

    /// Notes that a token was used in an act, whose event does not come by the firehose.
    pub async fn note_use(&self, account: AccountId, token: TokenId, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.has_room()?;
        let mut pipeline = redis::pipe();
        let key = self.schema.usage(account);
        pipeline.hset(&key, format!("used:{token}"), now.timestamp_millis()).ignore();
        pipeline.expire(&key, i64::try_from(self.options.retention.age.as_secs()).unwrap_or(i64::MAX)).ignore();
        self.pipeline(&*self.audit.at(&key).await?, &pipeline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let cursor = |id: &str, unread| AuditCursor(vec![None, Some((id.to_owned(), unread))]);
        for good in [cursor("1-0", 3), cursor("1700000000000-18446744073709551615", 0), cursor(BEFORE_ALL, 0)] {
            assert_eq!(AuditCursor::decode(&good.encode()), Some(good));
        }
        for bad in ["", "1", "-", "1-", "-1", "+1-1", "1-+1", "01-1", "00-0", "0-00", "1-18446744073709551616", "(1-1"]
        {
            assert_eq!(AuditCursor::decode(&cursor(bad, 0).encode()), None, "{bad}");
        }
        assert_eq!(AuditCursor::decode(&cursor(BEFORE_ALL, 1).encode()), None);
        assert_eq!(AuditCursor::decode("x"), None);
    }
}
