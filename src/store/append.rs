//! A node's events on their way into the firehose.

use super::schema::shard_of;
use super::{NodeStore, StoreError};

/// Events of one node, to be written as one entry.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The node.
    pub node: String,
    /// The process, random.
    pub process: String,
    /// The number among its batches.
    pub number: u64,
    /// The lowest sequence of an event.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// How many.
    pub count: usize,
    /// A line of JSON each.
    pub lines: String,
}

impl NodeStore {
    /// Writes a batch, once, however often it is repeated. The dataset has to be met before.
    pub async fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        self.has_room()?;
        let shard = shard_of(&batch.node);
        let mut script = self.node_scripts.append.prepare_invoke();
        script
            .key(self.schema.shard_log(shard))
            .key(self.schema.shard_heads(shard))
            .arg(&batch.node)
            .arg(batch.first)
            .arg(batch.last)
            .arg(batch.count)
            .arg(&batch.lines)
            .arg(self.firehose())
            .arg(&batch.process)
            .arg(batch.number);
        self.run::<u64>(&self.audit, &script).await.map(|_| ())
    }

    /// The highest sequence that this node has used in calls.
    pub async fn last_call(&self, node: &str) -> Result<u64, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.schema.shard_heads(shard_of(node))).arg(node);
        let last: Option<u64> = self.query(&self.shared, command).await?;
        Ok(last.unwrap_or(0))
    }
}
