//! What is counted of those that wait, for `/metrics`.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use policy::Layer;
use policy::queue::Shed;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds; queues are short or of no use.
const SECONDS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0];

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct LayerLabels {
    layer: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ShedLabels {
    layer: &'static str,
    reason: &'static str,
}

/// The series of all queues together.
pub(crate) struct Tally {
    depth: Family<LayerLabels, Gauge>,
    bytes: Gauge<i64, AtomicI64>,
    waited: Family<LayerLabels, Histogram>,
    shed: Family<ShedLabels, Counter>,
}

/// One that waits, counted until dropped.
pub(crate) struct Counted {
    depth: Gauge,
    bytes: Gauge<i64, AtomicI64>,
    length: i64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.depth.dec();
        self.bytes.dec_by(self.length);
    }
}

impl Tally {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let tally = Self {
            depth: Family::default(),
            bytes: Gauge::default(),
            waited: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            shed: Family::default(),
        };
        registry.register("queue_depth", "calls that wait for their turn", tally.depth.clone());
        registry.register("queue_bytes", "bytes of their bodies", tally.bytes.clone());
        registry.register_with_unit(
            "queue_wait",
            "how long those waited that had their turn",
            Unit::Seconds,
            tally.waited.clone(),
        );
        registry.register("shed_requests", "calls that were refused for lack of room", tally.shed.clone());
        tally
    }

    pub(super) fn begin(&self, layer: Layer, bytes: u64) -> Counted {
        let depth = self.depth.get_or_create(&LayerLabels { layer: layer.as_str() }).clone();
        let length = i64::try_from(bytes).unwrap_or(i64::MAX);
        depth.inc();
        self.bytes.inc_by(length);
        Counted { depth, bytes: self.bytes.clone(), length }
    }

    pub(super) fn count_turn(&self, layer: Layer, waited: Duration) {
        self.waited.get_or_create(&LayerLabels { layer: layer.as_str() }).observe(waited.as_secs_f64());
    }

    pub(super) fn count_shed(&self, layer: Layer, why: Shed) {
        let labels = ShedLabels { layer: layer.as_str(), reason: why.as_str() };
        self.shed.get_or_create(&labels).inc();
    }
}
