use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::home::ApiHome;
use crate::node::Node;
use crate::verify::{Reason, SignatureCounts};

/// Decisions, by outcome.
#[derive(Default)]
pub(super) struct Decisions {
    allowed: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

impl Decisions {
    pub(super) fn count(&self, refusal: Option<Reason>) {
        let counter = match refusal {
            None => Some(&self.allowed),
            Some(reason) => Reason::ALL.iter().position(|known| *known == reason).and_then(|at| self.refused.get(at)),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a [`Verifier`](super::Verifier) has counted since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Tokens that were let through. A call whose permission was then refused counts here too, and under its refusal.
    pub allowed: u64,
    /// Refusals, by reason.
    pub refused: Vec<(Reason, u64)>,
    /// Tokens whose signature was known, those that had to be checked, and the memory of them.
    pub signatures: SignatureCounts,
    /// States of accounts read from memory.
    pub recalled: u64,
    /// States of accounts looked up in the store.
    pub looked_up: u64,
    /// Accounts in memory.
    pub accounts: u64,
    /// About the bytes that they take.
    pub account_bytes: u64,
    /// Whether decisions are made from memory now.
    pub has_lease: bool,
    /// Renewals of the lease that were sent.
    pub renewals: u64,
    /// How often all that was known was dropped.
    pub dropped: u64,
    /// Answers of a store that had gone back. More than none is an alarm.
    pub rolled_back: u64,
    /// Readings of the key set, and those that failed.
    pub key_set_reads: u64,
    /// Of these, those that failed.
    pub key_set_failures: u64,
    /// Events written to the store.
    pub events_written: u64,
    /// Events that wait for it.
    pub events_waiting: u64,
    /// Events that could not be taken, or were not written in time ([`AuditMode::Strict`](super::AuditMode::Strict)).
    pub events_refused: u64,
    /// Events that waited on disk, and could not be read any more.
    pub events_lost: u64,
    /// Events that were left out ([`AuditMode::BestEffort`](super::AuditMode::BestEffort)).
    pub events_dropped: u64,
    /// Bytes of events that wait on disk ([`AuditMode::Spill`](super::AuditMode::Spill)).
    pub spilled_bytes: u64,
    /// Batches that could not be written there, and wait in memory.
    pub spill_failures: u64,
}

impl Counts {
    pub(super) fn of(decisions: &Decisions, node: &Node<ApiHome>) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = Reason::ALL.into_iter().zip(decisions.refused.iter().map(read));
        let (counters, events) = (node.freshness().counters(), node.recorder().counters());
        let keys = node.home().cache().origin();
        let memory = node.freshness().memory();
        Self {
            allowed: read(&decisions.allowed),
            refused: refused.filter(|(_, count)| *count > 0).collect(),
            signatures: node.signature_counts(),
            recalled: read(&counters.recalled),
            looked_up: read(&counters.looked_up),
            accounts: memory.as_ref().map_or(0, |memory| memory.accounts() as u64),
            account_bytes: memory.as_ref().map_or(0, |memory| memory.bytes()),
            has_lease: node.freshness().has_lease(),
            renewals: read(&counters.renewals),
            dropped: read(&counters.dropped),
            rolled_back: read(&counters.rolled_back),
            key_set_reads: read(&keys.reads),
            key_set_failures: read(&keys.failures),
            events_written: read(&events.written),
            events_waiting: events.waiting(),
            events_refused: read(&events.refused) + read(&events.late),
            events_lost: read(&events.lost),
            events_dropped: read(&events.dropped),
            spilled_bytes: node.recorder().spilled_bytes(),
            spill_failures: read(&events.spill_failures),
        }
    }

    /// In the text format that Prometheus reads, for whatever the API serves its metrics with. Names begin with
    /// `countermark_node_`.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::from("# TYPE countermark_node_decisions_total counter\n");
        // Writing to a string does not fail.
        let _ = writeln!(text, "countermark_node_decisions_total{{reason=\"allowed\"}} {}", self.allowed);
        for (reason, count) in &self.refused {
            let _ = writeln!(text, "countermark_node_decisions_total{{reason=\"{reason}\"}} {count}");
        }
        let SignatureCounts { hits, misses, entries, bytes } = self.signatures;
        for (name, kind, value) in [
            ("signature_cache_hits_total", "counter", hits),
            ("signature_cache_misses_total", "counter", misses),
            ("signature_cache_entries", "gauge", entries),
            ("signature_cache_bytes", "gauge", bytes),
            ("state_recalls_total", "counter", self.recalled),
            ("state_lookups_total", "counter", self.looked_up),
            ("state_accounts", "gauge", self.accounts),
            ("state_bytes", "gauge", self.account_bytes),
            ("lease", "gauge", u64::from(self.has_lease)),
            ("lease_renewals_total", "counter", self.renewals),
            ("state_drops_total", "counter", self.dropped),
            ("state_rollbacks_total", "counter", self.rolled_back),
            ("key_set_reads_total", "counter", self.key_set_reads),
            ("key_set_failures_total", "counter", self.key_set_failures),
            ("audit_written_events_total", "counter", self.events_written),
            ("audit_waiting_events", "gauge", self.events_waiting),
            ("audit_refused_events_total", "counter", self.events_refused),
            ("audit_lost_events_total", "counter", self.events_lost),
            ("audit_dropped_events_total", "counter", self.events_dropped),
            ("audit_spilled_bytes", "gauge", self.spilled_bytes),
            ("audit_spill_failures_total", "counter", self.spill_failures),
        ] {
            let _ = writeln!(text, "# TYPE countermark_node_{name} {kind}\ncountermark_node_{name} {value}");
        }
        text
    }
}
