//! The table of nodes: their leases, what they have applied, and what they say of themselves.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::place::LEASE_CEILING;
use super::{Introduction, Store, StoreError};
use crate::clock::rfc3339;
use crate::epoch::Epoch;
use crate::verify::freshness::Place;

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
    /// For how long it may answer from memory after a renewal, in milliseconds. 0: it looks everything up.
    pub lease_ms: u64,
    /// How long ago it renewed its lease, in milliseconds, on the store's clock.
    pub lease_age_ms: u64,
    /// The epoch that it has applied.
    pub applied_epoch: Epoch,
    /// How often it has renewed its lease.
    pub renewals: u64,
    /// Tokens that it decides about in a second.
    pub tokens_per_second: u64,
    /// When it last renewed its lease, on the store's clock.
    #[serde(with = "rfc3339")]
    pub seen_at: DateTime<Utc>,
}

impl Node {
    /// Whether it has renewed its lease in time, and may answer from memory.
    pub fn has_lease(&self) -> bool {
        self.lease_ms > 0 && self.lease_age_ms <= self.lease_ms
    }
}

/// The lease of a node, as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLease {
    /// The node.
    pub id: String,
    /// How often it has renewed.
    pub renewals: u64,
    /// For how long it may answer from memory after a renewal.
    pub length: Duration,
    /// The epoch that it has reported.
    pub applied: Epoch,
    seen_at_ms: i64,
    tokens_per_second: u64,
    /// As it stands there.
    text: String,
}

/// The table, and where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Where.
    pub place: Place,
    /// Each node in it.
    pub leases: Vec<NodeLease>,
}

impl NodeLease {
    /// Reads `RENEWALS LENGTH APPLIED SEEN RATE`, times in milliseconds.
    fn parse(id: &str, text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [renewals, length, applied, seen, rate] = parts.as_slice() else { return None };
        Some(Self {
            id: id.to_owned(),
            renewals: renewals.parse().ok()?,
            // Whoever writes to the table could say more; no lease is longer.
            length: Duration::from_millis(length.parse().ok()?).min(LEASE_CEILING),
            applied: applied.parse().ok()?,
            seen_at_ms: seen.parse().ok()?,
            tokens_per_second: rate.parse().ok()?,
            text: text.to_owned(),
        })
    }
}

/// The leases of a script's reply. One that can't be read may be as long as any: no receipt overlooks it.
pub(super) fn leases(reply: &[String]) -> Vec<NodeLease> {
    let unreadable = |id: &str, text: &str| NodeLease {
        id: id.to_owned(),
        text: text.to_owned(),
        renewals: 0,
        length: LEASE_CEILING,
        applied: Epoch::default(),
        seen_at_ms: 0,
        tokens_per_second: 0,
    };
    let mut leases = Vec::with_capacity(reply.len() / 2);
    for pair in reply.chunks(2) {
        let [id, text] = pair else { continue };
        leases.push(NodeLease::parse(id, text).unwrap_or_else(|| unreadable(id, text)));
    }
    leases
}

impl Store {
    /// The table of nodes, read by a script that replicas and cut-off primaries refuse (F3).
    pub async fn table(&self) -> Result<Table, StoreError> {
        let reply: Vec<String> =
            self.run(&self.leases, self.scripts.table.key(self.schema.meta()).key(self.schema.leases())).await?;
        let (place, rest) = self.place(&reply).await?;
        Ok(Table { place, leases: leases(rest) })
    }

    /// Takes a node out of the table if its renewals still stand where they stood. `false`: it has renewed meanwhile.
    pub async fn remove_standing(&self, lease: &NodeLease) -> Result<bool, StoreError> {
        self.remove(&lease.id, Some(&lease.text)).await
    }

    /// The nodes that are there, by name.
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(self.schema.nodes());
        pipeline.cmd("HGETALL").arg(self.schema.leases());
        pipeline.cmd("TIME");
        let (introductions, leases, time) = self.pipeline(&self.reads, &pipeline).await?;
        Ok(read(introductions, leases, time))
    }
}

/// The entries of the table, by name.
pub(super) fn read(
    introductions: Vec<(String, String)>,
    leases: HashMap<String, String>,
    (seconds, micros): (i64, i64),
) -> Vec<Node> {
    let now_ms = seconds * 1000 + micros / 1000;
    let mut nodes = introductions
        .into_iter()
        .filter_map(|(id, text)| {
            let lease = leases.get(&id).and_then(|text| NodeLease::parse(&id, text));
            let (Ok(node), Some(lease)) = (serde_json::from_str::<Introduction>(&text), lease) else {
                tracing::error!(id, "an unreadable entry is left out of the list of nodes");
                return None;
            };
            Some(Node {
                id,
                name: node.name,
                version: node.version,
                address: node.address,
                lease_ms: u64::try_from(lease.length.as_millis()).unwrap_or(u64::MAX),
                lease_age_ms: u64::try_from(now_ms.saturating_sub(lease.seen_at_ms)).unwrap_or(0),
                applied_epoch: lease.applied,
                renewals: lease.renewals,
                tokens_per_second: lease.tokens_per_second,
                seen_at: DateTime::from_timestamp_millis(lease.seen_at_ms).unwrap_or_default(),
            })
        })
        .collect::<Vec<_>>();
    nodes.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    nodes
}
