//! What is measured of events on their way to the store.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::node::Recorder;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RecorderMetrics {
    waiting: Gauge,
    written: Counter<u64, AtomicU64>,
    blocks: Counter<u64, AtomicU64>,
    writing_seconds: Counter<f64, AtomicU64>,
    failures: Counter<u64, AtomicU64>,
    refused: Counter<u64, AtomicU64>,
    dropped: Counter<u64, AtomicU64>,
    spilled_bytes: Gauge,
    spill_failures: Counter<u64, AtomicU64>,
    lost: Counter<u64, AtomicU64>,
}

impl RecorderMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("audit_waiting_events", "Events not yet written to the store", self.waiting.clone());
        registry.register("audit_written_events", "Events written to the store", self.written.clone());
        registry.register("audit_blocks", "Blocks in which they were written", self.blocks.clone());
        registry.register(
            "audit_writing_seconds",
            "Time that writing blocks took altogether, with all tries",
            self.writing_seconds.clone(),
        );
        registry.register("audit_write_failures", "Failed tries to write events to the store", self.failures.clone());
        registry.register(
            "audit_refused_calls",
            "Calls refused because their event could not be taken, or was not written in time",
            self.refused.clone(),
        );
        registry.register("audit_dropped_events", "Events left out because there was no room", self.dropped.clone());
        registry.register("audit_spilled_bytes", "Events that wait on disk, in bytes", self.spilled_bytes.clone());
        registry.register(
            "audit_spill_failures",
            "Batches of events that could not be written to disk and wait in memory",
            self.spill_failures.clone(),
        );
        registry.register(
            "audit_lost_events",
            "Events that waited on disk and could not be read any more",
            self.lost.clone(),
        );
    }

    /// Takes over what the recorder has counted.
    pub(super) fn update(&self, recorder: &Recorder) {
        let counters = recorder.counters();
        self.waiting.set(i64::try_from(counters.waiting()).unwrap_or(i64::MAX));
        self.spilled_bytes.set(i64::try_from(recorder.spilled_bytes()).unwrap_or(i64::MAX));
        // Of two who ask at once, the later may have the older counts.
        for (metric, count) in [
            (&self.written, &counters.written),
            (&self.blocks, &counters.blocks),
            (&self.failures, &counters.failures),
            (&self.dropped, &counters.dropped),
            (&self.spill_failures, &counters.spill_failures),
            (&self.lost, &counters.lost),
        ] {
            metric.inner().fetch_max(count.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let refused = counters.refused.load(Ordering::Relaxed) + counters.late.load(Ordering::Relaxed);
        self.refused.inner().fetch_max(refused, Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss)] // so many seconds
        let seconds = counters.writing_us.load(Ordering::Relaxed) as f64 / 1e6;
        // The bits of numbers that are not negative have their order.
        self.writing_seconds.inner().fetch_max(seconds.to_bits(), Ordering::Relaxed);
    }
}
