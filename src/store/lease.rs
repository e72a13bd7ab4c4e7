//! The lease of a node, as the node itself keeps it (protocols, section 2).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{NodeStore, StoreError};
use crate::epoch::Epoch;
use crate::verify::freshness::{Identity, Place};

/// What a node says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Introduction {
    /// Its configured name.
    pub name: String,
    /// The version that it runs.
    pub version: String,
    /// Where it listens.
    pub address: String,
}

/// A renewal.
#[derive(Debug)]
pub struct Renewal<'a> {
    /// The node.
    pub node: &'a str,
    /// Which server its memory follows. `None`: it has no memory and looks everything up.
    pub identity: Option<&'a Identity>,
    /// The length of the lease.
    pub length: Duration,
    /// What it has applied.
    pub applied: Epoch,
    /// Tokens that it decides about in a second.
    pub tokens_per_second: u64,
    /// Who it is.
    pub introduction: &'a Introduction,
    /// Which of its renewals it is; the first is 1.
    pub count: u64,
}

/// What came of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// It stands in the table of this place.
    Recorded(Place),
    /// It was not recorded: another server answered than the one that the node follows.
    OtherServer(Place),
    /// The lease is longer than this, which is the most that the dataset allows.
    TooLong(Duration),
}

impl NodeStore {
    /// Renews the lease of a node, and says where that was done (protocols, section 2).
    pub async fn renew(&self, renewal: &Renewal<'_>) -> Result<Renewed, StoreError> {
        self.has_room()?;
        let introduction =
            serde_json::to_string(renewal.introduction).map_err(|_| StoreError::Corrupt("a node".into()))?;
        let mut script = self.node_scripts.renew.prepare_invoke();
        script
            .key(self.schema.meta())
            .key(self.schema.leases())
            .key(self.schema.nodes())
            .arg(self.dataset_id().await?)
            .arg(renewal.identity.map_or("", Identity::server))
            .arg(renewal.node)
            .arg(u64::try_from(renewal.length.as_millis()).unwrap_or(u64::MAX))
            .arg(renewal.applied.to_string())
            .arg(renewal.tokens_per_second)
            .arg(introduction)
            .arg(renewal.count);
        let reply: Vec<String> = match &self.renewals {
            Some(confirmed) if !renewal.length.is_zero() => {
                self.run_confirmed(confirmed, &script, renewal.length).await?
            }
            _ => self.run(&self.leases, &script).await?,
        };
        let (place, rest) = self.place(&reply).await?;
        match rest {
            [outcome, _] if outcome == "ok" => Ok(Renewed::Recorded(place)),
            [outcome, _] if outcome == "not recorded" => Ok(Renewed::OtherServer(place)),
            [outcome, ceiling] if outcome == "ceiling" => {
                let ceiling = ceiling.parse().map_err(|_| StoreError::Corrupt("the lease ceiling".into()))?;
                Ok(Renewed::TooLong(Duration::from_millis(ceiling)))
            }
            _ => Err(StoreError::Corrupt("the reply to a renewal".into())),
        }
    }

    /// Takes a node out of the table, which says goodbye.
    pub async fn leave(&self, node: &str) -> Result<(), StoreError> {
        self.remove(node, None).await.map(|_| ())
    }

    pub(super) async fn remove(&self, node: &str, standing: Option<&str>) -> Result<bool, StoreError> {
        self.has_some_room()?;
        let mut script = self.node_scripts.remove.prepare_invoke();
        script.key(self.schema.leases()).key(self.schema.nodes()).arg(node).arg(standing.unwrap_or_default());
        self.run(&self.leases, &script).await
    }
}
