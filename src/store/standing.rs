//! How the streams of the audit stand: what there is of each, and how far those have come who read them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;

use super::append::id_of_entry;
use super::filler::GROUP;
use super::schema::SHARDS;
use super::sinks::Extent;
use super::{SinkCursor, Store, StoreError, audit_streams, comes_before};

/// What there is of a stream of the audit.
#[derive(Debug, Clone)]
pub struct Stream {
    /// `0` to `3`, or `acts`.
    pub name: String,
    /// Entries that are there: blocks, or acts.
    pub entries: u64,
    /// The first one's id; empty: there is none.
    pub first: String,
    /// The last id that was given; `0-0`: none ever was.
    pub last: String,
}

/// How a sink stands.
#[derive(Debug, Clone)]
pub struct SinkStanding {
    /// Its name.
    pub name: String,
    /// The process that delivers it now. `None`: nobody does.
    pub holder: Option<String>,
    /// Blocks and acts that it does not have yet. `None`: how far it has come can't be read.
    pub behind: Option<u64>,
    /// When the oldest of them was written, by the store's clock. `None`: there is none.
    pub waiting_since: Option<DateTime<Utc>>,
}

/// When an entry was written, by the store's clock. `None`: it is no id of an entry.
pub fn written_at(entry: &str) -> Option<DateTime<Utc>> {
    let (ms, _) = id_of_entry(entry).filter(|id| *id != (0, 0))?;
    DateTime::from_timestamp_millis(i64::try_from(ms).ok()?)
}

impl Store {
    /// What there is of each stream.
    pub async fn streams_of_audit(&self) -> Result<Vec<Stream>, StoreError> {
        let extents = self.extents(&self.reads).await?;
        let named = audit_streams().zip(extents).map(|(name, extent)| {
            let entries = extent.added.saturating_sub(extent.removed);
            let first = if entries == 0 { String::new() } else { extent.first };
            Stream { name, entries, first, last: extent.last }
        });
        Ok(named.collect())
    }

    /// Of each shard whose entries are not all in the activity logs, when the oldest of the others was written.
    pub async fn waiting_for_activity(&self) -> Result<BTreeMap<String, DateTime<Utc>>, StoreError> {
        let of_shard = async |shard: u16| {
            let mut script = self.scripts.backlog.prepare_invoke();
            let log = self.schema.shard_log(shard);
            script.key(&log).arg(GROUP);
            let oldest: String = self.run(&*self.reads.at(&log).await?, &script).await?;
            Ok::<_, StoreError>((shard.to_string(), written_at(&oldest)))
        };
        let all = try_join_all((0..SHARDS).map(of_shard)).await?;
        Ok(all.into_iter().filter_map(|(shard, oldest)| Some((shard, oldest?))).collect())
    }

    /// How the sinks stand that there ever were, by name; so many at the most.
    pub async fn sinks_standing(&self, most: usize) -> Result<Vec<SinkStanding>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.schema.sinks());
        let sinks: BTreeMap<String, String> = self.query(&self.reads, command).await?;
        if sinks.is_empty() {
            return Ok(Vec::new());
        }
        let extents = self.extents(&self.reads).await?;
        let each = sinks.into_iter().take(most).map(|(name, text)| self.sink_standing(name, text, &extents));
        try_join_all(each).await
    }

    async fn sink_standing(&self, name: String, text: String, extents: &[Extent]) -> Result<SinkStanding, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.schema.sink_lock(&name));
        let holder = self.query(&self.reads, command).await?;
        let Some(cursor) = SinkCursor::read(&text) else {
            return Ok(SinkStanding { name, holder, behind: None, waiting_since: None });
        };
        let mut waiting_since: Option<DateTime<Utc>> = None;
        for ((stream, extent), (reached, told)) in audit_streams().zip(extents).zip(cursor.position.entries()) {
            let next = match told {
                // It is in the middle of this one.
                Some(_) => reached.clone(),
                None if comes_before(reached, &extent.last) => {
                    self.first_entry(&self.stream_key(&stream), &format!("({reached}")).await?
                }
                None => String::new(),
            };
            waiting_since = [waiting_since, written_at(&next)].into_iter().flatten().min();
        }
        let added: u64 = extents.iter().map(|extent| extent.added).sum();
        Ok(SinkStanding { name, holder, behind: Some(added.saturating_sub(cursor.entries_read())), waiting_since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_its_entry_was_written() {
        assert_eq!(written_at("1700000000123-4"), DateTime::from_timestamp_millis(1_700_000_000_123));
        for none in ["", "0-0", "x", "99999999999999999999-0"] {
            assert_eq!(written_at(none), None, "{none}");
        }
    }
}
