//! What a node counts, for Prometheus.

use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::error::Error;
use crate::node::Node;
use crate::proto::PeerStatus;

/// The counters of a node.
#[derive(Debug)]
pub(crate) struct Meters {
    calls: Family<Call, Counter>,
    latency: Family<Method, Histogram, fn() -> Histogram>,
    pub(crate) overloaded: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

impl Default for Meters {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        Self {
            calls: Family::default(),
            latency: Family::new_with_constructor(histogram),
            overloaded: Counter::default(),
        }
    }
}

impl Meters {
    fn ended(&self, method: &'static str, outcome: &'static str, time: Duration) {
        self.calls.get_or_create(&Call { method, outcome }).inc();
        self.latency.get_or_create(&Method { method }).observe(time.as_secs_f64());
    }
}

impl Node {
    /// Counts a call of a client.
    pub(crate) fn count<T>(&self, method: &'static str, result: &Result<T, Error>, time: Duration) {
        let outcome = match result {
            Ok(_) => "ok",
            Err(Error::NotLeader { .. }) => "not_leader",
            Err(Error::Overloaded) => "overloaded",
            Err(Error::Unconfirmed) => "unconfirmed",
            Err(Error::Unreachable { .. }) => "unreachable",
            Err(Error::OutcomeUnknown) => "outcome_unknown",
            Err(_) => "failed",
        };
        self.inner.meters.ended(method, outcome, time);
    }

    /// The metrics of this node, in the text format of `OpenMetrics`.
    ///
    /// # Errors
    ///
    /// None in practice: they are written to memory.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("raft");
        let Meters { calls, latency, overloaded } = &self.inner.meters;
        registry.register("calls", "Calls of clients that have ended", calls.clone());
        registry.register("call_seconds", "How long calls of clients took", latency.clone());
        registry.register(
            "overloaded",
            "Calls that were refused because too many were in progress",
            overloaded.clone(),
        );
        registry.register_collector(Box::new(State(self.clone())));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// What is read at the time of asking.
#[derive(Debug)]
struct State(Node);

type Value = fn(&PeerStatus) -> u64;

#[derive(Clone, Debug, EncodeLabelSet)]
struct Peer {
    peer: u32,
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = self.0.status();
        let attempts = self.0.inner.forwarder.attempts();
        let gauges = [
            ("leading", "1 if this node leads, confirmed by a quorum", u64::from(status.confirmed)),
            ("ready", "1 if this node takes part", u64::from(self.0.is_ready())),
            ("term", "The term", status.term),
            ("last_index", "The last entry of the log", status.last_index),
            ("committed_index", "The last entry that is known to be committed", status.committed),
            ("applied_index", "The last entry that is applied", status.applied),
            ("snapshot_index", "The entry up to which the state is on disk", status.snapshot),
            ("waiting_calls", "Calls of clients in progress", status.waiting),
            ("queued_writes", "Writes that wait to be proposed", status.queued),
            ("waiting_reads", "Reads that wait for a round of ReadIndex", self.0.inner.reads.len() as u64),
            (
                "circuit_open",
                "1 if calls to the leader are stopped",
                u64::from(self.0.inner.forwarder.is_open()),
            ),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        for (name, help, value) in [
            ("forwards", "Calls that were made to the leader", attempts.made),
            ("forwards_failed", "Those that it did not answer", attempts.failed),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let of_peers: [(&str, &str, Value); 4] = [
            ("peer_reachable", "1 if the peer is connected", |peer| u64::from(peer.reachable)),
            ("peer_queued", "Messages that wait to be written to the peer", |peer| peer.queued),
            ("peer_dropped", "Messages to the peer that were dropped or failed", |peer| peer.dropped),
            ("peer_matched_index", "The last entry that the peer is known to have", |peer| {
                peer.matched.unwrap_or(0)
            }),
        ];
        for (name, help, value) in of_peers {
            let gauge = ConstGauge::new(0_i64);
            let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            for peer in &status.peers {
                let gauge = ConstGauge::new(value(peer).cast_signed());
                gauge.encode(family.encode_family(&Peer { peer: peer.node })?)?;
            }
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value.cast_signed());
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
