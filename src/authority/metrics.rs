use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::recorder_metrics::RecorderMetrics;
use crate::sinks::SinkMetrics;
use crate::verify::freshness::Freshness;
use crate::verify::{Reason, SignatureCounts};

const ALLOWED: &str = "allowed";
/// The route that is asked most.
pub const VERIFY: &str = "/verify";

/// Of a decision about a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    /// `allowed`, or why not.
    pub reason: &'static str,
}

/// Of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern, never the path: paths are the client's.
    pub route: Cow<'static, str>,
    /// The status.
    pub status: u16,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    /// Those of them, and of the requests, that are the most by far: counted without a search in the table.
    allowed: Counter,
    verified: (RequestLabels, Counter),
    requests: Family<RequestLabels, Counter>,
    duration: Histogram,
    /// Acts committed.
    pub acts: Counter,
    /// Changes that the store had lost, and that were made up for.
    pub raises: Counter,
    /// Issuers that have not raised the store yet.
    pub issuers_waited_for: Gauge,
    /// 1 while the journal takes no entries.
    pub journal_stuck: Gauge,
    /// Looks at signing keys in the store that were not what they had been: changed by hand, or older.
    pub keys_refused: Counter,
    /// What the recorder of events has counted.
    pub(super) recorder: RecorderMetrics,
    /// How old the last checkpoint of the audit is, in seconds.
    pub checkpoint_age: Gauge<i64, std::sync::atomic::AtomicI64>,
    /// Looks at the audit that have found something wrong with it.
    pub audit_alarms: Counter<u64, AtomicU64>,
    /// Entries of the audit that were archived here.
    pub archived_entries: Counter<u64, AtomicU64>,
    /// The files that they are in, in bytes.
    pub archived_bytes: Counter<u64, AtomicU64>,
    /// Failed tries to archive.
    pub archive_failures: Counter<u64, AtomicU64>,
    /// How old the oldest entry is that is not archived, in seconds.
    pub archive_lag: Gauge<i64, std::sync::atomic::AtomicI64>,
    /// The sinks of the audit.
    pub sinks: SinkMetrics,
    /// Open connections.
    pub connections: Gauge<i64, std::sync::atomic::AtomicI64>,
    /// Connections closed at once because all places were taken and in use.
    pub connections_refused: Counter<u64, AtomicU64>,
    /// Connections closed to make room for newer ones.
    pub connections_displaced: Counter<u64, AtomicU64>,
    signature_hits: Counter<u64, AtomicU64>,
    signature_misses: Counter<u64, AtomicU64>,
    signature_entries: Gauge,
    signature_bytes: Gauge,
    state_recalls: Counter<u64, AtomicU64>,
    state_lookups: Counter<u64, AtomicU64>,
    state_drops: Counter<u64, AtomicU64>,
    state_late_answers: Counter<u64, AtomicU64>,
    state_rollbacks: Counter<u64, AtomicU64>,
    state_accounts: Gauge,
    state_bytes: Gauge,
    lease: Gauge,
    lease_renewals: Counter<u64, AtomicU64>,
    feed_reads: Counter<u64, AtomicU64>,
    /// 1 while ready.
    pub ready: Gauge,
    /// 1 while the store's disk has no room for changes.
    pub store_full: Gauge,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("countermark");
        let decisions = Family::<DecisionLabels, Counter>::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let verified = RequestLabels { route: Cow::Borrowed(VERIFY), status: 200 };
        let metrics = Self {
            allowed: decisions.get_or_create_owned(&DecisionLabels { reason: ALLOWED }),
            verified: (verified.clone(), requests.get_or_create_owned(&verified)),
            decisions,
            requests,
            duration: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            acts: Counter::default(),
            raises: Counter::default(),
            issuers_waited_for: Gauge::default(),
            journal_stuck: Gauge::default(),
            keys_refused: Counter::default(),
            recorder: RecorderMetrics::default(),
            checkpoint_age: Gauge::default(),
            audit_alarms: Counter::default(),
            archived_entries: Counter::default(),
            archived_bytes: Counter::default(),
            archive_failures: Counter::default(),
            archive_lag: Gauge::default(),
            sinks: SinkMetrics::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            connections_displaced: Counter::default(),
            signature_hits: Counter::default(),
            signature_misses: Counter::default(),
            signature_entries: Gauge::default(),
            signature_bytes: Gauge::default(),
            state_recalls: Counter::default(),
            state_lookups: Counter::default(),
            state_drops: Counter::default(),
            state_late_answers: Counter::default(),
            state_rollbacks: Counter::default(),
            state_accounts: Gauge::default(),
            state_bytes: Gauge::default(),
            lease: Gauge::default(),
            lease_renewals: Counter::default(),
            feed_reads: Counter::default(),
            ready: Gauge::default(),
            store_full: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("decisions", "Decisions about tokens, by reason", metrics.decisions.clone());
        registry.register("requests", "HTTP requests", metrics.requests.clone());
        registry.register("request_duration_seconds", "Time to answer", metrics.duration.clone());
        registry.register("acts", "Administrative acts committed", metrics.acts.clone());
        registry.register(
            "raises",
            "Changes that a restored or promoted store lacked, and that were made up for",
            metrics.raises.clone(),
        );
        registry.register(
            "issuers_waited_for",
            "Issuers that have not raised the store yet: until then it serves nobody",
            metrics.issuers_waited_for.clone(),
        );
        registry.register(
            "journal_stuck",
            "1 while the journal of changes takes no entries, so that no change is made",
            metrics.journal_stuck.clone(),
        );
        registry.register(
            "keys_refused",
            "Looks at signing keys in the store that were older than before, or did not open",
            metrics.keys_refused.clone(),
        );
        metrics.recorder.register(&mut registry);
        registry.register(
            "audit_checkpoint_age_seconds",
            "Age of the last signed checkpoint of the audit",
            metrics.checkpoint_age.clone(),
        );
        registry.register(
            "audit_alarms",
            "Looks at the audit in the store that found checkpoints or blocks missing or changed",
            metrics.audit_alarms.clone(),
        );
        metrics.register_archive(&mut registry);
        metrics.sinks.register(&mut registry);
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed at once because all places were taken and in use",
            metrics.connections_refused.clone(),
        );
        registry.register(
            "connections_displaced",
            "Connections closed to make room for newer ones",
            metrics.connections_displaced.clone(),
        );
        registry.register(
            "signature_cache_hits",
            "Tokens whose signature was known to be genuine",
            metrics.signature_hits.clone(),
        );
        registry.register(
            "signature_cache_misses",
            "Signatures that had to be checked",
            metrics.signature_misses.clone(),
        );
        registry.register(
            "signature_cache_entries",
            "Tokens whose signature is known",
            metrics.signature_entries.clone(),
        );
        registry.register("signature_cache_bytes", "Memory that they take up", metrics.signature_bytes.clone());
        metrics.register_freshness(&mut registry);
        registry.register("ready", "1 while ready", metrics.ready.clone());
        registry.register(
            "store_full",
            "1 while the disk of the private Redis has no room for changes",
            metrics.store_full.clone(),
        );
        Self { registry, ..metrics }
    }

    fn register_archive(&self, registry: &mut Registry) {
        registry.register(
            "audit_archived_entries",
            "Blocks and acts that were archived here",
            self.archived_entries.clone(),
        );
        registry.register("audit_archived_bytes", "What they take up in files", self.archived_bytes.clone());
        registry.register(
            "audit_archive_failures",
            "Failed tries to archive: nothing is removed from the store meanwhile",
            self.archive_failures.clone(),
        );
        registry.register(
            "audit_archive_lag_seconds",
            "Age of the oldest block or act that is not archived",
            self.archive_lag.clone(),
        );
    }

    fn register_freshness(&self, registry: &mut Registry) {
        registry.register("state_recalls", "States of accounts read from memory", self.state_recalls.clone());
        registry.register("state_lookups", "States of accounts asked for in the store", self.state_lookups.clone());
        registry.register("state_drops", "Times that all that was known was forgotten", self.state_drops.clone());
        registry.register(
            "state_late_answers",
            "Answers that came too late to be remembered",
            self.state_late_answers.clone(),
        );
        registry.register(
            "state_rollbacks",
            "Answers of a store that had gone back behind what it had said",
            self.state_rollbacks.clone(),
        );
        registry.register("state_accounts", "Accounts whose state is remembered", self.state_accounts.clone());
        registry.register("state_bytes", "Memory that they take up", self.state_bytes.clone());
        registry.register("lease", "1 while decisions may be made from memory", self.lease.clone());
        registry.register("lease_renewals", "Renewals of the lease that were sent", self.lease_renewals.clone());
        registry.register("feed_reads", "Readings of the feed of changes", self.feed_reads.clone());
    }

    /// Counts a decision.
    pub fn decided(&self, refusal: Option<Reason>) {
        match refusal {
            None => self.allowed.inc(),
            Some(refusal) => self.decisions.get_or_create(&DecisionLabels { reason: refusal.as_str() }).inc(),
        };
    }

    /// Counts an answered request.
    pub fn answered(&self, route: Cow<'static, str>, status: u16, seconds: f64) {
        let labels = RequestLabels { route, status };
        if labels == self.verified.0 {
            self.verified.1.inc();
        } else {
            self.requests.get_or_create(&labels).inc();
        }
        self.duration.observe(seconds);
    }

    /// Takes over what the verifier has counted.
    pub(super) fn signatures(&self, counts: SignatureCounts) {
        // Of two who ask at once, the later may have the older counts.
        self.signature_hits.inner().fetch_max(counts.hits, Ordering::Relaxed);
        self.signature_misses.inner().fetch_max(counts.misses, Ordering::Relaxed);
        self.signature_entries.set(i64::try_from(counts.entries).unwrap_or(i64::MAX));
        self.signature_bytes.set(i64::try_from(counts.bytes).unwrap_or(i64::MAX));
    }

    /// Takes over what the node knows of its freshness.
    pub(super) fn freshness(&self, freshness: &Freshness) {
        let counters = freshness.counters();
        for (metric, count) in [
            (&self.state_recalls, &counters.recalled),
            (&self.state_lookups, &counters.looked_up),
            (&self.state_drops, &counters.dropped),
            (&self.state_late_answers, &counters.late),
            (&self.state_rollbacks, &counters.rolled_back),
            (&self.lease_renewals, &counters.renewals),
            (&self.feed_reads, &counters.feed_reads),
        ] {
            metric.inner().fetch_max(count.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let memory = freshness.memory();
        let (accounts, bytes) = memory.map_or((0, 0), |memory| (memory.accounts() as u64, memory.bytes()));
        self.state_accounts.set(i64::try_from(accounts).unwrap_or(i64::MAX));
        self.state_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.lease.set(i64::from(freshness.has_lease()));
    }

    /// In the OpenMetrics text format, which Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
