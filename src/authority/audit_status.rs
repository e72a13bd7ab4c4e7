//! How the audit stands: what is proven of it, what is missing, and how far those have come who gather, archive and send it on.
//!
//! Nothing is verified here but the last checkpoint: what is missing was noticed by whoever signed it. All of it is looked at by
//! `countermark audit verify`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::checkpoints::is_gone;
use super::{Authority, Error};
use crate::audit::checkpoint::{Checkpoint, KeptFrom, NodeHead, NotACheckpoint};
use crate::clock::rfc3339;
use crate::store::{ArchiveCursor, Head, SinkStanding, StoredCursor, Stream, written_at};

/// Chains that are told of: those that were written to last.
const CHAINS: usize = 500;
/// Losses that are told of: the last ones.
const LOSSES: usize = 100;
/// Sinks that are told of.
const SINKS: usize = 32;

/// How the audit stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AuditStatus {
    /// What was signed last; null: nothing was yet.
    #[schema(required = true)]
    pub checkpoint: Option<LastCheckpoint>,
    /// The ends of the nodes' chains, the last written first, 500 at the most.
    pub chains: Vec<ChainEnd>,
    /// Whether these are all.
    pub complete: bool,
    /// Acts that no node's chain links yet. They are committed; a few are on their way.
    pub unlinked_acts: u64,
    /// Blocks that were signed and are not there any more, a hundred at the most, the last one noticed first.
    pub lost: Vec<LostBlock>,
    /// Looks at the audit that have found something wrong with it, by the process that answers, since its start.
    pub alarms: u64,
    /// What there is, and how far the activity logs and the archive have come.
    pub streams: Vec<StreamStatus>,
    /// The sinks that there ever were.
    pub sinks: Vec<SinkStatus>,
}

/// A checkpoint: what an issuer has seen of all chains, signed.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LastCheckpoint {
    /// Its number; null where it can't be read.
    #[schema(required = true)]
    pub number: Option<u64>,
    /// When it was signed, by the issuer's clock; where it can't be read, when it was written.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// How long ago that was, in seconds.
    pub age_seconds: u64,
    /// The key that it says it was signed with, one of those with `key_ops` in the published set.
    #[schema(required = true)]
    pub key_id: Option<String>,
    /// How many chains it has the end of.
    pub chains: u64,
    /// How many acts there were.
    pub acts: u64,
    /// Whether its signature is that key's.
    pub verified: bool,
    /// What is wrong with it; null: nothing.
    #[schema(required = true)]
    pub problem: Option<String>,
}

/// The end of a node's chain.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ChainEnd {
    /// The node.
    pub node: String,
    /// The number of its last block.
    pub block: u64,
    /// The highest number of an event.
    pub events: u64,
    /// Numbers up to there whose events are still on their way.
    pub open: u64,
    /// When the block was written; null: there is none.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub written_at: Option<DateTime<Utc>>,
    /// The number of the last block that is signed; null: none of those that are kept.
    #[schema(required = true)]
    pub signed_block: Option<u64>,
    /// How it stands with what is signed.
    pub state: ChainState,
}

/// How a chain stands with what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChainState {
    /// All of it is signed.
    Signed,
    /// Blocks wait for the next checkpoint, as they do for some seconds.
    Waiting,
    /// All of it is older than what is kept, and was removed.
    Removed,
    /// What was signed is not there.
    Missing,
}

/// A block that was there once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LostBlock {
    /// The node.
    pub node: String,
    /// The number of the block.
    pub block: u64,
    /// When it was missed.
    #[serde(with = "rfc3339")]
    pub noticed_at: DateTime<Utc>,
}

/// A stream of the audit.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StreamStatus {
    /// `0` to `3` for the shards of the firehose, or `acts`.
    pub name: String,
    /// Blocks, or acts, that are there.
    pub entries: u64,
    /// Those that were removed in time, as it is signed.
    pub removed: u64,
    /// When the first of them was written; null: there is none.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub first_at: Option<DateTime<Utc>>,
    /// When the last one was written that there ever was.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub last_at: Option<DateTime<Utc>>,
    /// For how long the oldest block has been waiting for its place in the activity logs, in seconds. Acts need no other.
    pub activity_lag_seconds: u64,
    /// How far it is archived; null: it never was.
    #[schema(required = true)]
    pub archive: Option<ArchiveStatus>,
}

/// How far a stream is archived.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ArchiveStatus {
    /// Whether entries are only removed once they are archived.
    pub is_on: bool,
    /// The number of the last segment; 0: there is none.
    pub segment: u64,
    /// The node that has written it.
    pub node: String,
    /// When the last archived entry was written; null: none is archived.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub archived_up_to: Option<DateTime<Utc>>,
    /// How old the oldest entry is that is not archived, in seconds.
    pub lag_seconds: u64,
}

/// How a sink stands.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Whether an issuer delivers it now. One that fails is left for a moment between two tries, and one that was removed from the
    /// configuration for good.
    pub is_delivered: bool,
    /// Blocks and acts that it does not have yet; null where how far it has come can't be read.
    #[schema(required = true)]
    pub behind_entries: Option<u64>,
    /// How old the oldest of them is, in seconds.
    pub lag_seconds: u64,
}

impl Authority {
    /// How the audit stands now.
    pub async fn audit_status(&self) -> Result<AuditStatus, Error> {
        let store = &self.store;
        let (stored, heads, unlinked) =
            tokio::try_join!(store.last_checkpoint(), store.block_heads(), store.count_unlinked_acts())?;
        let (last, checkpoint) = match &stored {
            Some((id, text)) => {
                let (last, checkpoint) = self.last_checkpoint(id, text).await;
                (Some(last), checkpoint)
            }
            None => (None, None),
        };
        let kept = checkpoint.as_ref().map(|checkpoint| checkpoint.kept.clone()).unwrap_or_default();
        let signed = checkpoint.as_ref().map(|checkpoint| checkpoint.nodes.clone()).unwrap_or_default();
        let (streams, sinks) = tokio::try_join!(self.stream_statuses(&kept), self.sink_statuses())?;
        let mut chains = chain_ends(heads, signed, &kept);
        chains.sort_by(|a, b| (b.written_at, &a.node).cmp(&(a.written_at, &b.node)));
        let complete = chains.len() <= CHAINS;
        chains.truncate(CHAINS);
        let lost = checkpoint.map(|checkpoint| checkpoint.lost).unwrap_or_default();
        let lost = lost.into_iter().rev().take(LOSSES);
        Ok(AuditStatus {
            checkpoint: last,
            chains,
            complete,
            unlinked_acts: unlinked,
            lost: lost
                .map(|lost| LostBlock { node: lost.node, block: lost.head.block, noticed_at: lost.noticed_at })
                .collect(),
            alarms: self.metrics.audit_alarms.get(),
            streams,
            sinks,
        })
    }

    /// What is told of a checkpoint, and what stands in it, if it is one.
    pub(super) async fn last_checkpoint(&self, id: &str, text: &str) -> (LastCheckpoint, Option<Checkpoint>) {
        let open = || Checkpoint::open(text, &self.keys.now().audit.public);
        let mut opened = open();
        if matches!(opened, Err(NotACheckpoint::UnknownKey(_)))
            && let Ok(read) = self.keys.document().await
            && self.keys.at_least(read.version).await.is_ok()
        {
            // The key is newer than what was known of keys.
            opened = open();
        }
        let now = self.clock.now();
        let time = match &opened {
            Ok(checkpoint) => checkpoint.time,
            Err(_) => written_at(id).unwrap_or_default(),
        };
        let last = LastCheckpoint {
            number: opened.as_ref().ok().map(|checkpoint| checkpoint.number),
            time,
            age_seconds: seconds(now - time),
            key_id: Checkpoint::key_id_of(text),
            chains: opened.as_ref().map_or(0, |checkpoint| checkpoint.nodes.len() as u64),
            acts: opened.as_ref().map_or(0, |checkpoint| checkpoint.acts.count),
            verified: opened.is_ok(),
            problem: opened.as_ref().err().map(ToString::to_string),
        };
        (last, opened.ok())
    }

    pub(super) async fn stream_statuses(&self, kept: &BTreeMap<String, KeptFrom>) -> Result<Vec<StreamStatus>, Error> {
        let store = &self.store;
        let (streams, waiting, cursors, now) = tokio::try_join!(
            store.streams_of_audit(),
            store.waiting_for_activity(),
            store.archive_cursors(),
            store.time()
        )?;
        let now = DateTime::from_timestamp_millis(i64::try_from(now).unwrap_or(i64::MAX)).unwrap_or_default();
        let lag = |since: Option<DateTime<Utc>>| since.map_or(0, |since| seconds(now - since));
        let mut statuses = Vec::new();
        for Stream { name, entries, first, last } in streams {
            let archive = match cursors.get(&name).and_then(|StoredCursor { cursor, .. }| cursor.as_ref()) {
                Some(cursor) => Some(self.archive_status(&name, cursor, lag).await?),
                None => None,
            };
            statuses.push(StreamStatus {
                entries,
                removed: kept.get(&name).map_or(0, |kept| kept.removed),
                first_at: written_at(&first),
                last_at: written_at(&last),
                activity_lag_seconds: lag(waiting.get(&name).copied()),
                archive,
                name,
            });
        }
        Ok(statuses)
    }

    async fn archive_status(
        &self,
        stream: &str,
        cursor: &ArchiveCursor,
        lag: impl Fn(Option<DateTime<Utc>>) -> u64,
    ) -> Result<ArchiveStatus, Error> {
        let there = self.store.unarchived(stream, &cursor.archived.last).await?;
        Ok(ArchiveStatus {
            is_on: cursor.is_on,
            segment: cursor.archived.segment,
            node: cursor.node.clone(),
            archived_up_to: written_at(&cursor.archived.last),
            lag_seconds: lag(written_at(&there.next)),
        })
    }

    pub(super) async fn sink_statuses(&self) -> Result<Vec<SinkStatus>, Error> {
        let (sinks, now) = tokio::try_join!(self.store.sinks_standing(SINKS), self.store.time())?;
        let now = DateTime::from_timestamp_millis(i64::try_from(now).unwrap_or(i64::MAX)).unwrap_or_default();
        let told = |SinkStanding { name, holder, behind, waiting_since }| SinkStatus {
            name,
            is_delivered: holder.is_some(),
            behind_entries: behind,
            lag_seconds: waiting_since.map_or(0, |since| seconds(now - since)),
        };
        Ok(sinks.into_iter().map(told).collect())
    }
}

fn seconds(age: TimeDelta) -> u64 {
    u64::try_from(age.num_seconds()).unwrap_or(0)
}

/// The ends of all chains, as they are and as they were signed.
fn chain_ends(
    heads: BTreeMap<String, Head>,
    mut signed: BTreeMap<String, NodeHead>,
    kept: &BTreeMap<String, KeptFrom>,
) -> Vec<ChainEnd> {
    let mut ends = Vec::new();
    for (node, head) in heads {
        let signed = signed.remove(&node);
        let state = match &signed {
            _ if head.block > 0 && is_gone(&node, &head.entry, kept) => ChainState::Removed,
            Some(signed) if signed.block > head.block => ChainState::Missing,
            Some(signed) if signed.block == head.block && signed.hash != head.hash => ChainState::Missing,
            Some(signed) if signed.block == head.block => ChainState::Signed,
            None if head.block == 0 => ChainState::Signed,
            _ => ChainState::Waiting,
        };
        ends.push(ChainEnd {
            block: head.block,
            events: head.last,
            open: head.open.len() as u64,
            written_at: written_at(&head.entry),
            signed_block: signed.map(|signed| signed.block),
            state,
            node,
        });
    }
    // What is left of the signed ones is nowhere.
    ends.extend(signed.into_iter().filter(|(node, head)| !is_gone(node, &head.entry, kept)).map(|(node, head)| {
        ChainEnd {
            node,
            block: 0,
            events: 0,
            open: 0,
            written_at: None,
            signed_block: Some(head.block),
            state: ChainState::Missing,
        }
    }));
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_stands_as_it_was_signed_or_something_is_missing() {
        let head =
            |block, hash: &str, entry: &str| Head { block, hash: hash.into(), entry: entry.into(), ..Head::default() };
        let signed = |block, hash: &str| NodeHead { block, last: 0, hash: hash.into(), entry: "5-0".into() };
        let kept = (0..4).map(|shard| (shard.to_string(), KeptFrom { first: "3-0".into(), removed: 7 })).collect();
        let state = |head: Option<Head>, signed: Option<NodeHead>| {
            let heads = head.into_iter().map(|head| ("n".to_owned(), head)).collect();
            let signed = signed.into_iter().map(|signed| ("n".to_owned(), signed)).collect();
            chain_ends(heads, signed, &kept).first().map(|end| end.state)
        };
        assert_eq!(state(Some(head(2, "a", "5-0")), Some(signed(2, "a"))), Some(ChainState::Signed));
        assert_eq!(state(Some(head(3, "b", "6-0")), Some(signed(2, "a"))), Some(ChainState::Waiting));
        assert_eq!(state(Some(head(1, "b", "6-0")), None), Some(ChainState::Waiting));
        assert_eq!(state(Some(head(2, "a", "2-0")), None), Some(ChainState::Removed));
        assert_eq!(state(Some(head(2, "b", "5-0")), Some(signed(2, "a"))), Some(ChainState::Missing));
        assert_eq!(state(Some(head(1, "a", "5-0")), Some(signed(2, "a"))), Some(ChainState::Missing));
        assert_eq!(state(None, Some(signed(2, "a"))), Some(ChainState::Missing));
        assert_eq!(state(Some(Head::default()), None), Some(ChainState::Signed));
        assert_eq!(state(None, None), None);
    }
}
