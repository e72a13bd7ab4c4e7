//! What is exported of the audit so that it can be checked without the store, and the check (protocols, section 6, A3).
//!
//! An export is a text of lines. Each is either an event, as it was written, or a [`Record`] that says what follows. It begins with
//! [`Record::Begin`] and all checkpoints that are kept, has the blocks of one shard after the other and the acts, and ends with a
//! [`Record::Seal`]. In between stand [`Record::Mark`]s, from which it was gone on with if it was interrupted.

mod chains;
mod report;
mod segments;
mod verification;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::checkpoint::Part;
use crate::clock::rfc3339;

pub use report::Report;
pub use verification::Verification;
pub(crate) use verification::numbered;

/// How a line that is a record begins, and no event does.
pub const RECORD: &str = "{\"record\":";
/// The form that is written here. The one before it had no marks, and is read too.
pub const VERSION: u32 = 2;

/// What is said between events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The beginning.
    Begin {
        /// [`VERSION`].
        version: u32,
        /// The dataset.
        dataset: String,
        /// By the issuer's clock.
        #[serde(with = "rfc3339")]
        time: DateTime<Utc>,
        /// What was asked for.
        part: Part,
    },
    /// The beginning of a segment of an archive: a checkpoint, entries of one stream and a [`Seal`](Self::Seal) follow.
    Segment {
        /// [`VERSION`].
        version: u32,
        /// The dataset.
        dataset: String,
        /// The stream: `0`, `1` … or `acts`.
        stream: String,
        /// Which of the stream's segments.
        number: u64,
        /// The hash of the end of the segment before.
        previous: String,
        /// The last entry of the segment before. Empty: entries before this segment were removed without being archived, or there were none.
        after: String,
    },
    /// A checkpoint.
    Checkpoint {
        /// The id of its entry.
        id: String,
        /// As it was written.
        text: String,
    },
    /// A block. Its events follow, but for those that are left out.
    Block {
        /// The stream: `0`, `1` …
        stream: String,
        /// The id of its entry.
        id: String,
        /// Its header, as it was written.
        header: String,
        /// Whether all of its events are left out.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        withheld: bool,
        /// Events that are left out: their places in the block, from 0, and their hashes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        omitted: Vec<(u64, String)>,
    },
    /// An act. Its event follows, unless it is left out.
    Act {
        /// The id of its entry.
        id: String,
        /// The epoch of the change.
        epoch: String,
        /// The hash of an event that is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        omitted: Option<String>,
    },
    /// A place from which it can be gone on with.
    Mark {
        /// A [`Mark`](super::checkpoint::Mark), signed.
        text: String,
    },
    /// The end.
    Seal {
        /// A [`Seal`](super::checkpoint::Seal), or a [`Segment`](super::archive::Segment), signed.
        text: String,
    },
    /// No end: whoever exported it has stopped here.
    Broken {
        /// Why: `stopping`, or why the token is not good for it any more.
        reason: String,
    },
}

impl Record {
    /// As a line, without its end.
    pub fn to_line(&self) -> String {
        // All members have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}
