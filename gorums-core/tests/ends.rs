//! G4: however a call ends, nothing of it is left: not in the table of calls, not in a queue.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::IntoFuture;
use std::time::Duration;

use common::{Cluster, ECHO, NOTE, OnConfiguration, OnNode, eventually, text, within};
use futures_util::FutureExt;
use gorums_core::{
    Backoff, CallOptions, Configuration, NodeErrorKind, Overflow, QueueLimits, QuorumErrorKind,
};

const SHORT: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// Two live nodes, and a third one where nobody listens.
async fn with_one_down() -> (Cluster, Configuration) {
    let cluster = Cluster::start(2).await;
    let nobody = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let addresses = cluster.addresses.iter().map(ToString::to_string).chain([nobody]);
    let often = Backoff { initial: Duration::from_millis(5), max: Duration::from_millis(5) };
    let configuration = Configuration::builder().nodes(addresses).backoff(often).connect_lazy().unwrap();
    (cluster, configuration)
}

async fn nothing_is_left(configuration: &Configuration) {
    assert_eq!(configuration.pending(), 0);
    for node in configuration {
        assert_eq!(node.pending(), 0, "{node}");
    }
    let queued = || configuration.iter().map(|node| node.stats().queue.queued).sum::<u64>();
    eventually("queues are empty", || queued() == 0).await;
    for node in configuration {
        let counts = node.stats().queue;
        assert_eq!(counts.offered, counts.sent + counts.dropped + counts.failed + counts.queued, "{node}");
    }
}

#[tokio::test]
async fn after_success() {
    let (_cluster, configuration) = with_one_down().await;
    let call = configuration.quorum_call(&ECHO, text("x")).wait_for_ready(true).timeout(SHORT);
    call.majority().await.unwrap();
    assert_eq!(configuration.pending(), 0);
    // The request to the third node waits for it, but no longer than its deadline.
    assert_eq!(configuration.nodes()[2].stats().queue.queued, 1);
    nothing_is_left(&configuration).await;
}

#[tokio::test]
async fn after_a_deadline() {
    let (_cluster, configuration) = with_one_down().await;
    let call = configuration.quorum_call(&ECHO, text("x")).wait_for_ready(true).timeout(SHORT);
    let error = call.all().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded);
    assert!(!error.nodes()[0].is_ambiguous(), "it was never sent");
    assert_eq!(configuration.nodes()[2].stats().queue.queued, 0);
    nothing_is_left(&configuration).await;
}

#[tokio::test]
async fn after_a_drop_in_mid_call() {
    let (_cluster, configuration) = with_one_down().await;
    let replies = configuration.quorum_call(&ECHO, text("hang")).wait_for_ready(true).send();
    assert_eq!(configuration.nodes()[2].stats().queue.queued, 1);
    drop(replies);
    assert_eq!(configuration.nodes()[2].stats().queue.queued, 0);
    nothing_is_left(&configuration).await;
}

#[tokio::test]
async fn after_an_impossible_quorum() {
    let (_cluster, configuration) = with_one_down().await;
    let error = within("all", configuration.quorum_call(&ECHO, text("x")).all()).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
    nothing_is_left(&configuration).await;
}

#[tokio::test]
async fn after_a_full_queue() {
    let (_cluster, configuration) = with_one_down().await;
    let down = configuration.take(3).without([1, 2]);
    let limits = QueueLimits { messages: 256, bytes: 1 << 20 };
    for _ in 0..limits.messages {
        down.multicast(&NOTE, text("x")).wait_for_ready(true).timeout(SHORT).send().unwrap();
    }
    let note = || down.multicast(&NOTE, text("x")).wait_for_ready(true).timeout(SHORT);
    let error = note().send().unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::SendFailure);
    assert!(matches!(error.nodes()[0].kind(), NodeErrorKind::QueueFull));
    note().overflow(Overflow::DropNewest).send().unwrap();
    note().overflow(Overflow::DropOldest).send().unwrap();
    assert_eq!(down.nodes()[0].stats().queue.dropped, 2);
    // Waits for room, which the passed deadlines of the others make.
    let waited = within("room", note().overflow(Overflow::Wait).timeout(SHORT)).await.unwrap_err();
    assert_eq!(waited.kind(), QuorumErrorKind::DeadlineExceeded, "{waited}");
    nothing_is_left(&configuration).await;
}

/// A message that is only to be queued waits for room, and neither for the hand-over nor beyond its deadline.
#[tokio::test]
async fn queued_messages_wait_for_room_only() {
    let (_cluster, configuration) = with_one_down().await;
    let down = configuration.take(3).without([1, 2]);
    let note = || down.multicast(&NOTE, text("x")).wait_for_ready(true).overflow(Overflow::Wait);
    for _ in 0..QueueLimits::default().messages {
        note().timeout(2 * SHORT).queued().now_or_never().expect("there is room").unwrap();
    }
    assert!(note().timeout(SHORT).queued().now_or_never().is_none(), "there is no room");
    let late = within("the deadline", note().timeout(SHORT / 2).queued()).await.unwrap_err();
    assert_eq!(late.kind(), QuorumErrorKind::SendFailure);
    assert!(matches!(late.nodes()[0].kind(), NodeErrorKind::DeadlineExceeded), "{late}");
    let full = note().overflow(Overflow::Fail).queued().await.unwrap_err();
    assert!(matches!(full.nodes()[0].kind(), NodeErrorKind::QueueFull), "{full}");
    // The passed deadlines of the others make room.
    within("room", note().timeout(10 * SHORT).queued()).await.unwrap();
    let one = || down.nodes()[0].unicast(&NOTE, text("x")).wait_for_ready(true).timeout(SHORT);
    one().queued().await.unwrap();
    nothing_is_left(&configuration).await;
}

/// Fills the queue of the third node, which is down.
fn full(configuration: &Configuration, timeout: Duration) -> Configuration {
    let down = configuration.take(3).without([1, 2]);
    for _ in 0..QueueLimits::default().messages {
        down.multicast(&NOTE, text("x")).wait_for_ready(true).timeout(timeout).send().unwrap();
    }
    down
}

/// G5 and G6: enough nodes have the message, and it is known what has become of it at the one that had no room.
#[tokio::test]
async fn what_waits_for_room_when_a_quorum_is_reached_is_dropped_and_counted() {
    let (cluster, configuration) = with_one_down().await;
    let down = full(&configuration, 60 * SECOND);
    let before = down.nodes()[0].stats().queue;
    let call = configuration.majority().multicast(&NOTE, common::number(7));
    let call = call.wait_for_ready(true).overflow(Overflow::Wait).timeout(60 * SECOND);
    within("the others", call).await.unwrap();
    eventually("the others have it", || (0..2).all(|node| cluster.seen(node) == [7])).await;
    let counts = down.nodes()[0].stats().queue;
    assert_eq!((counts.offered, counts.dropped), (before.offered + 1, 1), "{counts:?}");
    assert_eq!((counts.failed, counts.queued), (before.failed, before.queued), "{counts:?}");
    within("close", configuration.abort()).await;
}

/// G6: a message counts once, as what has become of it in the end.
#[tokio::test]
async fn a_message_that_waits_for_room_is_counted_once() {
    let (_cluster, configuration) = with_one_down().await;
    let down = full(&configuration, 2 * SECOND);
    let counts = || {
        let counts = down.nodes()[0].stats().queue;
        (counts.offered, counts.failed + counts.queued)
    };
    let full = QueueLimits::default().messages as u64;
    let note = || down.multicast(&NOTE, text("x")).wait_for_ready(true).overflow(Overflow::Wait);
    let unicast = || down.nodes()[0].unicast(&NOTE, text("x")).wait_for_ready(true).overflow(Overflow::Wait);
    let (mut queued, mut awaited) = (Box::pin(note().queued()), note().into_future());
    assert!(queued.as_mut().now_or_never().is_none() && awaited.as_mut().now_or_never().is_none());
    assert_eq!(counts(), (full, full));
    assert!(!matches!(down.nodes()[0].last_error(), Some(NodeErrorKind::QueueFull)));
    drop(awaited);
    assert_eq!(counts(), (full + 1, full + 1), "given up");
    assert!(unicast().queued().now_or_never().is_none());
    assert!(unicast().send().is_err(), "which cannot wait");
    assert_eq!(counts(), (full + 3, full + 3));
    // The passed deadlines of the others make room.
    within("room", queued).await.unwrap();
    assert_eq!(counts(), (full + 4, full + 4));
    within("close", configuration.abort()).await;
}

/// The policy for a full queue is that of one-way calls, also where it was given to the configuration.
#[tokio::test]
async fn a_call_with_replies_fails_where_the_queue_is_full() {
    let (_cluster, configuration) = with_one_down().await;
    let down = full(&configuration, 60 * SECOND);
    for overflow in [Overflow::Fail, Overflow::Wait, Overflow::DropNewest, Overflow::DropOldest] {
        let down = down.with_options(CallOptions::new().overflow(overflow).wait_for_ready(true));
        let error = within("fails", down.quorum_call(&ECHO, text("x")).all()).await.unwrap_err();
        assert!(matches!(error.nodes()[0].kind(), NodeErrorKind::QueueFull), "{overflow:?}: {error}");
    }
    assert_eq!(down.nodes()[0].stats().queue.dropped, 0);
    within("close", configuration.abort()).await;
}

#[tokio::test]
async fn after_closing() {
    let (_cluster, configuration) = with_one_down().await;
    let hanging = configuration.quorum_call(&ECHO, text("hang")).wait_for_ready(true).send();
    within("close", configuration.close()).await;
    let error = within("closed", hanging.all()).await.unwrap_err();
    assert!(error.nodes().iter().any(|error| matches!(error.kind(), NodeErrorKind::Closed)), "{error}");
    nothing_is_left(&configuration).await;
    let error = configuration.quorum_call(&ECHO, text("x")).first().await.unwrap_err();
    assert_eq!(error.nodes().len(), 3);
}

#[tokio::test]
async fn what_was_sent_before_the_last_handle_is_dropped_still_arrives() {
    let cluster = Cluster::start(1).await;
    let configuration = cluster.configuration();
    for number in 1..=100 {
        configuration.multicast(&NOTE, common::number(number)).send().unwrap();
    }
    drop(configuration);
    eventually("all arrive", || cluster.seen(0).len() == 100).await;
}
