//! Traces that span processes: the context of a span travels in the metadata of requests.

use std::fmt;
use std::sync::Arc;

use tonic::Status;
use tonic::metadata::MetadataMap;
use tracing::{Instrument, Span, field};

use crate::node::Targets;
use crate::observe::Observed;
use crate::server::interceptor::{Interceptor, Next, Reply, ServerCall};
use crate::server::nested;

/// The entries of the W3C recommendation "Trace Context", which are passed on from a request to the calls that its handler
/// makes.
const CONTEXT: [&str; 2] = ["traceparent", "tracestate"];

/// Writes the context of a span into the metadata of requests, and reads it there: what a tracing system calls a propagator.
///
/// gorums itself knows spans of the crate [`tracing`] only, and these have no identity outside of their process. A tracing
/// system such as OpenTelemetry gives them one, and this is where it is asked. Given to
/// [`ConfigurationBuilder::propagator`](crate::ConfigurationBuilder::propagator) for calls, and to
/// [`TraceHandlers::propagator`] for handlers. The guide has one for OpenTelemetry.
///
/// Without one, `traceparent` and `tracestate` are passed on all the same: the calls that a handler makes carry those of its
/// request, unless they have their own.
pub trait Propagator: Send + Sync + 'static {
    /// A call is about to be sent. `span` is its own, or, if nobody listens to that, the one in which it is made, which is
    /// disabled if there is none.
    fn inject(&self, span: &Span, metadata: &mut MetadataMap);

    /// A request has come, and its handler is going to run in `span`, whose parent may be what the metadata tells.
    fn extract(&self, metadata: &MetadataMap, span: &Span);
}

/// Adds the context of a call to its metadata.
pub(crate) fn inject(
    targets: &Targets,
    observed: Option<&Observed>,
    metadata: &mut Option<Box<MetadataMap>>,
) {
    nested::with_metadata(|inherited| {
        for key in CONTEXT {
            if let Some(value) = inherited.get(key)
                && metadata.as_ref().is_none_or(|own| !own.contains_key(key))
            {
                metadata.get_or_insert_default().insert(key, value.clone());
            }
        }
    });
    let first = targets.iter().next();
    if let Some(propagator) = first.and_then(|node| node.channel().pool().options().propagator.as_ref()) {
        let metadata = metadata.get_or_insert_default();
        match observed.map(Observed::span).filter(|span| !span.is_disabled()) {
            Some(span) => propagator.inject(span, metadata),
            None => propagator.inject(&Span::current(), metadata),
        }
    }
}

/// An interceptor that runs each handler in a span.
///
/// The span has the target `gorums::handler`, the level `DEBUG`, and the fields `otel.name`, `otel.kind`, `rpc.system`,
/// `rpc.service`, `rpc.method`, `peer` (the id of the node that called, if it has one), `network.peer.address`,
/// `network.peer.port`, and, once the handler has returned, `rpc.grpc.status_code` and `otel.status_code`, which is `ERROR` if
/// it failed. Calls that the handler makes are its children.
///
/// ```
/// use gorums_core::{Server, TraceHandlers};
///
/// let server = Server::builder().interceptor(TraceHandlers::new());
/// ```
#[derive(Clone, Default)]
pub struct TraceHandlers {
    propagator: Option<Arc<dyn Propagator>>,
}

impl TraceHandlers {
    /// Spans whose parent is nobody else's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the spans children of those of the callers.
    #[must_use]
    pub fn propagator(mut self, propagator: impl Propagator) -> Self {
        self.propagator = Some(Arc::new(propagator));
        self
    }
}

impl Interceptor for TraceHandlers {
    async fn intercept(&self, call: ServerCall, next: Next) -> Result<Reply, Status> {
        let method = call.method();
        let (service, name) = method.rsplit_once('.').unwrap_or(("", method));
        let address = call.context().peer_addr();
        let span = tracing::debug_span!(
            target: "gorums::handler",
            "handler",
            otel.name = method,
            otel.kind = "server",
            rpc.system = "gorums",
            rpc.service = service,
            rpc.method = name,
            peer = call.context().peer_id().map(crate::NodeId::get),
            network.peer.address = address.map(|address| field::display(address.ip())),
            network.peer.port = address.map(|address| address.port()),
            rpc.grpc.status_code = field::Empty,
            otel.status_code = field::Empty,
        );
        if span.is_disabled() {
            return next.run(call).await;
        }
        if let Some(propagator) = &self.propagator {
            propagator.extract(call.metadata(), &span);
        }
        let result = next.run(call).instrument(span.clone()).await;
        let code = result.as_ref().err().map_or(tonic::Code::Ok, Status::code);
        span.record("rpc.grpc.status_code", code as i32);
        span.record("otel.status_code", if result.is_ok() { "OK" } else { "ERROR" });
        result
    }
}

impl fmt::Debug for TraceHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceHandlers").field("propagates", &self.propagator.is_some()).finish()
    }
}
