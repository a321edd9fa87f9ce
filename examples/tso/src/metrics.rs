//! Metrics, in the text format of `OpenMetrics`.

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::allocator::Phase;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    pub(crate) granted: Counter,
    pub(crate) calls: Counter,
    pub(crate) refused: Counter,
    pub(crate) fences: Counter,
    pub(crate) extensions: Counter,
    pub(crate) transient: Counter,
}

impl Meters {
    /// As text, without the end mark: the metrics of the node follow.
    pub(crate) fn text(&self, phase: &Phase) -> String {
        let mut registry = Registry::with_prefix("tso");
        let Self { granted, calls, refused, fences, extensions, transient } = self.clone();
        registry.register("timestamps_granted", "Timestamps that were granted", granted);
        registry.register("calls", "Calls that were granted timestamps", calls);
        registry.register("calls_refused", "Calls that were not", refused);
        registry.register("fences", "Fences that went up", fences);
        registry.register("extensions", "Extensions of the window", extensions);
        registry.register("transient_failures", "Accesses to the mark that failed for a moment", transient);
        let serving = Gauge::<i64>::default();
        serving.set(i64::from(matches!(phase, Phase::Serving { .. })));
        registry.register("serving", "1 if this node serves timestamps", serving);
        let mut text = String::new();
        if let Err(error) = text::encode_registry(&mut text, &registry) {
            tracing::warn!("metrics: {error}");
        }
        text
    }
}
