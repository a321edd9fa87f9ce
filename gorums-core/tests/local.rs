//! Calls to the own node: nothing is encoded, and yet the handler cannot tell the difference.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::{Buf, BufMut};
use common::{OnConfiguration, OnNode};
use gorums_core::{
    CallType, Code, Configuration, Method, Methods, NodeErrorKind, Server, ServerContext, Service, Status,
};
use prost::encoding::{DecodeContext, WireType};
use tonic::metadata::MetadataMap;

static ENCODED: AtomicUsize = AtomicUsize::new(0);

/// Text that counts how often any of it is encoded.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counted(String);

impl prost::Message for Counted {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        ENCODED.fetch_add(1, SeqCst);
        self.0.encode_raw(buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        self.0.merge_field(tag, wire_type, buf, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    fn clear(&mut self) {
        prost::Message::clear(&mut self.0);
    }
}

static DESCRIBE: Method<Counted, Counted> = Method::prost("test.Local.Describe", CallType::QuorumCall);
static ECHO: Method<Counted, Counted> = Method::prost("test.Local.Echo", CallType::Rpc);
/// Bytes on the wire as those of [`ECHO`], and another type.
static OTHER_ECHO: Method<String, String> = Method::prost("test.Local.Echo", CallType::Rpc);

#[derive(Clone)]
struct Local;

impl Service for Local {
    const NAME: &'static str = "test.Local";

    fn register(self, methods: &mut Methods) {
        let service = Arc::new(self);
        methods.two_way(&DESCRIBE, &service, |_, ctx: ServerContext, request: Counted| async move {
            let note =
                ctx.metadata().get("note").and_then(|note| note.to_str().ok()).unwrap_or("none").to_owned();
            Ok(Counted(format!("{} {note} {}", request.0, ctx.deadline().is_some())))
        });
        methods.two_way(&ECHO, &service, |_, _: ServerContext, request: Counted| async move {
            if request.0 == "refuse" { Err(Status::aborted("as asked")) } else { Ok(request) }
        });
    }
}

/// The first node is this process, the second is another one, of the same service.
async fn here_and_elsewhere() -> Configuration {
    let server = Server::builder().add_service(Local).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().to_string();
    tokio::spawn(server.serve());
    let local = Server::builder().add_service(Local);
    Configuration::builder().local_node(1, local).node(2, address).connect().await.unwrap()
}

#[tokio::test]
async fn calls_to_the_own_node_are_not_encoded() {
    let configuration = here_and_elsewhere().await;
    let (here, elsewhere) = (&configuration.nodes()[0], &configuration.nodes()[1]);
    let text = || Counted("text".to_owned());
    for _ in 0..3 {
        assert_eq!(here.rpc(&ECHO, text()).await.unwrap(), text());
    }
    assert_eq!(ENCODED.load(SeqCst), 0);
    elsewhere.rpc(&ECHO, text()).await.unwrap();
    assert_eq!(ENCODED.swap(0, SeqCst), 2, "a request and a reply");

    let mut note = MetadataMap::new();
    note.insert("note", "noted".parse().unwrap());
    for expected in [Some(note), None] {
        let mut call = configuration.quorum_call(&DESCRIBE, text());
        let written = if expected.is_some() { "noted" } else { "none" };
        if let Some(metadata) = expected {
            call = call.metadata(metadata);
        }
        let both = call.quorum(|replies: &mut gorums_core::ReplySet<Counted>| {
            (replies.success_count() == 2).then(|| replies.take_successes())
        });
        for (node, reply) in both.await.unwrap() {
            assert_eq!(reply.0, format!("text {written} true"), "node {node}");
        }
    }
    assert_eq!(ENCODED.load(SeqCst), 4, "two requests for the other node, and its two replies");

    // Errors and limits are those of any node.
    let refused = here.rpc(&ECHO, Counted("refuse".to_owned())).await.unwrap_err();
    assert!(matches!(refused.kind(), NodeErrorKind::Status(status) if status.code() == Code::Aborted));
    let long = Counted("x".repeat(5 << 20));
    for node in [here, elsewhere] {
        let too_long = node.rpc(&ECHO, long.clone()).await.unwrap_err();
        assert!(
            matches!(too_long.kind(), NodeErrorKind::Status(status) if status.code() == Code::OutOfRange)
        );
    }
    // A client that was generated elsewhere has types of its own.
    assert_eq!(here.rpc(&OTHER_ECHO, "text".to_owned()).await.unwrap(), "text");
}
