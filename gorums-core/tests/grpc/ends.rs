//! However a call of a gRPC service ends, its handler does, and nothing is left.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gorums_core::testing::{Direction, Traffic};
use gorums_core::{Code, ServerStats};
use tokio::time::sleep;
use tonic::{IntoStreamingRequest, Request};

use crate::common::{Text, text};
use crate::echo::{Seen, chat, count, talk, unary};
use crate::scene::Scene;

const UNARY: &str = "/test.Echo/Unary";
const CHAT: &str = "/test.Echo/Chat";
const COUNT: &str = "/test.Echo/Count";

/// Says these texts, and then nothing for ever.
fn open(texts: &'static [&'static str]) -> impl IntoStreamingRequest<Message = Text> {
    Request::new(stream::iter(texts.iter().map(|said| text(said))).chain(stream::pending()))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up() {
    let scene = Scene::new(|builder| builder);
    let mut client = scene.raw().await;
    let nobody = |stats: ServerStats, seen: &Seen| stats.grpc_calls == 0 && seen.running() == 0;
    let giving_up = async {
        for (path, said) in [
            (UNARY, text("hang")),
            (CHAT, text("hang")),
            (COUNT, Text { text: "x".repeat(1 << 20), number: 1_000 }),
        ] {
            let (response, mut sink) = client.open(path, &said, None);
            if path != CHAT {
                sink.send_data(Bytes::new(), true).unwrap();
            }
            client.drive(scene.eventually("its begin", |_, seen| seen.running() == 1)).await;
            client.drive(sleep(Duration::from_millis(50))).await;
            assert_eq!((scene.seen.running(), scene.server.stats().grpc_calls), (1, 1), "{path}");
            drop((response, sink));
            client.drive(scene.eventually("its end", nobody)).await;
        }
    };
    scene.undisturbed(giving_up).await;
    assert_eq!(scene.server.stats().connections, 2, "the connection stays");
    drop(client);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn calls_on_a_connection_that_breaks() {
    let scene = Scene::new(|builder| builder);
    let channel = scene.channel();
    let mut open = chat(channel.clone(), CHAT, open(&["one", "hang"])).await.unwrap();
    assert_eq!(open.next().await.unwrap().unwrap(), text("one"));
    let hangs = tokio::spawn(unary(channel.clone(), UNARY, text("hang")));
    scene.eventually("two calls", |stats, seen| stats.grpc_calls == 2 && seen.running() == 2).await;
    scene.faults.reset();
    scene.eventually("the end", |stats, seen| stats.grpc_calls == 0 && seen.running() == 0).await;
    hangs.await.unwrap().unwrap_err();
    drop((open, channel));
    scene.finish().await;
}

/// A task that a handler has given the body to learns that the call has ended: as an error, and not as the end of what
/// the client had to say.
#[tokio::test(start_paused = true)]
async fn the_body_ends_with_the_call() {
    let scene = Scene::new(|builder| builder);
    let mut client = scene.raw().await;
    let cut = |_: ServerStats, seen: &Seen| *seen.detached.lock().unwrap() == Some(Code::Aborted);
    // The deadline passes, while the client could still say something; then it gives a call up.
    let late = client.open(CHAT, &text("detach"), Some("2S"));
    client.drive(sleep(Duration::from_millis(1_900))).await;
    assert_eq!(scene.seen.running(), 1);
    client.drive(sleep(Duration::from_millis(200))).await;
    scene.eventually("the body of the first", cut).await;
    *scene.seen.detached.lock().unwrap() = None;
    let given_up = client.open(CHAT, &text("detach"), None);
    client.drive(scene.eventually("the second", |_, seen| seen.running() == 1)).await;
    drop(given_up);
    client.drive(scene.eventually("the body of the second", cut)).await;
    drop((late, client));
    scene.finish().await;
}

/// A call that does not end by itself has the drain timeout, and no longer.
#[tokio::test(start_paused = true)]
async fn shutdown_with_calls_that_hang() {
    let drain = Duration::from_secs(3);
    let scene = Scene::new(|builder| builder.drain_timeout(drain));
    let channel = scene.channel();
    let mut open = chat(channel.clone(), CHAT, open(&["one", "hang"])).await.unwrap();
    assert_eq!(open.next().await.unwrap().unwrap(), text("one"));
    let unread = count(channel.clone(), Text { text: "x".repeat(1 << 20), number: 1_000 }).await.unwrap();
    let hangs = tokio::spawn(unary(channel.clone(), UNARY, text("hang")));
    scene.eventually("three calls", |stats, _| stats.grpc_calls == 3).await;
    scene.call().await;
    let took = scene.finish_with(async move {
        hangs.await.unwrap().unwrap_err();
        drop((open, unread, channel));
    });
    let took = took.await;
    assert!(took >= drain && took < drain + Duration::from_millis(100), "{took:?}");
}

/// A call that is in progress is answered, although the server has been told to stop.
#[tokio::test(start_paused = true)]
async fn shutdown_lets_calls_finish() {
    let scene = Scene::new(|builder| builder);
    let channel = scene.channel();
    let (say, mut replies) = talk(&channel).await;
    let finishes = async {
        sleep(Duration::from_millis(500)).await;
        for number in 0..3 {
            say.send(Text { text: "late".into(), number }).await.unwrap();
            assert_eq!(replies.next().await.unwrap().unwrap().number, number);
        }
        drop(say);
        assert!(replies.next().await.is_none());
        drop((replies, channel));
    };
    let took = scene.finish_with(finishes).await;
    assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(600), "{took:?}");
}

/// A connection without calls is told to go, and a call that comes at this moment is answered.
#[tokio::test(start_paused = true)]
async fn a_connection_without_calls() {
    let idle = Duration::from_secs(5);
    let scene = Scene::new(|builder| builder.handshake_timeout(idle));
    let mut client = scene.raw().await;
    let begun = client.begin(UNARY, &text("x"), None);
    client.answer(begun).await;
    sleep(Duration::from_millis(4_900)).await;
    assert_eq!(scene.server.stats().connections, 1);
    // It has been told when it makes the next call, and does not know it yet.
    scene.faults.set(Direction::ToClient, Traffic::Delay(Duration::from_millis(50)));
    client.drive(sleep(Duration::from_millis(110))).await;
    let begun = client.begin(UNARY, &text("y"), None);
    let answer = scene.undisturbed(client.answer(begun)).await;
    scene.faults.set(Direction::ToClient, Traffic::Forward);
    assert_eq!(answer.trailers.unwrap().get("grpc-status").unwrap(), "0");
    client.closed().await;
    scene.eventually("its end", |stats, _| stats.connections == 1).await;
    // Who does not listen is closed all the same.
    let silent = scene.raw().await;
    scene.undisturbed(sleep(2 * idle + Duration::from_millis(100))).await;
    assert_eq!(scene.server.stats().connections, 1);
    drop((client, silent));
    // A client that does makes another one without a word.
    let channel = scene.channel();
    for _ in 0..3 {
        unary(channel.clone(), UNARY, text("x")).await.unwrap();
        scene.undisturbed(sleep(idle + Duration::from_millis(100))).await;
        assert_eq!(scene.server.stats().connections, 1);
    }
    drop(channel);
    scene.finish().await;
}
