//! G1 across reconnects: a request that was given up as lost never runs after a later one.
#![allow(clippy::unwrap_used)]

mod common;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::{ECHO, NOTE, OnNode, Test, number, text, within};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gorums_core::{BoxedIo, Configuration, Incoming, NodeErrorKind, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};

/// A connection of which the client's end can be closed while the server's end stays open, and gets late what the
/// client had sent.
struct HalfOpen {
    hold: oneshot::Sender<()>,
    holds: oneshot::Receiver<()>,
    close: oneshot::Sender<()>,
    deliver: oneshot::Sender<()>,
}

impl HalfOpen {
    /// From now on nothing that the client sends arrives, until the connection is to deliver it.
    async fn hold(self) -> Held {
        self.hold.send(()).unwrap();
        self.holds.await.unwrap();
        Held { close: self.close, deliver: self.deliver }
    }
}

struct Held {
    close: oneshot::Sender<()>,
    deliver: oneshot::Sender<()>,
}

struct Signals {
    hold: oneshot::Receiver<()>,
    holds: oneshot::Sender<()>,
    close: oneshot::Receiver<()>,
    deliver: oneshot::Receiver<()>,
}

async fn carry(mut client: DuplexStream, mut server: DuplexStream, mut signals: Signals) {
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = &mut signals.hold => {}
    }
    let _ = signals.holds.send(());
    let mut late = Vec::new();
    tokio::select! {
        _ = client.read_to_end(&mut late) => {}
        _ = &mut signals.close => {}
    }
    drop(client);
    let _ = signals.deliver.await;
    let _ = server.write_all(&late).await;
    let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
}

/// A client of one node, and the connections that it makes.
fn client(test: &Test) -> (Configuration, mpsc::UnboundedReceiver<HalfOpen>) {
    let (connect, connections) = mpsc::unbounded_channel();
    let (accept, mut accepted) = mpsc::unbounded_channel::<DuplexStream>();
    let incoming = futures_util::stream::poll_fn(move |cx| {
        accepted.poll_recv(cx).map(|io| io.map(|io| io::Result::Ok(Incoming::from(io))))
    });
    let connector = move |_: Arc<str>| -> BoxFuture<'static, io::Result<BoxedIo>> {
        let (client, near) = duplex(1 << 16);
        let (far, server) = duplex(1 << 16);
        let (hold, on_hold) = oneshot::channel();
        let (on_holds, holds) = oneshot::channel();
        let (close, on_close) = oneshot::channel();
        let (deliver, on_deliver) = oneshot::channel();
        let signals = Signals { hold: on_hold, holds: on_holds, close: on_close, deliver: on_deliver };
        tokio::spawn(carry(near, far, signals));
        accept.send(server).unwrap();
        connect.send(HalfOpen { hold, holds, close, deliver }).unwrap();
        async { Ok(Box::new(client) as BoxedIo) }.boxed()
    };
    tokio::spawn(Server::builder().add_service(test.clone()).serve_with_incoming(incoming));
    let configuration =
        Configuration::builder().nodes(["node:1"]).connector(connector).connect_lazy().unwrap();
    (configuration, connections)
}

#[tokio::test]
async fn a_lost_request_that_arrives_late_never_runs() {
    let test = Test::new(1);
    let (configuration, mut connections) = client(&test);
    let node = configuration.node(1).unwrap();
    node.rpc(&ECHO, number(1)).await.unwrap();
    let first = connections.recv().await.unwrap().hold().await;
    let (lost, one_way) = (node.rpc(&ECHO, number(2)).send(), node.unicast(&NOTE, number(3)));
    one_way.await.unwrap();
    first.close.send(()).unwrap();
    let error = within("the lost call", lost).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
    within("a call over the new connection", node.rpc(&ECHO, number(4)).wait_for_ready(true)).await.unwrap();
    first.deliver.send(()).unwrap();
    for _ in 0..100 {
        node.rpc(&ECHO, number(5)).await.unwrap();
    }
    assert_eq!(
        test.seen.numbers.lock().unwrap()[..3],
        [1, 4, 5],
        "what was lost has run after what followed"
    );
    configuration.close().await;
}

/// The handlers of the old stream keep their turns: what comes over the new one starts when they have returned.
#[tokio::test(start_paused = true)]
async fn a_handler_of_the_old_stream_is_waited_for() {
    let test = Test::new(1);
    let (configuration, mut connections) = client(&test);
    let node = configuration.node(1).unwrap();
    let slow = node.rpc(&ECHO, text("sleep:3000")).send();
    let first = connections.recv().await.unwrap();
    while test.seen.texts.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = first.hold().await;
    first.close.send(()).unwrap();
    slow.await.unwrap_err();
    let start = tokio::time::Instant::now();
    node.rpc(&ECHO, text("next")).wait_for_ready(true).await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(2), "started beside a handler that has the turn");
    assert_eq!(test.seen.overlaps.load(std::sync::atomic::Ordering::SeqCst), 0);
    configuration.close().await;
}
