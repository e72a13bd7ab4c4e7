//! The archive of the audit: files of what is to be removed from the store, so that it can be checked for as long as they are kept.
//!
//! Each stream has a row of segments, numbered 1, 2, 3 …, a file each. A segment is a text of lines as an export is
//! (see [`super::proof`]): a record that says which one it is, a checkpoint that proves it, the entries, and a [`Segment`], signed, that
//! names the one before by its hash.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::checkpoint::NotACheckpoint;
use super::{block, checkpoint};
use crate::clock::rfc3339;
use crate::token::{KeyError, SigningKey, VerificationKey};

/// The `typ` of its header, so that it is nothing else than this.
const SEGMENT: &str = "countermark-archive+jws";
/// How names of files end.
const ENDING: &str = ".jsonl";
/// So much of the hash of its end is in a segment's name.
const DIGITS: usize = 16;

/// What is signed at the end of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The dataset.
    pub dataset: String,
    /// The stream: `0`, `1` … or `acts`.
    pub stream: String,
    /// Which of the stream's segments: 1, 2, 3 …
    pub number: u64,
    /// By the issuer's clock.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// The issuer's node.
    pub node: String,
    /// The [hash](block::hash) of the end of the segment before, as it was written; empty in the first.
    pub previous: String,
    /// The last entry of the segment before. Empty: what came before this one was removed without being archived, or nothing did.
    pub after: String,
    /// The last entry.
    pub last: String,
    /// How many there are.
    pub entries: u64,
    /// The SHA-256, in hex, of all lines before it, each with its end.
    pub lines: String,
}

/// How far a stream is archived, as it is signed in checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// The number of the last segment; 0: there is none.
    pub segment: u64,
    /// The last entry. Empty: none of those that are in the stream.
    pub last: String,
    /// The [hash](block::hash) of the end of the last segment; empty where there is none.
    pub seal: String,
}

impl Archived {
    /// Whether this is the other one, or what comes after it. Where an archive was off, what it begins anew with is not known.
    pub fn goes_on_from(&self, earlier: &Self) -> bool {
        let is_same = (self.segment, &self.seal) == (earlier.segment, &earlier.seal);
        self.segment > earlier.segment
            || (is_same && (self.last == earlier.last || self.last.is_empty() || earlier.last.is_empty()))
    }
}

/// What a segment's file is called: `STREAM-NUMBER-HASH.jsonl`. The hash tells those apart that were written by two issuers at once,
/// or by one that was killed, of which one counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// The stream.
    pub stream: String,
    /// The number.
    pub number: u64,
    /// The first 16 digits of the hash of its end.
    pub seal: String,
}

impl Segment {
    /// Signed.
    pub fn sign(&self, key: &SigningKey) -> Result<String, KeyError> {
        checkpoint::sign(SEGMENT, self, key)
    }

    /// Of a text that one of these keys signed.
    pub fn open(text: &str, keys: &[VerificationKey]) -> Result<Self, NotACheckpoint> {
        checkpoint::open(SEGMENT, text, keys)
    }
}

impl SegmentName {
    /// Of the segment with this end.
    pub fn of(stream: &str, number: u64, seal: &str) -> Self {
        let hash = block::hash(seal);
        Self { stream: stream.to_owned(), number, seal: hash.get(..DIGITS).unwrap_or_default().to_owned() }
    }

    /// What a segment is called before it is whole.
    pub fn stem(stream: &str, number: u64) -> String {
        format!("{stream}-{number:010}")
    }

    /// The name of its file.
    pub fn file(&self) -> String {
        format!("{}-{}{ENDING}", Self::stem(&self.stream, self.number), self.seal)
    }

    /// Reads what [`file`](Self::file) writes. `None`: it is the name of something else.
    pub fn read(name: &str) -> Option<Self> {
        let mut words = name.strip_suffix(ENDING)?.split('-');
        let (stream, number, seal) = (words.next()?, words.next()?, words.next()?);
        let read = Self { stream: stream.to_owned(), number: number.parse().ok()?, seal: seal.to_owned() };
        (words.next().is_none() && !stream.is_empty() && seal.len() == DIGITS && read.file() == name).then_some(read)
    }

    /// Whether it is the one with the end of this hash.
    pub fn is_of(&self, hash: &str) -> bool {
        hash.starts_with(&self.seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is() {
        for stream in ["0", "acts"] {
            let name = SegmentName::of(stream, 12, "x");
            assert_eq!(SegmentName::read(&name.file()), Some(name.clone()));
            assert!(name.is_of(&block::hash("x")) && !name.is_of(&block::hash("y")));
        }
        let good = SegmentName::of("0", 7, "x").file();
        for bad in [
            String::new(),
            good.replace("0000000007", "7"),
            good.replace(".jsonl", ".jsonl.gz"),
            format!(".{good}"),
            good.replace(".jsonl", "-1.jsonl"),
            good.replace(".jsonl", "0.jsonl"),
        ] {
            assert_eq!(SegmentName::read(&bad).filter(|read| read.stream == "0"), None, "{bad}");
        }
    }
}
