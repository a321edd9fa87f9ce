//! What a gRPC service can do, as with any other server.

use futures_util::{StreamExt, TryStreamExt, stream};
use gorums_core::{Code, Status};

use crate::common::{Text, text};
use crate::echo::{chat, count, talk, unary};
use crate::scene::Scene;

const UNARY: &str = "/test.Echo/Unary";
const CHAT: &str = "/test.Echo/Chat";
/// More than a window, of the stream and of the connection, of either end.
const LARGE: usize = 9 << 20;

#[tokio::test(start_paused = true)]
async fn every_kind_of_call_while_the_node_stream_goes_on() {
    let scene = Scene::new(|builder| builder);
    let channel = scene.channel();
    let calls = async {
        assert_eq!(unary(channel.clone(), UNARY, text("hello")).await.unwrap(), text("hello"));
        let said = Text { text: "again".into(), number: 1_000 };
        let replies = count(channel.clone(), said).await.unwrap();
        let numbers: Vec<_> = replies.map_ok(|reply| reply.number).try_collect().await.unwrap();
        assert_eq!(numbers, (1..=1_000).collect::<Vec<_>>());
        let (say, mut replies) = talk(&channel).await;
        for number in 0..100 {
            let said = Text { text: "turn".into(), number };
            say.send(said.clone()).await.unwrap();
            assert_eq!(replies.next().await.unwrap().unwrap(), said);
        }
        drop(say);
        assert!(replies.next().await.is_none());
    };
    scene.undisturbed(calls).await;
    let peers = std::mem::take(&mut *scene.seen.peers.lock().unwrap());
    assert_eq!(peers.len(), 1, "a handler learns who calls");
    assert!(peers[0].peer_addr().is_none() && peers[0].peer_certificates().is_none());
    drop(channel);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn messages_of_many_windows_both_ways() {
    let scene = Scene::new(|builder| builder);
    let (channel, large) = (scene.channel(), Text { text: "x".repeat(LARGE), number: 7 });
    let calls = async {
        let reply = unary(channel.clone(), UNARY, large.clone()).await.unwrap();
        assert!(reply == large);
        let said = stream::iter(vec![large.clone(); 3]);
        let replies: Vec<_> = chat(channel.clone(), CHAT, said).await.unwrap().try_collect().await.unwrap();
        assert!(replies == vec![large.clone(); 3]);
    };
    scene.undisturbed(calls).await;
    drop(channel);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn errors_come_as_they_are() {
    let scene = Scene::new(|builder| builder);
    let mut client = scene.raw().await;
    let begun = client.begin(UNARY, &text("fail"), None);
    let answer = client.answer(begun).await;
    assert!(answer.only_headers && answer.data.is_empty() && answer.trailers.is_none(), "{answer:?}");
    assert_eq!(answer.headers.get("grpc-status").unwrap(), "9");
    drop(client);
    let channel = scene.channel();
    let calls = async {
        let status = unary(channel.clone(), UNARY, text("fail")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "told to fail"));
        assert_eq!(status.metadata().get("why").unwrap(), "because");
        let said = stream::iter([text("one"), text("fail")]);
        let mut replies = chat(channel.clone(), CHAT, said).await.unwrap();
        assert_eq!(replies.next().await.unwrap().unwrap(), text("one"));
        let status = replies.next().await.unwrap().unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Aborted, "told to fail"));
    };
    scene.undisturbed(calls).await;
    drop(channel);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_harms_only_its_call() {
    let scene = Scene::new(|builder| builder);
    let channel = scene.channel();
    let calls = async {
        let status = unary(channel.clone(), UNARY, text("panic")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "the handler panicked"));
        let (say, mut replies) = talk(&channel).await;
        say.send(text("one")).await.unwrap();
        assert_eq!(replies.next().await.unwrap().unwrap(), text("one"));
        say.send(text("panic")).await.unwrap();
        assert_eq!(replies.next().await.unwrap().unwrap_err().code(), Code::Internal);
        assert_eq!(unary(channel.clone(), UNARY, text("after")).await.unwrap(), text("after"));
    };
    scene.undisturbed(calls).await;
    drop(channel);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_unimplemented() {
    let scene = Scene::new(|builder| builder);
    let channel = scene.channel();
    // A method of a gorums service says where it is called.
    for path in ["/test.Nobody/Unary", "/test.Test/Echo", "/stream.Gorums/Other", "/test.Echo", "/"] {
        let status = unary(channel.clone(), path, text("x")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        let told = format!(
            "no gRPC service for {path} here; methods of gorums services are called over the stream \
             /stream.Gorums/NodeStream"
        );
        assert_eq!(status.message(), told);
    }
    let status = unary(channel.clone(), "/test.Echo/Nothing", text("x")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no such method of test.Echo"));
    drop(channel);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_at_the_server() {
    let scene = Scene::new(|builder| builder);
    // Which has no clock of its own, as that of tonic.
    let mut client = scene.raw().await;
    let start = tokio::time::Instant::now();
    let begun = client.begin(UNARY, &text("hang"), Some("3S"));
    let answer = scene.undisturbed(client.answer(begun)).await;
    let status = Status::from_header_map(&answer.headers).unwrap();
    assert_eq!(
        (status.code(), status.message()),
        (Code::DeadlineExceeded, "the deadline has passed at the server")
    );
    assert_eq!((start.elapsed().as_secs(), scene.seen.running()), (3, 0));
    let begun = client.begin(UNARY, &text("x"), Some("no timeout"));
    let answer = client.answer(begun).await;
    assert_eq!(Status::from_header_map(&answer.trailers.unwrap()).unwrap().code(), Code::Ok);
    drop(client);
    scene.finish().await;
}
