//! Without any tracing system, the trace context of a request is passed on to the calls of its handler.

use gorums_core::{MetadataMap, MetadataValue, Propagator};

use super::*;
use crate::common::text;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced() -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("traceparent", MetadataValue::from_static(PARENT));
    metadata.insert("other", MetadataValue::from_static("stays"));
    metadata
}

/// A tracing system that knows the trace by itself.
struct Knows;

impl Propagator for Knows {
    fn inject(&self, _: &tracing::Span, metadata: &mut MetadataMap) {
        metadata.insert("traceparent", MetadataValue::from_static(PARENT));
    }

    fn extract(&self, _: &MetadataMap, _: &tracing::Span) {}
}

#[tokio::test(start_paused = true)]
async fn a_propagator_is_asked_although_nobody_takes_spans() {
    let (mut cluster, relay) = relay(plain).await;
    let configuration = cluster.configure(|builder| builder.propagator(Knows)).unwrap();
    let call = configuration.only([2]).quorum_call(&ECHO, text("x"));
    assert_eq!(call.all().await.unwrap().text, PARENT);
    drop((configuration, relay));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_on_through_handlers() {
    let (mut cluster, relay) = relay(plain).await;
    let configuration = cluster.configuration();
    relay.next.set(configuration.only([2])).unwrap();
    let call = || configuration.only([1]).quorum_call(&ECHO, text("x"));
    assert_eq!(call().metadata(traced()).all().await.unwrap().text, PARENT);
    assert_eq!(call().all().await.unwrap().text, "", "a call that is not traced stays so");
    drop((configuration, relay));
    cluster.finish().await;
}
