//! Links that are slow, nodes that are down, and what is done while the caller goes.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{ECHO, OnConfiguration, OnNode, Transport, faulty, text};
use futures_util::future::BoxFuture;
use gorums_core::testing::{Direction, Traffic};
use gorums_core::{BoxedIo, Configuration, NodeErrorKind};
use tokio::time::{Instant, sleep};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// G7: a peer is not dead while anything comes from it, though the answer to a ping be stuck behind a long message.
#[tokio::test(start_paused = true)]
async fn a_long_message_over_a_slow_link_is_no_death() {
    let (mut cluster, _) = faulty(Transport::Memory, 1).await;
    let configuration = cluster.configure(|builder| builder.timeout(60 * SECOND)).unwrap();
    let node = configuration.node(1).unwrap();
    node.rpc(&ECHO, text("warm up")).await.unwrap();
    let long = "x".repeat(3_000_000);
    for slow in [Direction::ToClient, Direction::ToServer] {
        cluster.faults(1).set_both(Traffic::Forward);
        cluster.faults(1).set(slow, Traffic::Limit(100_000));
        let start = Instant::now();
        assert_eq!(node.rpc(&ECHO, text(&long)).await.unwrap().text.len(), long.len());
        assert!(start.elapsed() > 25 * SECOND, "{:?}: not slow enough to prove anything", start.elapsed());
        assert_eq!(node.stats().connections, 1);
    }
    cluster.finish().await;
}

/// G8: what a handler detaches outlives the caller and the handler, and not its limit.
#[tokio::test(start_paused = true)]
async fn detached_work_goes_on_within_its_limit() {
    let (mut cluster, nodes) = faulty(Transport::Memory, 1).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap();
    for (command, done) in [("detach:2000", true), ("detach:4000", false)] {
        node.rpc(&ECHO, text(command)).timeout(SECOND).await.unwrap();
        assert_eq!(cluster.server(1).unwrap().stats().detached, 1);
        sleep(3500 * MS).await;
        assert_eq!(cluster.server(1).unwrap().stats().detached, 0);
        assert_eq!(nodes[0].seen.detached.swap(false, Ordering::SeqCst), done, "{command}");
    }
    cluster.finish().await;
}

/// A node that is down is dialled with a back-off, however many requests there are for it.
#[tokio::test(start_paused = true)]
async fn requests_do_not_dial() {
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = dials.clone();
    let connector = move |_: Arc<str>| -> BoxFuture<'static, std::io::Result<BoxedIo>> {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) })
    };
    let configuration =
        Configuration::builder().nodes(["node:1"]).connector(connector).connect_lazy().unwrap();
    let node = configuration.node(1).unwrap();
    let start = Instant::now();
    while start.elapsed() < 60 * SECOND {
        let error = node.rpc(&ECHO, text("x")).timeout(SECOND).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
        sleep(MS).await;
    }
    // 100 ms doubled to 5 s, half of that on average: 6 dials in the first 3 s, then one in 2.5 s.
    let dials = dials.load(Ordering::Relaxed);
    assert!((12..80).contains(&dials), "{dials} dials in a minute");
    configuration.close().await;
}

/// I7: nothing is waited for, and every call ends.
#[tokio::test(start_paused = true)]
async fn an_abort_ends_calls_at_once() {
    let (mut cluster, _) = faulty(Transport::Memory, 2).await;
    let configuration = cluster.configure(|builder| builder.drain_timeout(60 * SECOND)).unwrap();
    configuration.quorum_call(&ECHO, text("warm up")).all().await.unwrap();
    let start = Instant::now();
    let call = tokio::spawn(configuration.quorum_call(&ECHO, text("sleep:3000")).all().into_future());
    let closing = tokio::spawn({
        let configuration = configuration.clone();
        async move { configuration.close().await }
    });
    sleep(SECOND).await;
    assert!(!closing.is_finished(), "closing does not wait for the call");
    configuration.abort().await;
    closing.await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert!(error.nodes().iter().all(|error| matches!(error.kind(), NodeErrorKind::Closed)), "{error}");
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    cluster.finish().await;
}
