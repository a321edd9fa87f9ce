//! Calls to a node that means harm: its calls end with errors of their kind, and those to others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use gorums_core::wire::{Envelope, RpcStatus};
use gorums_core::{BoxedIo, Code, Configuration, NodeErrorKind, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{COUNT, ECHO, OnConfiguration, OnNode, SAFE, Test, number, text, within};
use crate::node::{Conversation, Mallory};
use crate::peer::{ECHO as ECHO_NAME, HIGH_BIT, framed, message, request};
use crate::tools::{MS, SECOND, alone, length, report, resident_bytes};

/// A configuration of a healthy node, 1, and of one that means harm, 2.
struct Both {
    configuration: Configuration,
    mallory: Mallory,
    serving: tokio::task::JoinHandle<()>,
}

impl Both {
    async fn start(callbacks: Option<Test>) -> Self {
        let server = Server::builder().add_service(Test::new(1)).bind("127.0.0.1:0").await.unwrap();
        let mallory = Mallory::listen().await;
        let mut builder = Configuration::builder()
            .node(1, server.local_addr().to_string())
            .node(2, mallory.address())
            .drain_timeout(10 * MS);
        if let Some(service) = callbacks {
            builder = builder.serve_callbacks(Server::builder().add_service(service));
        }
        let serving = tokio::spawn(async { server.serve().await.unwrap() });
        Self { configuration: builder.connect_lazy().unwrap(), mallory, serving }
    }

    /// Calls the bad node, and gives its end of the stream and the request.
    async fn called(&self) -> (Conversation, Envelope, gorums_core::RpcFuture<crate::common::Text>) {
        let call = self.configuration.node(2).unwrap().rpc(&ECHO, text("x")).wait_for_ready(true);
        let call = call.timeout(20 * SECOND).send();
        let mut conversation = self.mallory.accept().await;
        // What others have asked meanwhile comes first.
        let mut request = conversation.next().await.unwrap();
        while request.method != ECHO_NAME {
            request = conversation.next().await.unwrap();
        }
        (conversation, request, call)
    }

    /// The healthy node answers, alone and in a quorum call.
    async fn others_go_on(&self) {
        let node = self.configuration.node(1).unwrap();
        within("a healthy call", node.rpc(&ECHO, text("x"))).await.unwrap();
        assert_eq!(node.stats().connections, 1, "the healthy node was disturbed");
        within("a quorum call", self.configuration.quorum_call(&SAFE, text("x")).first()).await.unwrap();
    }

    async fn end(self) {
        within("close", self.configuration.close()).await;
        assert_eq!(self.configuration.pending(), 0);
        self.serving.abort();
    }
}

fn reply(request: &Envelope) -> Envelope {
    Envelope { entry: vec![], ..request.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_costs_the_stream() {
    for (what, bytes) in [
        ("4 GiB", Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff])),
        ("too long, and nobody knows whose", [&[0, 0, 0x40, 0, 1][..], &[0xff; 64]].concat().into()),
        ("compressed", Bytes::from_static(&[1, 0, 0, 0, 1, 0])),
        ("no protobuf", framed(&[0x0a, 1, 0])),
        ("a method that is not UTF-8", framed(&[8, 1, 0x12, 1, 0xff])),
    ] {
        let both = Both::start(None).await;
        let (mut conversation, _, call) = both.called().await;
        conversation.send(bytes).await;
        let error = within("the call", call).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{what}: {error}");
        conversation.given_up().await;
        both.others_go_on().await;
        // The next attempt may be better.
        let (mut conversation, request, call) = both.called().await;
        conversation.send(message(&reply(&request))).await;
        within("the call", call).await.unwrap();
        both.end().await;
    }
}

/// Only the one reply to a call counts; and none from a node that was not called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_to_nobody_are_counted_and_dropped() {
    let both = Both::start(None).await;
    let (mut conversation, request, call) = both.called().await;
    let node = both.configuration.node(2).unwrap();
    let healthy = both.configuration.node(1).unwrap().rpc(&ECHO, text("sleep:300")).send();
    let mut batch = BytesMut::new();
    let mut forged = 0;
    for generation in 1..1_000_u64 {
        for slot in 0..4 {
            let id = generation << 20 | slot;
            if id != request.message_seq_no {
                let forgery = crate::peer::request(id, ECHO_NAME, "forged");
                batch.extend_from_slice(&message(&forgery));
                forged += 1;
            }
        }
    }
    for _ in 0..3 {
        batch.extend_from_slice(&message(&reply(&request)));
    }
    assert!(conversation.send(batch.freeze()).await);
    assert_eq!(within("the call", call).await.unwrap().text, "x");
    let late = || node.stats().late_replies;
    crate::common::soon("late replies", 10 * SECOND, || late() == forged + 2).await;
    assert_eq!(
        within("the healthy call", healthy).await.unwrap().text,
        "sleep:300",
        "answered by another node"
    );
    both.others_go_on().await;
    both.end().await;
}

/// Replies that make no sense fail their calls, and no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senseless_replies_fail_their_calls() {
    let both = Both::start(None).await;
    let (mut conversation, first, call) = both.called().await;
    conversation
        .send(message(&Envelope { payload: Bytes::from_static(&[0x0a, 0x7f]), ..reply(&first) }))
        .await;
    let error = within("the call", call).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Decode), "{error}");
    let node = both.configuration.node(2).unwrap();
    for (code, expected) in [(-1, Code::Unknown), (99, Code::Unknown), (13, Code::Internal)] {
        let call = node.rpc(&ECHO, text("x")).send();
        let request = conversation.next().await.unwrap();
        let status =
            RpcStatus { code, message: vec![0xff; 1 << 20].into(), details: vec![Bytes::new(); 1_000] };
        conversation.send(message(&Envelope { status: Some(status), ..reply(&request) })).await;
        let error = within("the call", call).await.unwrap_err();
        assert_eq!(error.status().map(gorums_core::Status::code), Some(expected), "{code}");
        assert!(error.to_string().len() > 1);
    }
    // The end of a call that has one reply is an empty reply.
    let call = node.rpc(&ECHO, text("x")).send();
    let request = conversation.next().await.unwrap();
    conversation.send(message(&Envelope { status: Some(RpcStatus::default()), ..reply(&request) })).await;
    assert_eq!(within("the call", call).await.unwrap(), text(""));
    both.others_go_on().await;
    both.end().await;
}

/// A streaming call is not owed an end: its mailbox is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_without_end_are_bounded() {
    let _alone = alone().await;
    let both = Both::start(None).await;
    let (mut conversation, first, call) = both.called().await;
    conversation.send(message(&reply(&first))).await;
    within("the call", call).await.unwrap();
    let before = resident_bytes();
    let mut replies = both.configuration.streaming_call(&COUNT, number(1)).no_timeout().send();
    let request = conversation.next().await.unwrap();
    let batch: BytesMut = (0..100).flat_map(|_| message(&reply(&request))).collect();
    for _ in 0..length(2_000, 20_000) {
        assert!(conversation.send(batch.clone().freeze()).await);
    }
    if let (Some(before), Some(now)) = (before, resident_bytes()) {
        let kept = now.saturating_sub(before);
        report("replies without end", &format!("{} KiB kept", kept >> 10));
        assert!(kept < 32 << 20, "{kept} bytes");
    }
    let mut overrun = false;
    while let Some(reply) = within("a reply", replies.next()).await {
        overrun |= matches!(reply.result, Err(error) if matches!(error.kind(), NodeErrorKind::Overrun));
    }
    assert!(overrun, "the replies were not taken in time");
    both.others_go_on().await;
    both.end().await;
}

/// Calls back are answered where the client offers something; else each is refused. Who does not take the answers
/// makes the client keep no more than a bounded number of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_back_to_what_is_not_offered_are_refused() {
    for offers in [None, Some(Test::new(3))] {
        let seen = offers.clone().map(|test| test.seen);
        let both = Both::start(offers).await;
        let (mut conversation, first, call) = both.called().await;
        conversation.send(message(&reply(&first))).await;
        within("the call", call).await.unwrap();
        for id in [HIGH_BIT, HIGH_BIT | 1, u64::MAX] {
            conversation.send(message(&request(id, "test.Test.Unknown", "x"))).await;
            let refusal = conversation.next().await.unwrap();
            assert_eq!(refusal.message_seq_no, id);
            assert_eq!(refusal.status.unwrap().to_status().code(), Code::Unimplemented);
        }
        conversation.send(message(&request(HIGH_BIT, ECHO_NAME, "called back"))).await;
        let answer = conversation.next().await.unwrap();
        assert_eq!(answer.status.is_none(), seen.is_some(), "offered, or not");
        let cancel = Envelope { method: gorums_core::wire::CANCEL.into(), ..request(HIGH_BIT | 5, "", "") };
        conversation.send(message(&cancel)).await;
        if let Some(seen) = seen {
            assert_eq!(*seen.texts.lock().unwrap(), ["called back"]);
        }
        both.others_go_on().await;
        both.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_calls_back_is_bounded() {
    let _alone = alone().await;
    let both = Both::start(None).await;
    let (mut conversation, first, call) = both.called().await;
    conversation.send(message(&reply(&first))).await;
    within("the call", call).await.unwrap();
    let before = resident_bytes();
    let batch: BytesMut =
        (0..1_000).flat_map(|id| message(&request(HIGH_BIT | id, "test.Test.Unknown", "x"))).collect();
    for _ in 0..length(300, 3_000) {
        assert!(conversation.send(batch.clone().freeze()).await);
    }
    if let (Some(before), Some(now)) = (before, resident_bytes()) {
        let kept = now.saturating_sub(before);
        report("a flood of calls back", &format!("{} KiB kept", kept >> 10));
        assert!(kept < 64 << 20, "{kept} bytes");
    }
    both.others_go_on().await;
    both.end().await;
}

/// Nodes that speak something else, or hang up at once: they are down, and dialled at the pace of the back-off.
#[tokio::test(start_paused = true)]
async fn what_is_no_node_is_down_and_not_dialled_in_a_rush() {
    let words: [&[u8]; 5] = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0xff; 64],
        // Settings, and then the end.
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
        // GOAWAY.
        &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11],
    ];
    for first_words in words {
        let dials = Arc::new(AtomicUsize::new(0));
        let dialled = dials.clone();
        let connector = move |_: Arc<str>| -> BoxFuture<'static, std::io::Result<BoxedIo>> {
            dialled.fetch_add(1, Relaxed);
            let (client, mut server) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                let _ = server.write_all(first_words).await;
                let mut greeting = [0; 24];
                let _ = server.read_exact(&mut greeting).await;
            });
            Box::pin(async { Ok(Box::new(client) as BoxedIo) })
        };
        let configuration =
            Configuration::builder().nodes(["mallory:1"]).connector(connector).connect_lazy().unwrap();
        configuration.wait_connected().await.unwrap_err();
        tokio::time::sleep(60 * SECOND).await;
        let dials = dials.load(Relaxed);
        assert!((5..200).contains(&dials), "{dials} dials in a minute, for {first_words:?}");
        let error = configuration.nodes()[0].rpc(&ECHO, text("x")).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
        configuration.close().await;
    }
}
