//! With OpenTelemetry, calls and handlers of all processes are one trace. The propagator is the one of the guide.

use gorums_core::{Configuration, MetadataMap, Propagator, QuorumErrorKind, TraceHandlers};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::Level;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::common::{Test, text};

struct OpenTelemetry(TraceContextPropagator);

struct Entries<'a>(&'a MetadataMap);
struct EntriesMut<'a>(&'a mut MetadataMap);

impl Extractor for Entries<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Injector for EntriesMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (key.parse::<tonic::metadata::MetadataKey<_>>(), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

impl Propagator for OpenTelemetry {
    fn inject(&self, span: &tracing::Span, metadata: &mut MetadataMap) {
        self.0.inject_context(&span.context(), &mut EntriesMut(metadata));
    }

    fn extract(&self, metadata: &MetadataMap, span: &tracing::Span) {
        let _ = span.set_parent(self.0.extract(&Entries(metadata)));
    }
}

fn propagator() -> OpenTelemetry {
    OpenTelemetry(TraceContextPropagator::new())
}

/// Exports the spans of gorums, and not those of the HTTP/2 connection under it.
fn exporting(provider: &SdkTracerProvider) -> impl tracing::Subscriber + Send + Sync {
    share_spans();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing_subscriber::registry().with(layer.with_filter(Targets::new().with_target("gorums", Level::DEBUG)))
}

fn names(spans: &[SpanData]) -> Vec<String> {
    let shown = |span: &SpanData| {
        format!(
            "{:?} {} {} of {}",
            span.span_kind,
            span.name,
            span.span_context.span_id(),
            span.parent_span_id
        )
    };
    spans.iter().map(shown).collect()
}

fn of_kind(spans: &[SpanData], kind: &SpanKind) -> Vec<SpanData> {
    let mut found: Vec<_> = spans.iter().filter(|span| span.span_kind == *kind).cloned().collect();
    found.sort_by_key(|span| span.start_time);
    found
}

#[tokio::test]
async fn calls_and_handlers_of_all_processes_are_one_trace() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let guard = tracing::subscriber::set_default(exporting(&provider));
    let handlers = || Server::builder().interceptor(TraceHandlers::new().propagator(propagator()));
    let (mut cluster, relay) = relay(handlers).await;
    let configuration = cluster.configure(|builder| builder.propagator(propagator())).unwrap();
    relay.next.set(configuration.only([2])).unwrap();
    let trace = configuration.only([1]).quorum_call(&ECHO, text("x")).all().await.unwrap().text;
    drop((configuration, relay));
    cluster.finish().await;
    let spans = exporter.get_finished_spans().unwrap();
    let (calls, handlers) = (of_kind(&spans, &SpanKind::Client), of_kind(&spans, &SpanKind::Server));
    assert_eq!((calls.len(), handlers.len()), (2, 2), "{:#?}", names(&spans));
    // Call, handler, call, handler: each is the child of the one before it.
    let chain = [&calls[0], &handlers[0], &calls[1], &handlers[1]];
    for pair in chain.windows(2) {
        assert_eq!(pair[1].parent_span_id, pair[0].span_context.span_id(), "{:#?}", names(&spans));
        assert_eq!(pair[1].span_context.trace_id(), pair[0].span_context.trace_id());
    }
    assert!(trace.contains(&calls[1].span_context.span_id().to_string()), "{trace}");
    assert!(spans.iter().all(|span| span.name == "test.Test.Echo"), "{:#?}", names(&spans));
    assert_eq!(calls[0].status, Status::Ok);
    assert!(calls[0].events.iter().any(|event| event.name == "replied"), "{:#?}", names(&spans));
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_is_an_error_that_says_how() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let _guard = tracing::subscriber::set_default(exporting(&provider));
    let configuration = Configuration::builder()
        .nodes(["nowhere:1", "nowhere:2"])
        .connector(gorums_core::testing::Network::new())
        .connect_lazy()
        .unwrap();
    let error = configuration.quorum_call(&ECHO, text("x")).majority().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 1);
    assert!(matches!(spans[0].status, Status::Error { .. }), "{:#?}", names(&spans));
    let outcome = spans[0].attributes.iter().find(|attribute| attribute.key.as_str() == "outcome").unwrap();
    assert_eq!(outcome.value.as_str(), "incomplete");
    configuration.close().await;
}

#[tokio::test]
async fn a_handler_that_fails_is_an_error_and_both_tell_who_has_called() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let guard = tracing::subscriber::set_default(exporting(&provider));
    let server = |_| Server::builder().interceptor(TraceHandlers::new()).add_service(Test::new(1));
    let mut cluster = Cluster::over_tcp(1, server).await;
    let configuration = cluster.configuration();
    assert!(configuration.quorum_call(&ECHO, text("x")).all().await.is_ok());
    assert!(configuration.quorum_call(&ECHO, text("fail")).all().await.is_err());
    drop(configuration);
    cluster.finish().await;
    let handlers = of_kind(&exporter.get_finished_spans().unwrap(), &SpanKind::Server);
    let found: Vec<_> = handlers.iter().map(|span| &span.status).collect();
    assert!(matches!(found[..], [Status::Ok, Status::Error { .. }]), "{found:#?}");
    for span in &handlers {
        let attribute = |name: &str| {
            let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
            found.map(|attribute| attribute.value.as_str().into_owned())
        };
        assert_eq!(attribute("network.peer.address").as_deref(), Some("127.0.0.1"), "{span:#?}");
        assert!(attribute("network.peer.port").is_some_and(|port| port.parse::<u16>().is_ok()), "{span:#?}");
    }
    drop(guard);
}
