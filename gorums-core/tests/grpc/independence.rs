//! Slow and hung consumers of gRPC streams, on connections of their own and on that of the node stream.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use gorums_core::wire::{Envelope, NODE_STREAM};
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Streaming};

use crate::common::{Text, text};
use crate::echo::{chat, count, unary};
use crate::scene::Scene;

const UNARY: &str = "/test.Echo/Unary";
const CHAT: &str = "/test.Echo/Chat";

/// A node stream on the channel of a client of gRPC.
struct NodeStream {
    say: mpsc::Sender<Envelope>,
    replies: Streaming<Envelope>,
    next: u64,
}

impl NodeStream {
    async fn open(channel: &Channel) -> Self {
        let (say, said) = mpsc::channel(1);
        let said = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
        let replies = chat(channel.clone(), NODE_STREAM, Request::new(said.boxed())).await.unwrap();
        Self { say, replies, next: 1 }
    }

    /// Makes a call, which is to take no time, however long the text.
    async fn call(&mut self, said: &str) {
        let payload = Text { text: said.into(), number: 0 }.encode_to_vec();
        let method = "test.Test.Echo".into();
        let request =
            Envelope { message_seq_no: self.next, method, payload: payload.into(), ..Envelope::default() };
        self.say.send(request).await.unwrap();
        let reply = timeout(Duration::from_secs(1), self.replies.message()).await.expect("disturbed");
        assert_eq!(reply.unwrap().unwrap().message_seq_no, self.next);
        self.next += 1;
    }
}

/// Large windows, as a client needs who is slow on some streams and not on others.
fn wide(endpoint: Endpoint) -> Endpoint {
    endpoint.initial_stream_window_size(1 << 20).initial_connection_window_size(64 << 20)
}

/// The client reads nothing of what a service would send for ever.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads() {
    let scene = Scene::new(|builder| builder);
    let (alone, shared) = (scene.channel(), scene.channel_with(wide));
    let mut node = NodeStream::open(&shared).await;
    let endless = || Text { text: "x".repeat(64 << 10), number: u64::MAX };
    let disturb = async {
        let mut unread = Vec::new();
        for channel in [&alone, &shared] {
            for _ in 0..8 {
                unread.push(count(channel.clone(), endless()).await.unwrap());
            }
        }
        // What each has sent is bounded by the windows and by what is kept for the client.
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let sent = scene.seen.sent.load(std::sync::atomic::Ordering::SeqCst);
            if sent == before {
                break;
            }
            before = sent;
        }
        let bytes = before * (64 << 10);
        assert!(bytes < unread.len() * (8 << 20), "{bytes} bytes for {} streams", unread.len());
        for size in [1, 100, 1 << 20] {
            node.call(&"y".repeat(size)).await;
        }
        assert_eq!(unary(shared.clone(), UNARY, text("x")).await.unwrap(), text("x"));
    };
    scene.undisturbed(disturb).await;
    drop((node, alone, shared));
    scene.finish().await;
}

/// The handlers read nothing of what the client would send for ever: the node stream beside them has its room all the
/// same, although they keep more than the window that a connection with node streams alone would have.
#[tokio::test(start_paused = true)]
async fn handlers_that_never_read() {
    let scene = Scene::new(|builder| builder);
    let channel = scene.channel_with(wide);
    let mut node = NodeStream::open(&channel).await;
    let disturb = async {
        let mut unread = Vec::new();
        for _ in 0..8 {
            let large = Text { text: "x".repeat(1 << 20), number: 0 };
            let said = stream::iter([text("one"), text("hang")]).chain(stream::repeat(large));
            let mut replies = chat(channel.clone(), CHAT, Request::new(said)).await.unwrap();
            assert_eq!(replies.message().await.unwrap().unwrap(), text("one"));
            unread.push(replies);
        }
        // All of them send until their windows are full.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for size in [1, 100, 1 << 20] {
            node.call(&"y".repeat(size)).await;
        }
    };
    scene.undisturbed(disturb).await;
    drop((node, channel));
    scene.finish().await;
}

/// Calls beyond the limit of a connection wait at the client, and others' connections have limits of their own.
#[tokio::test(start_paused = true)]
async fn more_calls_than_streams() {
    let scene = Scene::new(|builder| builder.max_streams(2));
    let channel = scene.channel();
    let hang = || unary(channel.clone(), UNARY, text("hang"));
    let calls = async {
        let three = futures_util::future::join3(hang(), hang(), hang());
        timeout(Duration::from_secs(1), three).await.unwrap_err();
    };
    let looks = async {
        for _ in 0..90 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(scene.server.stats().grpc_calls <= 2);
        }
        assert_eq!(scene.server.stats().grpc_calls, 2);
    };
    scene.undisturbed(futures_util::future::join(calls, looks)).await;
    assert_eq!(
        unary(channel.clone(), "/no.Service/There", text("x")).await.unwrap_err().code(),
        Code::Unimplemented
    );
    drop(channel);
    scene.finish().await;
}
