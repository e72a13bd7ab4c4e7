//! What a backup holds: one record after another, each as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::account::AccountId;
use crate::epoch::Epoch;

/// One record. Texts are as they lie in the store; whoever puts them back reads them first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    /// An account, or what remains of one. Where one stands in the file twice, the newer one counts.
    Account(StoredRecord),
    /// What changed while the accounts before it were read. Few.
    Later(StoredRecord),
    /// Everything beside accounts and the audit, of the moment that the backup is of.
    Rest(Box<Rest>),
    /// A block of the audit.
    Block { shard: u16, entry: String, header: String, lines: String },
    /// An act of the audit.
    Act { entry: String, epoch: String, line: String },
    /// A checkpoint of the audit.
    Checkpoint { entry: String, text: String },
    /// The ends of the chains of the audit, and how far those are who read it.
    Ends(Box<Ends>),
    /// The end. Nothing follows.
    End(End),
}

/// An account as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredRecord {
    pub(super) id: AccountId,
    /// `EPOCH {state record}`
    pub(super) state: String,
    /// JSON; of a deleted one there is none.
    pub(super) profile: Option<String>,
}

/// Of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rest {
    /// That moment: every account is as it was then, too.
    pub(super) epoch: Epoch,
    /// Of all terms until then, the server that they belong to, and the counter at which they ended; and the lease ceiling.
    pub(super) meta: BTreeMap<String, String>,
    pub(super) roles: BTreeMap<String, String>,
    pub(super) teams: BTreeMap<String, String>,
    /// The signing keys, sealed as in the store: see [`crate::keyring`].
    pub(super) keyring: BTreeMap<String, String>,
    /// The issuers that the dataset knows.
    pub(super) issuers: BTreeMap<String, String>,
}

/// Of the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ends {
    /// Of each shard, the last block of each node.
    pub(super) shards: BTreeMap<u16, BTreeMap<String, String>>,
    pub(super) acts: BTreeMap<String, String>,
    pub(super) unlinked: BTreeMap<String, String>,
    pub(super) sinks: BTreeMap<String, String>,
}

/// How many records there are before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) accounts: u64,
    pub(super) later: u64,
    pub(super) blocks: u64,
    pub(super) acts: u64,
    pub(super) checkpoints: u64,
}

impl End {
    /// Counts a record.
    pub(super) fn count(&mut self, record: &Record) {
        let which = match record {
            Record::Account(_) => &mut self.accounts,
            Record::Later(_) => &mut self.later,
            Record::Block { .. } => &mut self.blocks,
            Record::Act { .. } => &mut self.acts,
            Record::Checkpoint { .. } => &mut self.checkpoints,
            Record::Rest(_) | Record::Ends(_) | Record::End(_) => return,
        };
        *which += 1;
    }
}
