//! However a call with retries ends, it ends in time, and nothing goes on.

use std::future::IntoFuture;

use gorums_core::{Backoff, Configuration, NodeErrorKind, QuorumError, QuorumErrorKind, Retry, Status};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::common::{OnConfiguration, OnNode, text};

const SLOW: Backoff = Backoff { initial: Duration::from_secs(60), max: Duration::from_secs(60) };

/// G3, and the reason is what the nodes have said.
#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_call_with_the_last_words_of_each_node() {
    let (mut cluster, nodes) = flaky(3).await;
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    for node in &nodes[1..] {
        node.fail(u32::MAX, Status::unavailable("no leader"));
    }
    let start = Instant::now();
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::up_to(100).backoff(SLOW));
    let error = call.timeout(SECOND).majority().await.unwrap_err();
    assert_eq!((error.kind(), error.replies()), (QuorumErrorKind::DeadlineExceeded, 1));
    let last: Vec<_> = error.nodes().iter().map(|error| error.status().unwrap().message()).collect();
    assert_eq!(last, ["no leader", "no leader"]);
    assert_eq!(start.elapsed().as_secs(), 1);
    let start = Instant::now();
    let node = configuration.node(2).unwrap();
    let error =
        node.rpc(&ECHO, text("x")).retry(Retry::up_to(100).backoff(SLOW)).timeout(SECOND).await.unwrap_err();
    assert_eq!(error.status().unwrap().message(), "no leader");
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(configuration.pending(), 0);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_asks_nobody_any_more() {
    let (mut cluster, nodes) = flaky(3).await;
    let configuration = cluster.configuration();
    for node in &nodes {
        node.fail(u32::MAX, Status::unavailable("no leader"));
    }
    let quick = Backoff { initial: 10 * MS, max: 10 * MS };
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::up_to(u32::MAX).backoff(quick)).all();
    assert!(tokio::time::timeout(SECOND, call).await.is_err());
    let times = asked(&nodes);
    assert!(times.iter().all(|&times| times > 20), "{times:?}");
    sleep(SECOND).await;
    assert_eq!(asked(&nodes), times);
    assert_eq!(configuration.pending(), 0);
    drop(configuration);
    cluster.finish().await;
}

/// A quorum of the others decides the call, and takes the retries with it.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_decided_asks_nobody_any_more() {
    let (mut cluster, nodes) = flaky(3).await;
    let configuration = cluster.configuration();
    nodes[2].fail(u32::MAX, Status::unavailable("no leader"));
    let quick = Backoff { initial: 10 * MS, max: 10 * MS };
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::up_to(u32::MAX).backoff(quick));
    assert!(call.majority().await.is_ok());
    sleep(SECOND).await;
    assert!(nodes[2].times_asked() <= 1);
    assert_eq!(configuration.pending(), 0);
    drop(configuration);
    cluster.finish().await;
}

/// A node that is down is tried again, and found when it has come back.
#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_in_time_makes_the_quorum() {
    let (mut cluster, nodes) = flaky(3).await;
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    cluster.stop(2).await;
    cluster.stop(3).await;
    // Long enough for the nodes to be known as down.
    sleep(SECOND).await;
    let plain = configuration.quorum_call(&ECHO, text("x")).majority().await.unwrap_err();
    let down = plain.nodes().iter().filter(|error| matches!(error.kind(), NodeErrorKind::Unavailable));
    assert_eq!(down.count(), 2, "{plain}");
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::up_to(1000)).timeout(60 * SECOND);
    let call = tokio::spawn(async move { call.majority().await });
    sleep(SECOND).await;
    cluster.start(3).await;
    assert!(call.await.unwrap().is_ok());
    assert_eq!(nodes[2].times_asked(), 1);
    drop(configuration);
    cluster.finish().await;
}

/// G3: a wait of nothing is no loop in which no deadline is seen.
#[tokio::test(start_paused = true)]
async fn a_retry_without_a_pause_ends_at_the_deadline() {
    let (mut cluster, _) = flaky(2).await;
    let configuration = cluster.configuration();
    cluster.stop(1).await;
    cluster.stop(2).await;
    assert!(configuration.wait_connected().await.is_err());
    sleep(SECOND).await;
    let at_once = Backoff { initial: Duration::ZERO, max: Duration::ZERO };
    let start = Instant::now();
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::until_deadline().backoff(at_once));
    let error = call.timeout(SECOND).all().await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (QuorumErrorKind::DeadlineExceeded, 1));
    drop(configuration);
    cluster.finish().await;
}

/// Closing the configuration ends the call at once.
async fn closing_ends(call: JoinHandle<Result<Text, QuorumError>>, configuration: Configuration) {
    let start = Instant::now();
    configuration.close().await;
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error.nodes()[0].kind(), NodeErrorKind::Closed), "{error}");
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_closed_ends_the_waits() {
    let (mut cluster, nodes) = flaky(2).await;
    let configuration = cluster.configuration();
    for node in &nodes {
        node.fail(u32::MAX, Status::unavailable("no leader"));
    }
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::until_deadline().backoff(SLOW));
    let call = tokio::spawn(call.timeout(3600 * SECOND).all().into_future());
    while asked(&nodes) != [1, 1] {
        tokio::task::yield_now().await;
    }
    sleep(MS).await;
    closing_ends(call, configuration).await;
    cluster.finish().await;
}

/// That a node is down is said at once, each time: there is no time between the attempts in which anybody could close it.
#[tokio::test(start_paused = true)]
async fn a_configuration_whose_nodes_are_down_can_be_closed_while_a_call_waits_to_ask_them() {
    let (mut cluster, _) = flaky(2).await;
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    cluster.stop(2).await;
    sleep(SECOND).await;
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::until_deadline().backoff(SLOW));
    let call = tokio::spawn(call.timeout(3600 * SECOND).all().into_future());
    // The node is dialled anew meanwhile: whoever does that learns of the end after the call.
    sleep(5 * SECOND).await;
    closing_ends(call, configuration).await;
    cluster.finish().await;
}
