//! Our client towards Go servers.

use std::time::Duration;

use futures_util::StreamExt;
use gorums_core::wire::Envelope;
use gorums_core::{Code, Configuration, Initiator, MessageId, MetadataMap, NodeErrorKind};
use prost::Message;

use crate::common::{OnConfiguration, OnNode, eventually, within};
use crate::server::{GoServer, GoStream};
use crate::storage::{
    NO_SUCH_METHOD, NO_SUCH_NOTE, READ_CORRECTABLE, READ_QC, READ_RPC, WRITE_MULTICAST, WRITE_RPC,
    WRITE_UNICAST,
};
use crate::vectors::{
    ReadResponse, Vector, WriteRequest, WriteResponse, conversation, found, read, to_hex, write,
};
use crate::{FRAME, RECORDED_CALLS, bad_bytes, fields, with_id};

/// A message of ours without the one addition to the format, the deadline.
fn without_deadline(message: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = b"\x0a\x0cgrpc-timeout";
    let is_deadline = |(number, field): &(u8, Vec<u8>)| *number == 4 && field[2..].starts_with(KEY);
    let mut fields = fields(message);
    assert!(fields.iter().filter(|field| is_deadline(field)).count() <= 1);
    fields.retain(|field| !is_deadline(field));
    fields.into_iter().flat_map(|(_, field)| field).collect()
}

/// Checks that the next message is the recorded one, but for its id, and gives the id.
async fn expect(peer: &mut GoStream, recorded: &Vector) -> u64 {
    let message = peer.next().await.unwrap();
    let id = Envelope::from_message(message.clone()).unwrap().message_seq_no;
    assert_eq!(MessageId::from_wire(id).initiator(), Initiator::Client);
    assert_eq!(to_hex(&without_deadline(&message)), to_hex(&with_id(&recorded.bytes, id)), "{recorded:?}");
    id
}

/// The recorded conversation of node 1 with its client.
struct Script {
    requests: std::vec::IntoIter<Vector>,
    replies: Vec<Vector>,
}

impl Script {
    fn new() -> Self {
        let requests = conversation(&RECORDED_CALLS, "node1", true).into_iter();
        Self { requests, replies: conversation(&RECORDED_CALLS, "node1", false) }
    }

    /// Expects the next recorded request and replies as was recorded.
    async fn next(&mut self, peer: &mut GoStream) {
        let request = self.requests.next().unwrap();
        let id = expect(peer, &request).await;
        for reply in self.replies.iter().filter(|reply| reply.seq == request.seq) {
            peer.send(&with_id(&reply.bytes, id)).await;
        }
    }
}

#[tokio::test]
async fn our_calls_are_the_recorded_bytes_and_understand_the_recorded_replies() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let node = configuration.node(1).unwrap();
    let mut script = Script::new();
    let code = |result: Result<ReadResponse, gorums_core::NodeError>| {
        let error = result.unwrap_err();
        let status = error.status().unwrap();
        (status.code(), status.message().to_owned())
    };

    let call = node.rpc(&WRITE_RPC, write("v")).send();
    let peer = &mut server.accept().await;
    assert!(!peer.has_answered());
    script.next(peer).await;
    assert_eq!(call.await.unwrap(), WriteResponse { new: true });

    let rpc = |key| node.rpc(&READ_RPC, read(key)).send();
    let (reply, ()) = tokio::join!(rpc("k"), script.next(peer));
    assert_eq!(reply.unwrap(), found("val-A"));
    let (reply, ()) = tokio::join!(rpc("missing"), script.next(peer));
    assert_eq!(reply.unwrap(), ReadResponse::default());
    let (reply, ()) = tokio::join!(rpc(""), script.next(peer));
    assert_eq!(reply.unwrap(), found("val-A"));

    node.unicast(&WRITE_UNICAST, write("uni")).await.unwrap();
    script.next(peer).await;
    configuration.multicast(&WRITE_MULTICAST, write("multi")).await.unwrap();
    script.next(peer).await;
    let (reply, ()) = tokio::join!(configuration.quorum_call(&READ_QC, read("k")).all(), script.next(peer));
    assert_eq!(reply.unwrap(), found("val-A"));
    let (reply, ()) = tokio::join!(configuration.quorum_call(&READ_QC, read("k")).first(), script.next(peer));
    assert_eq!(reply.unwrap(), found("val-A"));
    let mut correctable = configuration.streaming_call(&READ_CORRECTABLE, read("k")).correctable(2);
    script.next(peer).await;
    assert_eq!(correctable.done().await.unwrap().value, "update 2");

    let (reply, ()) = tokio::join!(rpc("notfound"), script.next(peer));
    assert_eq!(code(reply), (Code::NotFound, "no such key".into()));
    let (reply, ()) = tokio::join!(rpc("plain"), script.next(peer));
    assert_eq!(code(reply), (Code::Unknown, "plain Go error".into()));
    let (reply, ()) = tokio::join!(node.rpc(&NO_SUCH_METHOD, read("k")).send(), script.next(peer));
    let unknown = "no handler registered for method proto.Storage.NoSuchMethod";
    assert_eq!(code(reply), (Code::Unimplemented, unknown.into()));
    node.unicast(&NO_SUCH_NOTE, read("k")).await.unwrap();
    script.next(peer).await;
    eventually("the error is dropped", || node.stats().late_replies == 1).await;

    // A payload that does not parse cannot be sent by this client; the reply to it can be understood.
    let unparsable = script.requests.next().unwrap();
    let call = rpc("k");
    let id = peer.receive().await.message_seq_no;
    let refusal = script.replies.iter().find(|reply| reply.seq == unparsable.seq).unwrap();
    peer.send(&with_id(&refusal.bytes, id)).await;
    let (unknown, reason) = code(call.await);
    assert_eq!((unknown, reason.starts_with("gorums: could not unmarshal request:")), (Code::Unknown, true));

    let mut metadata = MetadataMap::new();
    metadata.append("x-trace", "abc".parse().unwrap());
    metadata.append("x-trace", "def".parse().unwrap());
    let traced = node.rpc(&READ_RPC, read("k")).metadata(metadata).send();
    let (reply, ()) = tokio::join!(traced, script.next(peer));
    assert_eq!(reply.unwrap(), found("val-A"));
    let (reply, ()) = tokio::join!(node.rpc(&READ_RPC, read("k")).timeout(Duration::MAX), script.next(peer));
    assert_eq!(reply.unwrap(), found("val-A"));

    assert!(script.requests.next().is_none());
    assert_eq!((configuration.pending(), node.stats().connections), (0, 1));
}

#[tokio::test]
async fn our_request_for_a_stream_is_that_of_a_go_client() {
    let server = GoServer::bind().await;
    let mut metadata = MetadataMap::new();
    metadata.insert("message", "hello".parse().unwrap());
    let configuration = server.builder().metadata(metadata).connect_lazy().unwrap();
    configuration.node(1).unwrap().unicast(&WRITE_UNICAST, write("x")).send().unwrap();
    let head = server.accept().await.head;
    assert_eq!(head.method, "POST");
    assert_eq!(head.uri.scheme_str(), Some("http"));
    assert_eq!(head.uri.path_and_query().unwrap(), "/stream.Gorums/NodeStream");
    assert_eq!(head.uri.authority().unwrap().as_str(), server.address());
    let mut names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "gorums-client", "gorums-features", "message", "te", "user-agent"]);
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["message"], "hello");
}

#[tokio::test]
async fn one_way_calls_arrive_before_any_response_headers() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let recorded = conversation(&[4], "node1", true).remove(0);
    let first = configuration.node(1).unwrap().unicast(&WRITE_UNICAST, write("uni"));
    first.send().unwrap();
    let mut peer = server.accept().await;
    expect(&mut peer, &recorded).await;
    for _ in 0..100 {
        within("handed over", configuration.multicast(&WRITE_UNICAST, write("uni")).into_future())
            .await
            .unwrap();
        expect(&mut peer, &recorded).await;
    }
    assert!(!peer.has_answered());
    configuration.close().await;
}

#[tokio::test]
async fn a_quorum_call_has_one_id_and_a_late_reply_is_dropped() {
    let servers = [GoServer::bind().await, GoServer::bind().await];
    let configuration =
        Configuration::builder().nodes(servers.iter().map(GoServer::address)).connect_lazy().unwrap();
    let calls = [1, 2].map(|node| conversation(&[6, 7], &format!("node{node}"), true));
    let replies = [1, 2].map(|node| conversation(&[6, 7], &format!("node{node}"), false));
    let call = configuration.quorum_call(&READ_QC, read("k")).send();
    let mut peers = [servers[0].accept().await, servers[1].accept().await];
    let mut ids = [0; 2];
    for node in [1, 0] {
        ids[node] = expect(&mut peers[node], &calls[node][0]).await;
        peers[node].send(&with_id(&replies[node][0].bytes, ids[node])).await;
    }
    assert_eq!(ids[0], ids[1]);
    assert!(call.all().await.is_ok());

    let call = configuration.quorum_call(&READ_QC, read("k")).send();
    for node in [0, 1] {
        ids[node] = expect(&mut peers[node], &calls[node][1]).await;
    }
    peers[1].send(&with_id(&replies[1][1].bytes, ids[1])).await;
    assert_eq!(call.first().await.unwrap(), found("val-B"));
    assert_eq!(configuration.pending(), 0);
    peers[0].send(&with_id(&replies[0][1].bytes, ids[0])).await;
    let late = || configuration.iter().map(|node| node.stats().late_replies).collect::<Vec<_>>();
    eventually("the late reply is dropped", || late() == [1, 0]).await;

    // A call that is given up tells a Go node nothing: the next message is the next call.
    let given_up = configuration.quorum_call(&READ_QC, read("given up")).send();
    for peer in &mut peers {
        assert_eq!(peer.receive().await.method_name(), READ_QC.name());
    }
    drop(given_up);
    let call = configuration.quorum_call(&READ_QC, read("k")).send();
    for node in [0, 1] {
        let id = expect(&mut peers[node], &calls[node][0]).await;
        peers[node].send(&with_id(&replies[node][0].bytes, id)).await;
    }
    assert!(call.all().await.is_ok());
}

#[tokio::test]
async fn replies_that_nobody_asked_for_are_dropped() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let node = configuration.node(1).unwrap();
    let call = node.rpc(&READ_RPC, read("k")).send();
    let mut peer = server.accept().await;
    let id = peer.receive().await.message_seq_no;
    let reply = conversation(&[2], "node1", false).remove(1);
    for other in [0, id + 1, u64::MAX >> 1] {
        peer.send(&with_id(&reply.bytes, other)).await;
    }
    peer.send(&with_id(&reply.bytes, id)).await;
    assert_eq!(call.await.unwrap(), found("val-A"));
    // A second reply to the same call.
    peer.send(&with_id(&reply.bytes, id)).await;
    eventually("dropped", || node.stats().late_replies == 4).await;
}

#[tokio::test]
async fn a_long_request_is_cut_into_frames() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let recorded = conversation(&[23], "node1/3", true).remove(0);
    let node = configuration.node(1).unwrap();
    node.unicast(&WRITE_UNICAST, write(&"x".repeat(40_000))).send().unwrap();
    let mut peer = server.accept().await;
    expect(&mut peer, &recorded).await;
    assert!(peer.frames.iter().all(|&len| len <= FRAME), "{:?}", peer.frames);
    assert_eq!(peer.frames.len(), 3, "{:?}", peer.frames);
    // Longer than the windows by far.
    let value = "y".repeat(3 << 20);
    let handed_over = node.unicast(&WRITE_UNICAST, write(&value));
    let (received, handed_over) = tokio::join!(peer.receive(), handed_over);
    handed_over.unwrap();
    assert_eq!(WriteRequest::decode(received.payload).unwrap(), write(&value));
    assert!(peer.frames.iter().all(|&len| len <= FRAME));
}

#[tokio::test]
async fn long_replies_come_in_frames() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let node = configuration.node(1).unwrap();
    let call = || node.rpc(&READ_RPC, read("k")).send();
    let mut next = call();
    let mut peer = server.accept().await;
    let response = found(&"z".repeat(3 << 20));
    // More than our window, unless it is given back.
    for _ in 0..3 {
        let id = peer.receive().await.message_seq_no;
        let (method, payload) = (READ_RPC.name().into(), response.encode_to_vec().into());
        let reply = Envelope { message_seq_no: id, method, payload, ..Envelope::default() }.encode_to_vec();
        let (received, ()) = tokio::join!(next, peer.send(&reply));
        assert_eq!(received.unwrap(), response);
        next = call();
    }
}

#[tokio::test]
async fn streaming_replies_of_a_go_node_have_no_end() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let call = configuration.streaming_call(&READ_CORRECTABLE, read("k")).timeout(Duration::from_millis(300));
    let replies = call.send();
    let mut peer = server.accept().await;
    let id = expect(&mut peer, &conversation(&[8], "node1", true)[0]).await;
    for update in conversation(&[8], "node1", false) {
        peer.send(&with_id(&update.bytes, id)).await;
    }
    let replies: Vec<_> = within("the deadline", replies.collect::<Vec<_>>()).await;
    let values: Vec<_> = replies.iter().filter_map(|reply| reply.result.as_ref().ok()).collect();
    assert_eq!(values.iter().map(|reply| reply.value.as_str()).collect::<Vec<_>>(), ["update 1", "update 2"]);
    let late = replies[2].result.as_ref().unwrap_err();
    assert!(matches!(late.kind(), NodeErrorKind::DeadlineExceeded), "{late}");
    assert_eq!((replies.len(), configuration.pending()), (3, 0));
}

#[tokio::test]
async fn a_call_back_is_refused_by_a_plain_client() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let node = configuration.node(1).unwrap();
    let call = node.rpc(&READ_RPC, read("k")).send();
    let mut peer = server.accept().await;
    let id = peer.receive().await.message_seq_no;
    let back = conversation(&[18], "node1/2", false).remove(0);
    peer.send(&back.bytes).await;
    let refusal = peer.receive().await;
    assert_eq!((refusal.message_seq_no, refusal.method_name()), (back.seq, "proto.Storage.ReadQC"));
    assert_eq!(refusal.status.unwrap().to_status().code(), Code::Unimplemented);
    peer.send(&with_id(&conversation(&[2], "node1", false)[1].bytes, id)).await;
    assert_eq!(call.await.unwrap(), found("val-A"));
}

#[tokio::test]
async fn a_server_that_stops_is_dialled_again() {
    let server = GoServer::bind().await;
    let configuration = server.configuration();
    let node = configuration.node(1).unwrap();
    let call = node.rpc(&READ_RPC, read("k")).send();
    let mut peer = server.accept().await;
    peer.receive().await;
    peer.stop();
    let error = within("lost", call).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
    let call = node.rpc(&READ_RPC, read("k")).wait_for_ready(true).send();
    let mut peer = server.accept().await;
    let id = expect(&mut peer, &conversation(&[2], "node1", true)[1]).await;
    peer.send(&with_id(&conversation(&[2], "node1", false)[1].bytes, id)).await;
    assert_eq!(call.await.unwrap(), found("val-A"));
    assert_eq!(node.stats().connections, 2);
}

#[tokio::test]
async fn closing_ends_the_stream_and_the_connection() {
    for answers in [true, false] {
        let server = GoServer::bind().await;
        let configuration = server.configuration();
        let call = configuration.node(1).unwrap().rpc(&READ_RPC, read("k")).send();
        let mut peer = server.accept().await;
        let id = peer.receive().await.message_seq_no;
        if answers {
            peer.send(&with_id(&conversation(&[2], "node1", false)[1].bytes, id)).await;
            assert!(call.await.is_ok());
        } else {
            drop(call);
        }
        let ((), ()) = tokio::join!(within("closed", configuration.close()), peer.closed());
    }
}

#[tokio::test]
async fn a_server_that_talks_nonsense_loses_its_stream() {
    for (what, bytes) in bad_bytes() {
        let server = GoServer::bind().await;
        let configuration = server.configuration();
        let node = configuration.node(1).unwrap();
        let call = node.rpc(&READ_RPC, read("k")).send();
        let mut peer = server.accept().await;
        let id = peer.receive().await.message_seq_no;
        peer.send_bytes(bytes).await;
        let error = within(what, call).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{what}: {error}");
        assert_eq!(peer.next().await, None, "{what}");
        let call = node.rpc(&READ_RPC, read("k")).wait_for_ready(true).send();
        let mut peer = server.accept().await;
        let again = peer.receive().await.message_seq_no;
        assert_ne!(id, again);
        peer.send(&with_id(&conversation(&[2], "node1", false)[1].bytes, again)).await;
        assert_eq!(call.await.unwrap(), found("val-A"), "{what}");
    }
}
