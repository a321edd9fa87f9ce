//! Metrics of calls, nodes, handlers and servers, through the facade of the crate `metrics`.
//!
//! What happens once in a call is recorded when it happens, with handles that are looked up once for each method. What is
//! counted anyway, of queues and connections, is published at an interval by a task.
#![expect(clippy::cast_precision_loss, reason = "gauges are floats")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use dashmap::DashMap;
use metrics::{
    Counter, Histogram, SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::method::CallType;
use crate::node::Node;
use crate::observe::call::{CallOutcome, type_label};
use crate::pool::Pool;
use crate::server::ServerHandle;
use crate::server::interceptor::{Interceptor, Next, Reply, ServerCall};
use crate::sync::Mutex;

/// What is measured of a configuration and all that are made from it.
pub(crate) struct Metrics {
    name: SharedString,
    methods: DashMap<&'static str, Arc<MethodMetrics>>,
    /// What was published of each node, by the ordinal of its channel. Taken out while it is at work.
    nodes: Mutex<HashMap<u32, Published>>,
}

/// What was published of a node.
struct Published {
    labels: [(&'static str, SharedString); 3],
    /// The counters, of which only what was added since is published: a recorder goes on with those of an earlier node of
    /// the same name.
    counters: [u64; 6],
}

const COUNTERS: [&str; 6] = [
    "gorums_node_requests_offered_total",
    "gorums_node_requests_sent_total",
    "gorums_node_requests_dropped_total",
    "gorums_node_requests_failed_total",
    "gorums_node_late_replies_total",
    "gorums_node_connections_total",
];
/// The codes of gRPC, from 0 on.
const CODES: usize = tonic::Code::Unauthenticated as usize + 1;
const GAUGES: [&str; 4] = [
    "gorums_node_connected",
    "gorums_node_pending_calls",
    "gorums_node_queue_requests",
    "gorums_node_queue_bytes",
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
        Self { name: name.into(), methods: DashMap::new(), nodes: Mutex::default() }
    }

    /// The metrics of a method.
    pub(crate) fn method(&self, method: &'static str, call_type: CallType) -> Arc<MethodMetrics> {
        of_method(&self.methods, method, || {
            MethodMetrics::new(self.name.clone(), method, type_label(call_type))
        })
    }

    /// Records the latencies of a node.
    pub(crate) fn watch(&self, node: &Node) {
        let (id, address) = (node.id().to_string(), node.address().to_owned());
        node.counters().record_in(|| {
            histogram!("gorums_node_latency_seconds", "configuration" => self.name.clone(), "node" => id, "address" => address)
        });
    }

    /// Publishes what is counted anyway.
    pub(crate) fn publish(&self, pool: &Pool) {
        gauge!("gorums_client_pending_calls", "configuration" => self.name.clone())
            .set(pool.pending().open() as f64);
        let mut published = std::mem::take(&mut *self.nodes.lock());
        let alive: Vec<_> = pool.nodes().iter().filter_map(|entry| entry.value().upgrade()).collect();
        let mut ordinals = Vec::with_capacity(alive.len());
        for node in alive.into_iter().map(Node::from_handle) {
            let ordinal = node.channel().ordinal();
            ordinals.push(ordinal);
            published.entry(ordinal).or_insert_with(|| Published::new(&self.name, &node)).publish(&node);
        }
        published.retain(|ordinal, node| {
            let lives = ordinals.contains(ordinal);
            if !lives {
                node.set_gauges([0.0; GAUGES.len()]);
            }
            lives
        });
        *self.nodes.lock() = published;
    }
}

impl Drop for Metrics {
    /// Nobody is connected to nodes that are gone.
    fn drop(&mut self) {
        for node in self.nodes.lock().values() {
            node.set_gauges([0.0; GAUGES.len()]);
        }
        gauge!("gorums_client_pending_calls", "configuration" => self.name.clone()).set(0.0);
    }
}

impl Published {
    fn new(configuration: &SharedString, node: &Node) -> Self {
        let labels = [
            ("configuration", configuration.clone()),
            ("node", node.id().to_string().into()),
            ("address", node.address().to_owned().into()),
        ];
        Self { labels, counters: [0; COUNTERS.len()] }
    }

    fn publish(&mut self, node: &Node) {
        let stats = node.stats();
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
            counter!(name, &self.labels).increment(added);
            *before += added;
        }
        self.set_gauges([
            f64::from(u8::from(node.is_connected())),
            stats.pending as f64,
            stats.queue.queued as f64,
            stats.queue.queued_bytes as f64,
        ]);
        if let Some(ping) = stats.ping {
            gauge!("gorums_node_ping_seconds", &self.labels).set(ping.as_secs_f64());
        }
    }

    fn set_gauges(&self, values: [f64; GAUGES.len()]) {
        for (name, value) in GAUGES.into_iter().zip(values) {
            gauge!(name, &self.labels).set(value);
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

/// Publishes what a server has open, for as long as it is polled.
pub(crate) async fn publish_server(
    server: &ServerHandle,
    metrics: Option<&(String, Duration)>,
) -> Infallible {
    match metrics {
        Some((name, every)) => at_interval(*every, || publish_server_now(server, name)).await,
        None => pending().await,
    }
}

/// Publishes what a server has open at this moment.
pub(crate) fn publish_server_now(server: &ServerHandle, name: &str) {
    let stats = server.stats();
    for (metric, value) in [
        ("gorums_server_connections", stats.connections),
        ("gorums_server_streams", stats.streams),
        ("gorums_server_handlers", stats.handlers),
        ("gorums_server_detached", stats.detached),
        ("gorums_server_callback_pending_calls", stats.calls),
        ("gorums_server_peers", server.peers().len()),
        ("gorums_server_clients", server.clients().len()),
    ] {
        gauge!(metric, "server" => name.to_owned()).set(value as f64);
    }
}

async fn at_interval(every: Duration, publish: impl Fn()) -> Infallible {
    let mut ticks = ticks(every);
    loop {
        ticks.tick().await;
        publish();
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// An interceptor that measures each handler: `gorums_server_requests_total` by method and status code, and
/// `gorums_server_handler_duration_seconds`.
///
/// [`ServerBuilder::metrics`](crate::ServerBuilder::metrics) adds it, with the gauges of the server. On its own it is of use
/// for the services that a client offers to its servers, and for those of a local node.
#[derive(Debug)]
pub struct MeasureHandlers {
    name: SharedString,
    methods: DashMap<&'static str, Arc<HandlerMetrics>>,
}

#[derive(Debug)]
struct HandlerMetrics {
    requests: [OnceLock<Counter>; CODES],
    duration: Histogram,
}

impl MeasureHandlers {
    /// Measures under this name, the label `server`.
    pub fn new(name: impl Into<String>) -> Self {
        describe();
        Self { name: name.into().into(), methods: DashMap::new() }
    }

    fn method(&self, method: &'static str) -> Arc<HandlerMetrics> {
        of_method(&self.methods, method, || HandlerMetrics {
            requests: [const { OnceLock::new() }; CODES],
            duration: histogram!(
                "gorums_server_handler_duration_seconds",
                "server" => self.name.clone(), "method" => method
            ),
        })
    }
}

impl Interceptor for MeasureHandlers {
    async fn intercept(&self, call: ServerCall, next: Next) -> Result<Reply, Status> {
        let (name, started) = (call.method(), Instant::now());
        let method = self.method(name);
        let result = next.run(call).await;
        method.duration.record(started.elapsed());
        let code = result.as_ref().err().map_or(tonic::Code::Ok, Status::code);
        let counter = method.requests[code as usize].get_or_init(|| {
            counter!(
                "gorums_server_requests_total",
                "server" => self.name.clone(), "method" => name, "code" => format!("{code:?}")
            )
        });
        counter.increment(1);
        result
    }
}

/// What is measured of a method, made when it is first asked for.
fn of_method<T>(
    known: &DashMap<&'static str, Arc<T>>,
    method: &'static str,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    if let Some(found) = known.get(method) {
        return found.clone();
    }
    known.entry(method).or_insert_with(|| Arc::new(make())).clone()
}

/// Tells the recorder what the metrics mean.
fn describe() {
    describe_counter!("gorums_client_calls_total", "Calls that have ended, by method, type and outcome");
    describe_histogram!(
        "gorums_client_call_duration_seconds",
        Unit::Seconds,
        "From the start of a call to its end, whatever that was"
    );
    describe_counter!("gorums_client_retries_total", "Nodes that were asked again in a call");
    describe_gauge!("gorums_client_pending_calls", "Calls in flight");
    describe_histogram!(
        "gorums_node_latency_seconds",
        Unit::Seconds,
        "From the start of a call to the reply of the node"
    );
    describe_counter!("gorums_node_requests_offered_total", "Requests that calls wanted to queue");
    describe_counter!("gorums_node_requests_sent_total", "Requests handed to the transport");
    describe_counter!("gorums_node_requests_dropped_total", "Messages that gave way when the queue was full");
    describe_counter!(
        "gorums_node_requests_failed_total",
        "Requests not taken, or withdrawn before they were sent"
    );
    describe_counter!("gorums_node_late_replies_total", "Replies that came after their call had ended");
    describe_counter!("gorums_node_connections_total", "Connections made");
    describe_gauge!("gorums_node_connected", "1 while there is a connection");
    describe_gauge!("gorums_node_pending_calls", "Calls that the node still owes a reply");
    describe_gauge!("gorums_node_queue_requests", "Requests that wait to be sent");
    describe_gauge!("gorums_node_queue_bytes", Unit::Bytes, "Bytes that wait to be sent");
    describe_gauge!(
        "gorums_node_ping_seconds",
        Unit::Seconds,
        "What the last keepalive ping took, there and back"
    );
    describe_counter!(
        "gorums_server_requests_total",
        "Requests that were handled, by method and status code"
    );
    describe_histogram!(
        "gorums_server_handler_duration_seconds",
        Unit::Seconds,
        "From the start of a handler to its end"
    );
    describe_gauge!("gorums_server_connections", "Connections that were accepted and are open");
    describe_gauge!("gorums_server_streams", "Node streams");
    describe_gauge!("gorums_server_handlers", "Handlers that wait for something");
    describe_gauge!("gorums_server_detached", "Pieces of work that handlers have detached");
    describe_gauge!("gorums_server_callback_pending_calls", "Calls to peers and clients that have not ended");
    describe_gauge!(
        "gorums_server_peers",
        "Members of the system that can be called back, this one included"
    );
    describe_gauge!("gorums_server_clients", "Clients that can be called back");
}
