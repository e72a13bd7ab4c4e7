//! The table of nodes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::clock::rfc3339;
use crate::epoch::Epoch;

/// A process that verifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Node {
    /// Random for each process.
    pub id: String,
    /// Its configured name.
    pub name: String,
    /// The version of Countermark that it runs.
    pub version: String,
    /// Where it listens.
    pub address: String,
    /// For how long it may answer from memory. 0: it looks everything up.
    pub lease_ms: u64,
    /// The epoch that it has applied.
    pub applied_epoch: Epoch,
    /// How often it has said that it is there.
    pub renewals: u64,
    /// When it last did, on the store's clock.
    #[serde(with = "rfc3339")]
    pub seen_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Stored {
    name: String,
    version: String,
    address: String,
    lease_ms: u64,
    applied_epoch: Epoch,
    renewals: u64,
    seen_at_ms: i64,
}

/// What a node says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct Introduction {
    /// Its configured name.
    pub name: String,
    /// The version that it runs.
    pub version: &'static str,
    /// Where it listens.
    pub address: String,
    /// For how long it may answer from memory.
    pub lease_ms: u64,
    /// The epoch that it has applied.
    pub applied_epoch: Epoch,
}

impl Store {
    /// Says that the node is there.
    pub async fn announce(&self, id: &str, node: &Introduction) -> Result<(), StoreError> {
        self.still_met().await?;
        let said = serde_json::to_string(node).map_err(|_| StoreError::Corrupt("a node".into()))?;
        self.run::<u64>(&self.shared, self.scripts.heartbeat.key(self.schema.nodes()).arg(id).arg(said).arg(""))
            .await?;
        Ok(())
    }

    /// Says that the node goes.
    pub async fn leave(&self, id: &str) -> Result<(), StoreError> {
        self.has_some_room()?;
        self.run::<u64>(&self.shared, self.scripts.heartbeat.key(self.schema.nodes()).arg(id).arg("{}").arg("leaving"))
            .await?;
        Ok(())
    }

    /// The nodes that were there within the last minute, by name.
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.schema.nodes());
        Ok(read(self.query(&self.reads, command).await?))
    }

    /// The epoch of the last change.
    pub async fn epoch(&self) -> Result<Epoch, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.schema.meta()).arg("term").arg("counter");
        let (term, counter): (u64, u64) = self.query(&self.shared, command).await?;
        Ok(Epoch { term, counter })
    }
}

/// The entries of the table, by name.
pub(super) fn read(all: Vec<(String, String)>) -> Vec<Node> {
    let mut nodes = all
        .into_iter()
        .filter_map(|(id, text)| {
            let Ok(node) = serde_json::from_str::<Stored>(&text) else {
                tracing::error!(id, "an unreadable entry is left out of the list of nodes");
                return None;
            };
            Some(Node {
                id,
                name: node.name,
                version: node.version,
                address: node.address,
                lease_ms: node.lease_ms,
                applied_epoch: node.applied_epoch,
                renewals: node.renewals,
                seen_at: DateTime::from_timestamp_millis(node.seen_at_ms).unwrap_or_default(),
            })
        })
        .collect::<Vec<_>>();
    nodes.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    nodes
}
