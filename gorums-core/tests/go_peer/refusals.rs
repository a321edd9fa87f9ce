//! Servers that answer the request for a stream with a status, before or after they have handled requests.

use std::time::Duration;

use gorums_core::{Code, NodeErrorKind, Retry, Server, Status};
use http::Response;

use crate::common::{self, ECHO, OnNode, text, within};
use crate::server::GoServer;
use crate::storage::{READ_RPC, WRITE_RPC};
use crate::vectors::{conversation, found, read, write};
use crate::with_id;

const UNAUTHENTICATED: Code = Code::Unauthenticated;

fn answer(http: u16, code: Option<Code>, headers: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(http).header("content-type", "application/grpc");
    if let Some(code) = code {
        response = response.header("grpc-status", (code as i32).to_string());
    }
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

/// G5: a Go server sends no headers before its first message, so that a status in place of them may come when a handler has
/// had the request already: from its stream, which has failed, or from a proxy that did not want to wait any longer.
#[tokio::test]
async fn a_status_behind_a_request_leaves_open_whether_it_was_handled() {
    for response in [
        answer(200, Some(Code::ResourceExhausted), &[]),
        answer(200, Some(UNAUTHENTICATED), &[]),
        answer(200, Some(Code::Unavailable), &[("server", "envoy")]),
        answer(504, None, &[]),
        answer(502, Some(Code::Unimplemented), &[]),
    ] {
        let what = format!("{response:?}");
        let server = GoServer::bind().await;
        let configuration = server.configuration();
        let node = configuration.node(1).unwrap();
        let call = node.rpc(&WRITE_RPC, write("v")).wait_for_ready(true).retry(Retry::up_to(3)).send();
        let mut peer = server.accept().await;
        peer.receive().await;
        let _rest = peer.end_with(response);
        let error = within(&what, call).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{what}: {error}");
        assert!(error.is_ambiguous(), "{what}: {error}");
        // What comes next is what was asked next.
        let next = node.rpc(&READ_RPC, read("k")).wait_for_ready(true).send();
        let mut peer = server.accept().await;
        let id = peer.receive().await;
        assert_eq!(id.method_name(), READ_RPC.name(), "{what}");
        peer.send(&with_id(&conversation(&[2], "node1", false)[1].bytes, id.message_seq_no)).await;
        assert_eq!(next.await.unwrap(), found("val-A"), "{what}");
    }
}

/// What is certain to come before any handler makes no call ambiguous, so that it can be retried whatever it does.
#[tokio::test]
async fn a_refusal_of_the_stream_is_no_answer_to_a_request() {
    for response in [
        answer(200, Some(Code::Unimplemented), &[]),
        answer(200, Some(UNAUTHENTICATED), &[("gorums-features", "cancel,end,window")]),
        answer(401, None, &[]),
        answer(404, None, &[]),
        answer(431, None, &[]),
    ] {
        let what = format!("{response:?}");
        let server = GoServer::bind().await;
        let configuration = server.configuration();
        let node = configuration.node(1).unwrap();
        let call = node.rpc(&WRITE_RPC, write("v")).send();
        let mut peer = server.accept().await;
        peer.receive().await;
        let _rest = peer.end_with(response);
        let error = within(&what, call).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{what}: {error}");
        assert!(!error.is_ambiguous(), "{what}: {error}");
    }
}

/// Idempotent requests go out again, in their old order, and before what was asked later.
#[tokio::test]
async fn what_may_be_repeated_is_sent_again_in_order() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let node = configuration.node(1).unwrap();
    let call = |number| {
        let safe = node.rpc(&common::SAFE, common::number(number)).wait_for_ready(true);
        safe.timeout(Duration::from_secs(20)).send()
    };
    let mut calls = vec![call(1), call(2)];
    let mut peer = server.accept().await;
    let sent = [peer.receive().await, peer.receive().await];
    let _rest = peer.end_with(answer(200, Some(Code::Unavailable), &[]));
    calls.push(call(3));
    let mut peer = server.accept().await;
    let again = [peer.receive().await, peer.receive().await, peer.receive().await];
    assert_eq!(again[..2], sent);
    for request in &again {
        let (id, payload) = (request.message_seq_no, request.payload.clone());
        let reply = gorums_core::wire::Envelope {
            message_seq_no: id,
            method: common::SAFE.name().into(),
            payload,
            ..Default::default()
        };
        peer.send(&prost::Message::encode_to_vec(&reply)).await;
    }
    for (number, call) in (1..).zip(calls) {
        assert_eq!(within("a reply", call).await.unwrap().number, number);
    }
}

/// A server of ours says that its refusal comes before everything else, although the request was sent: the ping was answered
/// long before.
#[tokio::test]
async fn our_server_refuses_before_it_reads() {
    let hook = |_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Err(Status::unauthenticated("not you"))
    };
    let server = Server::builder().on_connect(hook).add_service(common::Test::new(1));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(server.serve());
    let configuration =
        gorums_core::Configuration::builder().nodes([address.to_string()]).connect_lazy().unwrap();
    let node = configuration.node(1).unwrap();
    let call = node.rpc(&ECHO, text("x")).send();
    common::eventually("the request is sent", || node.stats().queue.sent == 1).await;
    let error = within("refused", call).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
    assert!(!error.is_ambiguous() && error.to_string().contains("not you"), "{error}");
    handle.shutdown().await;
    serving.await.unwrap().unwrap();
}
