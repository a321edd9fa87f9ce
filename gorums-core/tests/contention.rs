//! Quorum calls one after the other, as fast as they go: none is incomplete, none out of order.
//!
//! After `TestSystemLocalDispatchContention` of Go Gorums, where such calls now and then ended incomplete.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Cluster, ECHO, number};
use gorums_core::{Configuration, QuorumTarget, Server};

/// The issue that this guards against showed up after thousands of calls.
const CALLS: u64 = 100_000;

async fn alternate(local_node: bool, terminals: [fn(gorums_core::QuorumCall<common::Text, common::Text>) -> Future; 2]) {
    let cluster = Cluster::start(if local_node { 2 } else { 3 }).await;
    let addresses = cluster.addresses.iter().map(ToString::to_string);
    let mut builder = Configuration::builder().nodes(addresses);
    let local = common::Test::new(3);
    if local_node {
        builder = builder.local_node(3, Server::builder().add_service(local.clone()));
    }
    let configuration = builder.connect_lazy().unwrap();
    for call in 0..CALLS {
        let terminal = terminals[call as usize % 2];
        let result = terminal(configuration.quorum_call(&ECHO, number(call))).await;
        assert!(result.is_ok(), "call {call}: {}", result.unwrap_err());
    }
    configuration.quorum_call(&ECHO, number(CALLS)).all().await.unwrap();
    let in_order: Vec<_> = (0..=CALLS).collect();
    for index in 0..cluster.nodes.len() {
        assert!(cluster.seen(index) == in_order, "node {} saw calls out of order or not at all", index + 1);
    }
    if local_node {
        assert!(*local.seen.numbers.lock().unwrap() == in_order, "the local node saw calls out of order");
    }
    assert_eq!(configuration.pending(), 0);
    assert!(configuration.iter().all(|node| node.pending() == 0));
    configuration.close().await;
}

type Future = gorums_core::QuorumFuture<common::Text, common::Text>;

fn majority_all() -> [fn(gorums_core::QuorumCall<common::Text, common::Text>) -> Future; 2] {
    [gorums_core::QuorumCall::majority, gorums_core::QuorumCall::all]
}

fn first_all() -> [fn(gorums_core::QuorumCall<common::Text, common::Text>) -> Future; 2] {
    [gorums_core::QuorumCall::first, gorums_core::QuorumCall::all]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn majority_and_all_on_two_threads() {
    alternate(false, majority_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_and_all_on_two_threads() {
    alternate(false, first_all()).await;
}

#[tokio::test]
async fn majority_and_all_on_one_thread() {
    alternate(false, majority_all()).await;
}

#[tokio::test]
async fn first_and_all_on_one_thread() {
    alternate(false, first_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_local_node_on_two_threads() {
    alternate(true, majority_all()).await;
}

#[tokio::test]
async fn with_a_local_node_on_one_thread() {
    alternate(true, first_all()).await;
}
