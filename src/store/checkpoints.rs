//! Checkpoints of the audit, and what they are made of (protocols, section 6, A3).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use redis::streams::{StreamId, StreamRangeReply};

use super::append::{Head, id_of_entry};
use super::archive::audit_streams;
use super::lenient::Lenient;
use super::schema::{SHARDS, shard_of};
use super::{Store, StoreError};
use crate::audit::checkpoint::KeptFrom;

/// The stream beside `0`, `1` … of the shards.
pub const ACTS: &str = "acts";
/// Entries that are looked at together: they may be large, and Redis answers nobody else meanwhile.
const TOGETHER: usize = 8;
/// The most that are removed at once from one stream: more than is written meanwhile.
const AT_ONCE: usize = 4_000;
/// Acts are small.
const CHUNK: usize = 100;

/// The name of the stream that a node's blocks are in.
pub fn stream_of(node: &str) -> String {
    shard_of(node).to_string()
}

/// The last id before whatever is written at that time, in milliseconds of the store.
pub fn just_before(ms: u64) -> String {
    format!("{}-{}", ms.max(1) - 1, u64::MAX)
}

/// Whether one id of an entry comes before another. What is no id comes first.
pub fn comes_before(one: &str, other: &str) -> bool {
    id_of_entry(one) < id_of_entry(other)
}

/// A field of an entry. What is no text becomes another one, which no hash fits.
fn text_of(entry: &StreamId, field: &str) -> String {
    let bytes: Vec<u8> = entry.get(field).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn after_bound(after: &str) -> String {
    if after.is_empty() { "-".to_owned() } else { format!("({after}") }
}

/// An act, as its entry has it.
#[derive(Debug, Clone)]
pub struct StoredAct {
    /// The entry's id.
    pub id: String,
    /// The epoch of the change.
    pub epoch: String,
    /// The event.
    pub line: String,
}

/// A block, as its entry has it.
#[derive(Debug, Clone)]
pub struct StoredBlock {
    /// The entry's id.
    pub id: String,
    /// The text of its header.
    pub header: String,
    /// Its events, a line each. `None`: they were not asked for.
    pub lines: Option<String>,
}

impl Store {
    /// The id and the text of the last checkpoint. `None`: there is none.
    pub async fn last_checkpoint(&self) -> Result<Option<(String, String)>, StoreError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(self.schema.checkpoints()).arg("+").arg("-").arg("COUNT").arg(1);
        let Lenient(reply): Lenient<StreamRangeReply> = self.query(&self.shared, command).await?;
        Ok(reply.ids.first().map(|entry| (entry.id.clone(), text_of(entry, "c"))))
    }

    /// Writes a checkpoint after the one of this id; empty: it is the first. So many are kept with it. `false`: there is another one by now.
    pub async fn write_checkpoint(&self, last: &str, text: &str, kept: u64) -> Result<bool, StoreError> {
        // Without it nothing could be removed.
        self.has_some_room()?;
        let mut script = self.scripts.checkpoint.prepare_invoke();
        script.key(self.schema.meta()).key(self.schema.checkpoints());
        script.arg(self.dataset_id().await?).arg(last).arg(text).arg(kept);
        Ok(self.run::<u64>(&self.shared, &script).await? == 1)
    }

    /// The last block of each node. What can't be read is left out, and said.
    pub async fn block_heads(&self) -> Result<BTreeMap<String, Head>, StoreError> {
        let mut heads = BTreeMap::new();
        for shard in 0..SHARDS {
            let mut command = redis::cmd("HGETALL");
            let key = self.schema.shard_heads(shard);
            command.arg(&key);
            let all: Vec<(Vec<u8>, Vec<u8>)> = self.query(&*self.shared.at(&key).await?, command).await?;
            for (node, text) in all {
                // What earlier versions noted beside; no name of a node has it.
                if node.contains(&b'#') {
                    continue;
                }
                let (node, text) =
                    (String::from_utf8_lossy(&node).into_owned(), String::from_utf8_lossy(&text).into_owned());
                match Head::read(&text) {
                    Some(head) => _ = heads.insert(node, head),
                    None => tracing::error!(node, "the last block of this node can't be read"),
                }
            }
        }
        Ok(heads)
    }

    /// The first entry of each stream that is to be kept, by age and length, and how many were removed before it. `before`: what was
    /// said last; it only rises. `written`: how many entries there ever were, of each stream: not as the stream says, which whoever
    /// wants genuine ones removed could fill with others. `archived`: of streams that are archived the last entry that is; those after
    /// it are kept, whatever else is said.
    pub async fn kept_from(
        &self,
        before: BTreeMap<String, KeptFrom>,
        written: &BTreeMap<String, u64>,
        archived: &BTreeMap<String, String>,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<String, KeptFrom>, StoreError> {
        let retention = &self.options.retention;
        let oldest = now.timestamp_millis() - i64::try_from(retention.age.as_millis()).unwrap_or(i64::MAX);
        let oldest = u64::try_from(oldest).unwrap_or(0);
        let mut kept = before;
        for (name, key) in self.streams() {
            let known = kept.get(&name).cloned().unwrap_or_default();
            let mut command = redis::cmd("XLEN");
            command.arg(&key);
            let length: u64 = self.query(&*self.shared.at(&key).await?, command).await?;
            // Never more than there are: what was lost otherwise is not to be removed once more.
            let there = written.get(&name).copied().unwrap_or(0).saturating_sub(known.removed).min(length);
            let too_many = usize::try_from(there.saturating_sub(retention.firehose)).unwrap_or(usize::MAX);
            if let Some((first, removed)) =
                self.first_after(&key, &known.first, too_many, oldest, archived.get(&name)).await?
            {
                kept.insert(name, KeptFrom { first, removed: known.removed + removed });
            }
        }
        Ok(kept)
    }

    /// The first entry after those that are too many, or too old, and how many those are. What comes before `known` was counted already.
    /// `None`: there are none.
    async fn first_after(
        &self,
        key: &str,
        known: &str,
        too_many: usize,
        oldest: u64,
        archived: Option<&String>,
    ) -> Result<Option<(String, u64)>, StoreError> {
        let (mut from, mut gone, mut last) = (if known.is_empty() { "-" } else { known }.to_owned(), 0, None);
        while gone < AT_ONCE {
            let mut script = self.scripts.ids.prepare_invoke();
            script.key(key).arg(&from).arg(if too_many > gone { TOGETHER } else { 1 });
            let ids: Vec<String> = self.run(&*self.shared.at(key).await?, &script).await?;
            if ids.is_empty() {
                break;
            }
            for id in ids {
                let is_young = id_of_entry(&id).is_none_or(|(ms, _)| ms >= oldest);
                let waits = archived.is_some_and(|archived| comes_before(archived, &id));
                if waits || gone >= AT_ONCE || (gone >= too_many && is_young) {
                    return Ok((gone > 0).then_some((id, gone as u64)));
                }
                gone += 1;
                from = format!("({id}");
                last = Some(id);
            }
        }
        // All of them.
        let after = last.and_then(|id| id_of_entry(&id));
        Ok(after.map(|(ms, number)| (format!("{ms}-{}", number.saturating_add(1)), gone as u64)))
    }

    /// Removes what comes before these entries, unless it is to be archived and is not yet.
    pub async fn remove_before(&self, kept: &BTreeMap<String, KeptFrom>) -> Result<(), StoreError> {
        for (name, key) in self.streams() {
            let Some(kept) = kept.get(&name) else { continue };
            let mut script = self.scripts.trim.prepare_invoke();
            script.key(&key).key(self.cursor_key(&name)).arg(&kept.first);
            self.run::<u64>(&*self.shared.at(&key).await?, &script).await?;
        }
        Ok(())
    }

    fn streams(&self) -> impl Iterator<Item = (String, String)> {
        audit_streams().map(|stream| (stream.clone(), self.stream_key(&stream)))
    }

    /// Checkpoints after an entry, with their ids; an empty one is the beginning. None: there are no more.
    pub async fn checkpoints_after(&self, after: &str) -> Result<Vec<(String, String)>, StoreError> {
        let mut command = redis::cmd("XRANGE");
        command.arg(self.schema.checkpoints()).arg(after_bound(after)).arg("+").arg("COUNT").arg(CHUNK);
        let Lenient(reply): Lenient<StreamRangeReply> = self.query(&self.reads, command).await?;
        Ok(reply.ids.into_iter().map(|entry| (entry.id.clone(), text_of(&entry, "c"))).collect())
    }

    /// Blocks of a shard after an entry; an empty one is the beginning. None: there are no more.
    pub async fn blocks_after(
        &self,
        shard: u16,
        after: &str,
        with_events: bool,
    ) -> Result<Vec<StoredBlock>, StoreError> {
        let key = self.schema.shard_log(shard);
        let link = self.reads.at(&key).await?;
        if !with_events {
            let mut script = self.scripts.headers.prepare_invoke();
            script.key(key).arg(after_bound(after)).arg(TOGETHER);
            let reply: Vec<(String, Vec<u8>)> = self.run(&link, &script).await?;
            let block = |(id, header): (String, Vec<u8>)| StoredBlock {
                id,
                header: String::from_utf8_lossy(&header).into_owned(),
                lines: None,
            };
            return Ok(reply.into_iter().map(block).collect());
        }
        let mut command = redis::cmd("XRANGE");
        command.arg(key).arg(after_bound(after)).arg("+").arg("COUNT").arg(TOGETHER);
        let Lenient(reply): Lenient<StreamRangeReply> = self.query(&link, command).await?;
        let block = |entry: StreamId| StoredBlock {
            header: text_of(&entry, "b"),
            lines: Some(text_of(&entry, "e")),
            id: entry.id,
        };
        Ok(reply.ids.into_iter().map(block).collect())
    }

    /// Whether an act of this entry is there.
    pub async fn has_act(&self, entry: &str) -> Result<bool, StoreError> {
        let mut script = self.scripts.ids.prepare_invoke();
        script.key(self.schema.acts()).arg(entry).arg(1);
        let ids: Vec<String> = self.run(&self.shared, &script).await?;
        Ok(ids.first().is_some_and(|id| id == entry))
    }

    /// Acts from one entry on, itself not, up to another, itself not: their entries. An empty `after` is the beginning, an empty
    /// `before` the end. They may be some of them only; none: there are no more.
    pub async fn acts_between(&self, after: &str, before: &str) -> Result<Vec<StoredAct>, StoreError> {
        let before = if before.is_empty() { "+".to_owned() } else { format!("({before}") };
        let mut command = redis::cmd("XRANGE");
        command.arg(self.schema.acts()).arg(after_bound(after)).arg(before).arg("COUNT").arg(CHUNK);
        let Lenient(reply): Lenient<StreamRangeReply> = self.query(&self.shared, command).await?;
        let act = |entry: StreamId| StoredAct { epoch: text_of(&entry, "v"), line: text_of(&entry, "e"), id: entry.id };
        Ok(reply.ids.into_iter().map(act).collect())
    }

    /// The header of a block of this node. `None`: there is no such entry.
    pub async fn block_header(&self, node: &str, entry: &str) -> Result<Option<String>, StoreError> {
        let mut script = self.scripts.headers.prepare_invoke();
        let log = self.schema.shard_log(shard_of(node));
        script.key(&log).arg(entry).arg(1);
        let reply: Vec<(String, Vec<u8>)> = self.run(&*self.shared.at(&log).await?, &script).await?;
        let found = reply.into_iter().find(|(id, _)| id == entry);
        Ok(found.map(|(_, header)| String::from_utf8_lossy(&header).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_compared_as_numbers() {
        assert!(comes_before("9-1", "10-0") && comes_before("10-2", "10-10") && !comes_before("10-0", "10-0"));
        assert!(comes_before("", "0-1") && !comes_before("1-0", ""));
    }
}
