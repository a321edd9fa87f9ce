//! Metrics of the calls and nodes of a configuration.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use dashmap::DashMap;
use metrics::{Counter, Histogram, SharedString, counter, histogram};
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::method::CallType;
use crate::node::Node;
use crate::observe::call::{CallOutcome, type_label};
use crate::observe::metrics::gauges::Gauges;
use crate::observe::metrics::{describe, of_method, ticks};
use crate::pool::Pool;
use crate::stats::NodeStats;
use crate::sync::Mutex;

/// What is measured of a configuration and all that are made from it.
pub(crate) struct Metrics {
    name: SharedString,
    gauges: Arc<Gauges>,
    methods: DashMap<&'static str, Arc<MethodMetrics>>,
    /// The nodes whose channel is there, by its ordinal: of two with the same labels, the newer has the last word. Held for
    /// a whole publication, so that nothing is counted twice, and nothing older is published after something newer.
    nodes: Mutex<BTreeMap<u32, Published>>,
}

/// What was published of a node.
struct Published {
    channel: Weak<Channel>,
    gauges: Arc<Gauges>,
    /// The counters, of which only what was added since is published: a recorder goes on with those of an earlier node of
    /// the same name.
    counters: [u64; COUNTERS.len()],
}

const COUNTERS: [&str; 6] = [
    "gorums_node_requests_offered_total",
    "gorums_node_requests_sent_total",
    "gorums_node_requests_dropped_total",
    "gorums_node_requests_failed_total",
    "gorums_node_late_replies_total",
    "gorums_node_connections_total",
];

/// What is measured of the calls of one method.
pub(crate) struct MethodMetrics {
    configuration: SharedString,
    method: &'static str,
    call_type: &'static str,
    calls: [OnceLock<Counter>; CallOutcome::COUNT],
    retries: OnceLock<Counter>,
    duration: Histogram,
}

impl Metrics {
    pub(crate) fn new(name: String) -> Self {
        describe();
        let name = SharedString::from(name);
        let gauges = Gauges::of(vec![("configuration", name.clone())]);
        Self { name, gauges, methods: DashMap::new(), nodes: Mutex::default() }
    }

    /// The metrics of a method.
    pub(crate) fn method(&self, method: &'static str, call_type: CallType) -> Arc<MethodMetrics> {
        of_method(&self.methods, method, || {
            MethodMetrics::new(self.name.clone(), method, type_label(call_type))
        })
    }

    /// Records the latencies of a node, and publishes what is counted of it until its channel is [gone](Self::gone).
    pub(crate) fn watch(&self, node: &Node) {
        let gauges = Gauges::of(vec![
            ("configuration", self.name.clone()),
            ("node", node.id().to_string().into()),
            ("address", node.address().to_owned().into()),
        ]);
        node.counters().record_in(|| histogram!("gorums_node_latency_seconds", gauges.labels()));
        let published =
            Published { channel: Arc::downgrade(node.channel()), gauges, counters: [0; COUNTERS.len()] };
        self.nodes.lock().insert(node.channel().ordinal(), published);
    }

    /// Publishes what is counted anyway.
    pub(crate) fn publish(&self, pool: &Pool) {
        // Let go after the lock: the last one to have a channel publishes it once more.
        let mut alive = Vec::new();
        let mut nodes = self.nodes.lock();
        let owed = pool.pending().owed_by_node();
        self.gauges.set("gorums_client_pending_calls", pool.pending().open() as f64);
        for (ordinal, node) in nodes.iter_mut() {
            let Some(channel) = node.channel.upgrade() else { continue };
            node.publish(&channel, owed.get(ordinal).copied().unwrap_or(0));
            alive.push(channel);
        }
    }

    /// A channel is dropped: nothing more is counted of it.
    pub(crate) fn gone(&self, channel: &Channel) {
        let gone = self.nodes.lock().remove(&channel.ordinal());
        if let Some(mut node) = gone {
            node.count(&channel.stats_owing(0));
        }
    }
}

impl Published {
    fn publish(&mut self, channel: &Channel, pending: usize) {
        let stats = channel.stats_owing(pending);
        self.count(&stats);
        for (name, value) in [
            ("gorums_node_connected", f64::from(u8::from(channel.is_up()))),
            ("gorums_node_pending_calls", stats.pending as f64),
            ("gorums_node_queue_requests", stats.queue.queued as f64),
            ("gorums_node_queue_bytes", stats.queue.queued_bytes as f64),
        ] {
            self.gauges.set(name, value);
        }
        if let Some(ping) = stats.ping {
            self.gauges.set("gorums_node_ping_seconds", ping.as_secs_f64());
        }
    }

    fn count(&mut self, stats: &NodeStats) {
        let counted = [
            stats.queue.offered,
            stats.queue.sent,
            stats.queue.dropped,
            stats.queue.failed,
            stats.late_replies,
            stats.connections,
        ];
        for ((name, before), now) in COUNTERS.into_iter().zip(&mut self.counters).zip(counted) {
            // A request that is sent again was not sent after all: that counter may go back for a while.
            let added = now.saturating_sub(*before);
            counter!(name, self.gauges.labels()).increment(added);
            *before += added;
        }
    }
}

impl MethodMetrics {
    fn new(configuration: SharedString, method: &'static str, call_type: &'static str) -> Self {
        let duration = histogram!(
            "gorums_client_call_duration_seconds",
            "configuration" => configuration.clone(), "method" => method, "type" => call_type
        );
        Self {
            configuration,
            method,
            call_type,
            calls: [const { OnceLock::new() }; CallOutcome::COUNT],
            retries: OnceLock::new(),
            duration,
        }
    }

    /// A node is asked again.
    pub(crate) fn retried(&self) {
        let counter = self.retries.get_or_init(|| {
            counter!(
                "gorums_client_retries_total",
                "configuration" => self.configuration.clone(), "method" => self.method, "type" => self.call_type
            )
        });
        counter.increment(1);
    }

    /// A call has ended after this time.
    pub(crate) fn ended(&self, outcome: CallOutcome, after: Duration) {
        let counter = self.calls[outcome as usize].get_or_init(|| {
            counter!(
                "gorums_client_calls_total",
                "configuration" => self.configuration.clone(), "method" => self.method, "type" => self.call_type,
                "outcome" => outcome.label()
            )
        });
        counter.increment(1);
        self.duration.record(after);
    }
}

/// Publishes what is counted anyway at an interval, until the pool is closed or nobody has it any more.
pub(crate) async fn publish_client(pool: Weak<Pool>, closing: CancellationToken, every: Duration) {
    let mut ticks = ticks(every);
    while closing.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(pool) = pool.upgrade() else { return };
        if let Some(metrics) = pool.metrics() {
            metrics.publish(&pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;
    use crate::id::{Initiator, NodeId};
    use crate::pool::PoolOptions;

    /// As while a configuration is closed and aborted at once, or closed when it is time to publish.
    #[test]
    fn who_publishes_at_once_counts_nothing_twice() {
        let recorder = &DebuggingRecorder::new();
        let options =
            PoolOptions { metrics: Some(("at once".into(), Duration::MAX)), ..PoolOptions::default() };
        let pool = Pool::new(Initiator::Client, options);
        let limits = pool.options().limits;
        let node = Node::new(Channel::new(pool.clone(), NodeId::new(1).unwrap(), "node1:1".into(), limits));
        let publish = || pool.metrics().unwrap().publish(&pool);
        pool.metrics().unwrap().watch(&node);
        for _ in 0..5 {
            node.counters().connected();
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let often = || (0..1_000).for_each(|_| publish());
                scope.spawn(move || metrics::with_local_recorder(recorder, often));
            }
        });
        // Nothing is left for the end.
        metrics::with_local_recorder(recorder, || drop(node));
        let found = recorder.snapshotter().snapshot().into_vec().into_iter();
        let connections: Vec<_> = found
            .filter(|(key, ..)| key.key().name() == "gorums_node_connections_total")
            .map(|(.., value)| value)
            .collect();
        assert_eq!(connections, [DebugValue::Counter(5)]);
    }
}
