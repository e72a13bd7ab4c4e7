//! The streams of the audit: read up to a moment, and put back with the ids that they had.

use std::collections::{BTreeMap, BTreeSet};

use redis::streams::StreamRangeReply;

use super::super::archive::audit_streams;
use super::super::lenient::Lenient;
use super::super::schema::SHARDS;
use super::super::{Store, StoreError};
use super::restore::under_way;
use crate::account::AccountId;

/// The last block of each node of a shard.
#[derive(Debug, Clone)]
pub struct ShardEnds {
    /// As they lie in the store.
    pub heads: BTreeMap<String, String>,
    /// The id of the last entry of all; empty: there is none.
    pub last: String,
}

/// An act to be put back.
#[derive(Debug, Clone)]
pub struct RestoredAct {
    /// Its entry.
    pub entry: String,
    /// The epoch of the change.
    pub epoch: String,
    /// The event.
    pub line: String,
    /// The accounts in whose logs it stands.
    pub accounts: BTreeSet<AccountId>,
}

impl Store {
    /// How far a shard is at this moment.
    pub async fn shard_ends(&self, shard: u16) -> Result<ShardEnds, StoreError> {
        let mut script = self.scripts.ends.prepare_invoke();
        let log = self.schema.shard_log(shard);
        script.key(&log).key(self.schema.shard_heads(shard));
        let (heads, last) = self.run(&*self.reads.at(&log).await?, &script).await?;
        Ok(ShardEnds { heads, last })
    }

    /// The last entry of each stream that is being put back, and of the checkpoints: what comes before it is there.
    pub async fn restored_up_to(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let streams = audit_streams().map(|stream| (stream.clone(), self.stream_key(&stream)));
        let mut reached = BTreeMap::new();
        for (name, key) in streams.chain([("checkpoints".to_owned(), self.schema.checkpoints())]) {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(&key).arg("+").arg("-").arg("COUNT").arg(1);
            let Lenient(reply): Lenient<StreamRangeReply> = self.query(&*self.reads.at(&key).await?, command).await?;
            if let Some(entry) = reply.ids.into_iter().next() {
                reached.insert(name, entry.id);
            }
        }
        Ok(reached)
    }

    /// A key of a shard of the audit that is there; of servers of a cluster one may not have been emptied with the others.
    pub(super) async fn left_of_shards(&self) -> Result<Option<String>, StoreError> {
        for shard in 0..SHARDS {
            for key in [self.schema.shard_log(shard), self.schema.shard_heads(shard)] {
                let mut command = redis::cmd("EXISTS");
                command.arg(&key);
                if self.query::<u64>(&*self.reads.at(&key).await?, command).await? > 0 {
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    /// Puts blocks of a shard back: their entries, headers and events.
    pub async fn restore_blocks(&self, shard: u16, blocks: &[(String, String, String)]) -> Result<(), StoreError> {
        if blocks.is_empty() {
            return Ok(());
        }
        self.has_room()?;
        let log = self.schema.shard_log(shard);
        let mut pipeline = redis::pipe();
        for (entry, header, lines) in blocks {
            pipeline.cmd("XADD").arg(&log).arg(entry).arg("b").arg(header).arg("e").arg(lines);
        }
        self.pipeline::<Vec<String>>(&*self.shared.at(&log).await?, &pipeline).await.map(|_| ())
    }

    /// Puts checkpoints back: their entries and texts.
    pub async fn restore_checkpoints(&self, checkpoints: &[(String, String)]) -> Result<(), StoreError> {
        self.has_room()?;
        let mut pipeline = redis::pipe();
        for (entry, text) in checkpoints {
            pipeline.cmd("XADD").arg(self.schema.checkpoints()).arg(entry).arg("c").arg(text);
        }
        self.pipeline::<Vec<String>>(&self.shared, &pipeline).await.map(|_| ())
    }

    /// Puts acts back, among all acts and among those of the accounts concerned.
    pub async fn restore_acts(&self, backup: &str, acts: &[RestoredAct]) -> Result<(), StoreError> {
        if acts.is_empty() {
            return Ok(());
        }
        self.has_room()?;
        let accounts: BTreeSet<AccountId> = acts.iter().flat_map(|act| act.accounts.iter().copied()).collect();
        let place =
            |account: &AccountId| accounts.iter().position(|known| known == account).map_or(0, |place| place + 1);
        let plan: Vec<Vec<usize>> = acts.iter().map(|act| act.accounts.iter().map(place).collect()).collect();
        let mut script = self.scripts.restore_acts.prepare_invoke();
        script.key(self.schema.meta()).key(self.schema.acts());
        for account in &accounts {
            script.key(self.schema.acts_of(*account));
        }
        script.arg(backup).arg(self.options.retention.activity).arg(serde_json::Value::from(plan).to_string());
        for act in acts {
            script.arg(&act.entry).arg(&act.epoch).arg(&act.line);
        }
        under_way(self.run_change(&self.shared, &script).await?).map(|_| ())
    }

    /// Puts the ends of the chains of a shard back.
    pub async fn restore_heads(&self, shard: u16, heads: &BTreeMap<String, String>) -> Result<(), StoreError> {
        if heads.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HSET");
        let key = self.schema.shard_heads(shard);
        command.arg(&key);
        for (node, head) in heads {
            command.arg(node).arg(head);
        }
        self.query::<u64>(&*self.shared.at(&key).await?, command).await.map(|_| ())
    }
}
