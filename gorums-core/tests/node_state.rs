//! What can be watched of a node's connection, and what a cluster of a test finds left behind.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{ECHO, OnConfiguration, OnNode, Transport, faulty, text, within};
use futures_util::StreamExt;
use gorums_core::testing::{Cluster, Traffic};
use gorums_core::{NodeState, Server};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn whoever_watches_hears_that_a_node_is_unreachable_and_that_it_is_back() {
    let (mut cluster, _) = faulty(Transport::Memory, 2).await;
    let configuration = cluster.configuration();
    let node = configuration.node(2).unwrap();
    let mut states = node.states();
    let mut next = async || within("state", states.next()).await;
    assert_eq!(next().await, Some(NodeState::Idle));
    configuration.wait_connected().await.unwrap();
    assert_eq!(next().await, Some(NodeState::Connected));
    cluster.kill(2).await;
    assert_eq!(next().await, Some(NodeState::Unreachable));
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(node.state(), NodeState::Unreachable);
    let why = node.unreachable_because().unwrap().to_string();
    assert!(why.contains("node2:1"), "{why}");
    cluster.start(2).await;
    assert_eq!(next().await, Some(NodeState::Connected), "once for the outage, however many dials failed");
    assert!(node.unreachable_because().is_none());
    cluster.finish().await;
    assert_eq!(next().await, Some(NodeState::Closed));
    assert_eq!(next().await, None);
}

async fn one_node() -> Cluster {
    let test = common::Test::new(1);
    Cluster::in_memory(1, move |_| Server::builder().add_service(test.clone())).await
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "1 calls in flight")]
async fn a_call_in_flight_is_found() {
    let mut cluster = one_node().await;
    let configuration = cluster.configuration();
    let call = configuration.quorum_call(&ECHO, text("hang")).send();
    cluster.finish().await;
    drop(call);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "1 handlers of node 1")]
async fn a_handler_that_does_not_end_is_found() {
    let mut cluster = one_node().await;
    let configuration = cluster.configuration();
    let call = configuration.quorum_call(&ECHO, text("sleep:60000")).timeout(SECOND).all();
    call.await.unwrap_err();
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "1 tasks of the runtime")]
async fn a_task_that_does_not_end_is_found() {
    let cluster = one_node().await;
    tokio::spawn(std::future::pending::<()>());
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn faults_leave_nothing_behind() {
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configure(|builder| builder.timeout(SECOND)).unwrap();
    configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
    cluster.faults(1).set_both(Traffic::Hold);
    cluster.faults(2).set_both(Traffic::StopReading);
    configuration.quorum_call(&ECHO, text("x")).all().await.unwrap_err();
    cluster.restart(3).await;
    let node = configuration.node(3).unwrap();
    node.rpc(&ECHO, text("x")).wait_for_ready(true).await.unwrap();
    drop(configuration);
    cluster.finish().await;
}
