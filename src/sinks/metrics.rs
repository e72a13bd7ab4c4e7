use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    sink: String,
}

type Counters = Family<Labels, Counter<u64, AtomicU64>>;
type Gauges = Family<Labels, Gauge<i64, AtomicI64>>;

/// What is counted of all sinks.
#[derive(Debug, Clone, Default)]
pub struct SinkMetrics {
    delivered: Counters,
    failures: Counters,
    missed: Counters,
    lag: Gauges,
    behind: Gauges,
}

/// The same of one.
pub(super) struct OfOne {
    pub(super) delivered: Counter<u64, AtomicU64>,
    pub(super) failures: Counter<u64, AtomicU64>,
    pub(super) missed: Counter<u64, AtomicU64>,
    pub(super) lag: Gauge<i64, AtomicI64>,
    pub(super) behind: Gauge<i64, AtomicI64>,
}

impl SinkMetrics {
    /// Under these names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("audit_sink_delivered_events", "Events delivered to a sink", self.delivered.clone());
        registry.register("audit_sink_failures", "Failed tries to deliver events to a sink", self.failures.clone());
        registry.register(
            "audit_sink_missed_entries",
            "Blocks and acts that were removed before they could be delivered to a sink",
            self.missed.clone(),
        );
        registry.register(
            "audit_sink_lag_seconds",
            "Age of the oldest event not yet delivered to a sink, at the issuer that delivers it",
            self.lag.clone(),
        );
        registry.register(
            "audit_sink_behind_entries",
            "Blocks and acts not yet read for a sink, at the issuer that delivers it",
            self.behind.clone(),
        );
    }

    pub(super) fn of(&self, sink: &str) -> OfOne {
        let labels = Labels { sink: sink.to_owned() };
        OfOne {
            delivered: self.delivered.get_or_create_owned(&labels),
            failures: self.failures.get_or_create_owned(&labels),
            missed: self.missed.get_or_create_owned(&labels),
            lag: self.lag.get_or_create_owned(&labels),
            behind: self.behind.get_or_create_owned(&labels),
        }
    }
}
