//! Metrics of handlers.

use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use metrics::{Counter, Histogram, SharedString, counter, histogram};
use tokio::time::Instant;
use tonic::Status;

use crate::observe::metrics::{describe, of_method};
use crate::server::interceptor::{Interceptor, Next, Reply, ServerCall};

/// The codes of gRPC, from 0 on.
const CODES: usize = tonic::Code::Unauthenticated as usize + 1;

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
