//! Metrics of calls, nodes, handlers and servers, through the facade of the crate `metrics`.
//!
//! What happens once in a call is recorded when it happens, with handles that are looked up once for each method. What is
//! counted anyway, of queues and connections, is published at an interval by a task.
#![expect(clippy::cast_precision_loss, reason = "gauges are floats")]

mod client;
mod gauges;
mod handlers;
mod server;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use tokio::time::{Interval, MissedTickBehavior, interval};

pub(crate) use self::client::{MethodMetrics, Metrics, publish_client};
pub use self::handlers::MeasureHandlers;
pub(crate) use self::server::ServerMetrics;

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
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
    describe_gauge!("gorums_server_grpc_calls", "Calls of ordinary gRPC services that have not ended");
    describe_gauge!(
        "gorums_server_named_clients",
        "Clients that name themselves and have a stream, or wait for one"
    );
}
