//! The history of a store: which server each of its terms belongs to, and where it ended.
//!
//! Terms alone don't tell: the primary that was cut off and the replica that was promoted may both begin the next one.

use std::collections::HashMap;

use super::Entry;
use crate::epoch::Epoch;

/// So many terms that have ended are remembered. What was changed in an earlier one counts as known to the store.
pub const KEPT_TERMS: u64 = 1000;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    pub(super) dataset: String,
    pub(super) server: String,
    pub(super) now: Epoch,
    /// Of terms that have ended: whose they were, and their last counter.
    past: HashMap<u64, (String, u64)>,
    /// Terms before this one are forgotten. They are not told by their distance: a term may begin far beyond the one before it.
    forgotten_before: u64,
}

impl Lineage {
    /// Of what [`start.lua`] replies: `TERM COUNTER SERVER` of each term that has ended, a line each.
    ///
    /// [`start.lua`]: ../scripts/start.lua
    pub(in crate::store) fn read(dataset: &str, server: &str, now: Epoch, past: &str) -> Self {
        let term = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            let (term, counter) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some((term, (parts.next()?.to_owned(), counter)))
        };
        let past: HashMap<_, _> = past.lines().filter_map(term).collect();
        let oldest = past.keys().min().filter(|_| past.len() as u64 >= KEPT_TERMS);
        let forgotten_before = oldest.copied().unwrap_or(0);
        Self { dataset: dataset.to_owned(), server: server.to_owned(), now, past, forgotten_before }
    }

    /// The server to which a term belongs here.
    pub fn server_of(&self, term: u64) -> Option<&str> {
        if term == self.now.term {
            return Some(&self.server);
        }
        self.past.get(&term).map(|(server, _)| server.as_str())
    }

    /// Whether this term was begun since, by somebody else.
    pub(in crate::store) fn is_before(&self, term: u64) -> bool {
        term > self.now.term
    }

    /// Whether a store of this history has a change.
    pub fn contains(&self, entry: &Entry) -> bool {
        if entry.dataset != self.dataset {
            return true;
        }
        let Epoch { term, counter } = entry.epoch;
        if term == self.now.term {
            return entry.server == self.server && counter <= self.now.counter;
        }
        match self.past.get(&term) {
            Some((server, ended)) => entry.server == *server && counter <= *ended,
            // So long ago that nobody remembers; or never here.
            None => term < self.forgotten_before,
        }
    }

    /// Whether this version is of the server's term.
    pub(super) fn has(&self, server: &str, version: Epoch) -> bool {
        self.server_of(version.term) == Some(server)
    }
}
