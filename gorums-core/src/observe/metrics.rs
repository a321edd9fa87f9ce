//! Metrics of calls, nodes, handlers and servers, through the facade of the crate `metrics`.
//!
//! What happens once in a call is recorded when it happens, with handles that are looked up once for each method. What is
//! counted anyway, of queues and connections, is published at an interval by a task.
#![expect(clippy::cast_precision_loss, reason = "gauges are floats")]

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use metrics::{
    Counter, Histogram, SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::Status;

use crate::method::CallType;
use crate::node::Node;
use crate::observe::call::{CallOutcome, type_label};
use crate::pool::Pool;
use crate::server::ServerHandle;
use crate::server::interceptor::{Interceptor, Next, Reply, ServerCall};

/// What is measured of a configuration and all that are made from it.
pub(crate) struct Metrics {
    name: SharedString,
    methods: DashMap<&'static str, Arc<MethodMetrics>>,
}

/// What is measured of the calls of one method.
pub(crate) struct MethodMetrics {
    configuration: SharedString,
    method: &'static str,
    call_type: &'static str,
    calls: [OnceLock<Counter>; CallOutcome::COUNT],
    duration: Histogram,
}

impl Metrics {
    pub(crate) fn new(name: String) -> Self {
        describe();
        Self { name: name.into(), methods: DashMap::new() }
    }

    /// The metrics of a method.
    pub(crate) fn method(&self, method: &'static str, call_type: CallType) -> Arc<MethodMetrics> {
        if let Some(known) = self.methods.get(method) {
            return known.clone();
        }
        let make = || Arc::new(MethodMetrics::new(self.name.clone(), method, type_label(call_type)));
        self.methods.entry(method).or_insert_with(make).clone()
    }

    /// Records the latencies of a node.
    pub(crate) fn watch(&self, node: &Node) {
        let (id, address) = (node.id().to_string(), node.address().to_owned());
        node.counters().record_in(|| {
            histogram!("gorums_node_latency_seconds", "configuration" => self.name.clone(), "node" => id, "address" => address)
        });
    }

    fn publish(&self, pool: &Pool) {
        gauge!("gorums_client_pending_calls", "configuration" => self.name.clone())
            .set(pool.pending().open() as f64);
        let nodes: Vec<_> = pool.nodes().iter().filter_map(|entry| entry.value().upgrade()).collect();
        for node in nodes.into_iter().map(Node::from_handle) {
            self.publish_node(&node);
        }
    }

    fn publish_node(&self, node: &Node) {
        let labels = [
            ("configuration", self.name.clone()),
            ("node", node.id().to_string().into()),
            ("address", node.address().to_owned().into()),
        ];
        let stats = node.stats();
        for (name, value) in [
            ("gorums_node_requests_offered_total", stats.queue.offered),
            ("gorums_node_requests_sent_total", stats.queue.sent),
            ("gorums_node_requests_dropped_total", stats.queue.dropped),
            ("gorums_node_requests_failed_total", stats.queue.failed),
            ("gorums_node_late_replies_total", stats.late_replies),
            ("gorums_node_connections_total", stats.connections),
        ] {
            counter!(name, &labels).absolute(value);
        }
        for (name, value) in [
            ("gorums_node_connected", f64::from(u8::from(node.is_connected()))),
            ("gorums_node_pending_calls", stats.pending as f64),
            ("gorums_node_queue_requests", stats.queue.queued as f64),
            ("gorums_node_queue_bytes", stats.queue.queued_bytes as f64),
        ] {
            gauge!(name, &labels).set(value);
        }
        if let Some(ping) = stats.ping {
            gauge!("gorums_node_ping_seconds", &labels).set(ping.as_secs_f64());
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
            duration,
        }
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

/// Publishes what is counted anyway at an interval, until the pool is closed, and once more then.
pub(crate) async fn publish_client(pool: Arc<Pool>, every: Duration) {
    let Some(metrics) = pool.metrics() else { return };
    let _ = pool.closing().run_until_cancelled(at_interval(every, || metrics.publish(&pool))).await;
    metrics.publish(&pool);
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
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        publish();
    }
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
    requests: DashMap<i32, Counter>,
    duration: Histogram,
}

impl MeasureHandlers {
    /// Measures under this name, the label `server`.
    pub fn new(name: impl Into<String>) -> Self {
        describe();
        Self { name: name.into().into(), methods: DashMap::new() }
    }

    fn method(&self, method: &'static str) -> Arc<HandlerMetrics> {
        if let Some(known) = self.methods.get(method) {
            return known.clone();
        }
        let server = self.name.clone();
        let make = || {
            let duration =
                histogram!("gorums_server_handler_duration_seconds", "server" => server, "method" => method);
            Arc::new(HandlerMetrics { requests: DashMap::new(), duration })
        };
        self.methods.entry(method).or_insert_with(make).clone()
    }
}

impl Interceptor for MeasureHandlers {
    async fn intercept(&self, call: ServerCall, next: Next) -> Result<Reply, Status> {
        let (name, started) = (call.method(), Instant::now());
        let method = self.method(name);
        let result = next.run(call).await;
        method.duration.record(started.elapsed());
        let code = result.as_ref().err().map_or(tonic::Code::Ok, Status::code);
        let make = || {
            counter!(
                "gorums_server_requests_total",
                "server" => self.name.clone(), "method" => name, "code" => format!("{code:?}")
            )
        };
        method.requests.entry(code as i32).or_insert_with(make).increment(1);
        result
    }
}

/// Tells the recorder what the metrics mean.
fn describe() {
    describe_counter!("gorums_client_calls_total", "Calls that have ended, by method, type and outcome");
    describe_histogram!(
        "gorums_client_call_duration_seconds",
        Unit::Seconds,
        "From the start of a call to its end, whatever that was"
    );
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
