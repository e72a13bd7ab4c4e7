//! What comes of a check.

use chrono::{DateTime, Utc};

use crate::audit::checkpoint::Part;

/// So many findings are told; the others are counted.
const TOLD: usize = 100;

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Events that were read.
    pub events: u64,
    /// Events that are there as hashes only.
    pub left_out: u64,
    /// Blocks.
    pub blocks: u64,
    /// Acts.
    pub acts: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// When the last checkpoint was signed that stands before the events: up to there it is proven that nothing is missing.
    pub proven_until: Option<DateTime<Utc>>,
    /// Blocks and acts after it: genuine in themselves only as far as the store is trusted.
    pub unproven: u64,
    /// Which part of the audit it is.
    pub part: Part,
    /// Segments of an archive.
    pub segments: u64,
    /// What whoever reads it should know, and is no fault.
    pub notes: Vec<String>,
    /// What is wrong, and where.
    pub findings: Vec<String>,
    /// Further findings.
    pub more: u64,
    /// The file that is being read.
    pub(super) file: Option<String>,
}

impl Report {
    pub(super) fn all_wrong(&mut self, all: impl IntoIterator<Item = String>) {
        all.into_iter().for_each(|what| self.wrong(what));
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn wrong(&mut self, what: String) {
        let what = match &self.file {
            Some(file) => format!("{file}: {what}"),
            None => what,
        };
        if self.findings.len() < TOLD {
            self.findings.push(what);
        } else {
            self.more += 1;
        }
    }
}
