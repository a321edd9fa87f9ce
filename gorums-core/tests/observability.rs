//! Spans, traces across processes, metrics, and the snapshot of a configuration.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "observability/gone.rs"]
mod gone;
#[path = "observability/measured.rs"]
mod measured;
#[path = "observability/opentelemetry.rs"]
mod otel;
#[path = "observability/passed_on.rs"]
mod passed_on;
#[path = "observability/snapshot.rs"]
mod snapshot;
#[path = "observability/spans.rs"]
mod spans;

use std::sync::{Arc, LazyLock, OnceLock};

use common::{ECHO, OnConfiguration, Text};
use gorums_core::testing::Cluster;
use gorums_core::{Configuration, Methods, Server, ServerBuilder, Service};

/// A service that asks other nodes, if there are any, and answers with the `traceparent` that came with the request at
/// the end of the line.
#[derive(Clone, Default)]
struct Relay {
    next: Arc<OnceLock<Configuration>>,
}

impl Service for Relay {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        let inner = Arc::new(self);
        methods.two_way(&ECHO, &inner, |inner, ctx, request: Text| async move {
            if let Some(next) = inner.next.get() {
                ctx.release();
                return Ok(next.quorum_call(&ECHO, request).all().await?);
            }
            let trace = ctx.metadata().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
            Ok(Text { text: trace.unwrap_or_default(), number: request.number })
        });
    }
}

/// Two nodes in memory, the first of which asks the second.
async fn relay(server: impl Fn() -> ServerBuilder + Send + Sync + 'static) -> (Cluster, Relay) {
    let (first, last) = (Relay::default(), Relay::default());
    let relays = [first.clone(), last];
    let start = move |id: gorums_core::NodeId| server().add_service(relays[id.get() as usize - 1].clone());
    (Cluster::in_memory(2, start).await, first)
}

/// To be called before a test takes spans. While there is one subscriber alone, the crate tracing asks the thread that comes
/// by a span first whether anybody wants it, and remembers that for all: here, it may be the thread of another test.
fn share_spans() {
    static OTHER: LazyLock<tracing::Dispatch> =
        LazyLock::new(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new()));
    LazyLock::force(&OTHER);
}

fn plain() -> ServerBuilder {
    Server::builder()
}
