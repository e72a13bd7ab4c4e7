//! The audit as it is written: what comes after a position, in all streams at once.

use std::cmp::Reverse;
use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::streams::StreamRangeReply;
use serde::{Deserialize, Serialize};

use super::append::id_of_entry;
use super::checkpoints::just_before;
use super::lane::Lane;
use super::lenient::Lenient;
use super::schema::SHARDS;
use super::{Store, StoreError};
use crate::audit::Event;

/// Entries that are read at once: acts, and blocks, which have up to a thousand events each.
const ACTS: usize = 100;
const BLOCKS: usize = 2;

/// How far somebody has read: of each stream the entry, and how many of its events; none: all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailPosition(Vec<(String, Option<usize>)>);

impl TailPosition {
    /// Just before whatever was written at that time, in milliseconds of the store.
    pub fn at(ms: u64) -> Self {
        Self(vec![(just_before(ms), None); usize::from(SHARDS) + 1])
    }

    /// Just after the entry of this id, of each stream.
    pub(super) fn after(ids: Vec<String>) -> Self {
        Self(ids.into_iter().map(|id| (id, None)).collect())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &(String, Option<usize>)> {
        self.0.iter()
    }

    pub(super) fn entry_mut(&mut self, stream: usize) -> Option<&mut (String, Option<usize>)> {
        self.0.get_mut(stream)
    }

    /// As one opaque text.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what [`TailPosition::encode`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok().filter(Self::is_sound)
    }

    pub(super) fn is_sound(&self) -> bool {
        // Exactly as Redis writes them: it refuses some of what only looks like one.
        let is_id = |(id, _): &(String, Option<usize>)| {
            id_of_entry(id).is_some_and(|(ms, number)| format!("{ms}-{number}") == *id)
        };
        self.0.len() == usize::from(SHARDS) + 1 && self.0.iter().all(is_id)
    }
}

/// What was read.
pub struct Tailed {
    /// Each event, with the position after it.
    pub events: Vec<(Event, TailPosition)>,
    /// The position after all that was read: there are blocks without events.
    pub reached: TailPosition,
    /// The ids of the entries that were read, of each stream.
    pub entries: Vec<Vec<String>>,
}

/// What was read of one stream: each event, and how far it is read then; and how far it is in the end.
struct Read {
    events: VecDeque<(Event, (String, Option<usize>))>,
    reached: (String, Option<usize>),
    entries: Vec<String>,
}

impl Store {
    /// The store's own time, in milliseconds.
    pub async fn time(&self) -> Result<u64, StoreError> {
        let (seconds, micros): (u64, u64) = self.query(&self.shared, redis::cmd("TIME")).await?;
        Ok(seconds * 1_000 + micros / 1_000)
    }

    /// Some of the events that were written after a position, in the order of their streams and as far as that goes of their times, each
    /// with the position after it.
    pub async fn tail(&self, after: &TailPosition) -> Result<Tailed, StoreError> {
        let _turn = self.turn_to_read(&self.readers).await?;
        self.tail_over(&self.reads, after).await
    }

    /// The same over the connection of the sinks, which take turns.
    pub(super) async fn tail_for_sinks(&self, after: &TailPosition) -> Result<Tailed, StoreError> {
        let lane = self.of_sinks()?;
        let _turn = self.turn_to_read(&self.sink_reader).await?;
        self.tail_over(lane, after).await
    }

    async fn tail_over(&self, lane: &Lane, after: &TailPosition) -> Result<Tailed, StoreError> {
        let keys = (0..SHARDS).map(|shard| (self.schema.shard_log(shard), BLOCKS)).chain([(self.schema.acts(), ACTS)]);
        let mut streams = Vec::new();
        for ((key, count), (id, told)) in keys.zip(&after.0) {
            streams.push(self.entries_after(lane, &key, count, id, *told).await?);
        }
        let reached = TailPosition(streams.iter().map(|stream| stream.reached.clone()).collect());
        let entries = streams.iter_mut().map(|stream| std::mem::take(&mut stream.entries)).collect();
        let (mut events, mut position) = (Vec::new(), after.clone());
        loop {
            let next = streams.iter_mut().map(|stream| &mut stream.events).enumerate();
            let next = next.filter(|(_, stream)| !stream.is_empty());
            let next = next.max_by_key(|(_, stream)| stream.front().map(|(event, _)| Reverse((event.time, event.id))));
            let Some((place, stream)) = next else { break };
            if let (Some((event, reached)), Some(at)) = (stream.pop_front(), position.0.get_mut(place)) {
                *at = reached;
                events.push((event, position.clone()));
            }
        }
        // With the last of them, whatever was read without any is read.
        if let Some((_, last)) = events.last_mut() {
            last.clone_from(&reached);
        }
        Ok(Tailed { events, reached, entries })
    }

    async fn entries_after(
        &self,
        lane: &Lane,
        key: &str,
        count: usize,
        id: &str,
        told: Option<usize>,
    ) -> Result<Read, StoreError> {
        let from = if told.is_some() { id.to_owned() } else { format!("({id}") };
        let mut command = redis::cmd("XRANGE");
        command.arg(key).arg(from).arg("+").arg("COUNT").arg(count);
        let Lenient(reply): Lenient<StreamRangeReply> = self.query(&*lane.at(key).await?, command).await?;
        let mut read = Read { events: VecDeque::new(), reached: (id.to_owned(), told), entries: Vec::new() };
        for entry in reply.ids {
            // A block has up to a thousand events: others get their turn between two.
            tokio::task::yield_now().await;
            read.reached = (entry.id.clone(), None);
            read.entries.push(entry.id.clone());
            let lines: String = entry.get("e").unwrap_or_default();
            let lines: Vec<&str> = lines.lines().collect();
            let skip = told.filter(|_| entry.id == id).unwrap_or(0);
            for (number, line) in (1..).zip(&lines).skip(skip) {
                let reached = (entry.id.clone(), Some(number).filter(|number| *number < lines.len()));
                match Event::from_line(line) {
                    Some(event) => read.events.push_back((event, reached)),
                    None => tracing::error!(entry = entry.id, stream = key, "an unreadable event is left out"),
                }
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_and_nothing_else_is() {
        let mut position = TailPosition::at(1_700_000_000_000);
        position.0[1] = ("1-0".into(), Some(3));
        assert_eq!(TailPosition::decode(&position.encode()), Some(position.clone()));
        for bad in ["", "+1-0", "01-0", "1", "1-", "(1-0", "1-18446744073709551616"] {
            position.0[1].0 = bad.into();
            assert_eq!(TailPosition::decode(&position.encode()), None, "{bad}");
        }
        assert_eq!(TailPosition::decode(&TailPosition(Vec::new()).encode()), None);
        assert_eq!(TailPosition::decode("x"), None);
    }
}
