//! Quorum calls one after the other, as fast as they go: none is incomplete, none out of order.
//!
//! After `TestSystemLocalDispatchContention` of Go Gorums, where such calls now and then ended incomplete. This is the
//! long form, straight over TCP; the one of the original's length, on each transport, is in `from_gorums`.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Cluster, ECHO, OnConfiguration, Test, Text, number};
use gorums_core::{Configuration, Server};

/// How many calls of each pattern: `GORUMS_CALLS`, or a few seconds' worth.
fn calls() -> u64 {
    std::env::var("GORUMS_CALLS").map_or(20_000, |calls| calls.parse().expect("GORUMS_CALLS is a number"))
}

type Call = gorums_core::QuorumCall<Text, Text>;
type Terminal = fn(Call) -> gorums_core::QuorumFuture<Text, Text>;

const MAJORITY_AND_ALL: [Terminal; 2] = [Call::majority, Call::all];
const FIRST_AND_ALL: [Terminal; 2] = [Call::first, Call::all];

async fn alternate(local_node: bool, terminals: [Terminal; 2]) {
    let cluster = Cluster::start(if local_node { 2 } else { 3 }).await;
    let addresses = cluster.addresses.iter().map(ToString::to_string);
    let mut builder = Configuration::builder().nodes(addresses);
    let local = Test::new(3);
    if local_node {
        builder = builder.local_node(3, Server::builder().add_service(local.clone()));
    }
    let configuration = builder.connect_lazy().unwrap();
    let calls = calls();
    for call in 0..calls {
        let terminal = terminals[call as usize % 2];
        let result = terminal(configuration.quorum_call(&ECHO, number(call))).await;
        assert!(result.is_ok(), "call {call}: {}", result.unwrap_err());
    }
    configuration.quorum_call(&ECHO, number(calls)).all().await.unwrap();
    let in_order: Vec<_> = (0..=calls).collect();
    for index in 0..cluster.nodes.len() {
        assert!(cluster.seen(index) == in_order, "node {} saw calls out of order or not at all", index + 1);
    }
    if local_node {
        assert!(*local.seen.numbers.lock().unwrap() == in_order, "the local node saw calls out of order");
    }
    assert_eq!(configuration.pending(), 0);
    assert!(configuration.iter().all(|node| node.pending() == 0 && node.stats().queue.queued == 0));
    configuration.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn majority_and_all_on_two_threads() {
    alternate(false, MAJORITY_AND_ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_and_all_on_two_threads() {
    alternate(false, FIRST_AND_ALL).await;
}

#[tokio::test]
async fn majority_and_all_on_one_thread() {
    alternate(false, MAJORITY_AND_ALL).await;
}

#[tokio::test]
async fn first_and_all_on_one_thread() {
    alternate(false, FIRST_AND_ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_local_node_on_two_threads() {
    alternate(true, MAJORITY_AND_ALL).await;
}

#[tokio::test]
async fn with_a_local_node_on_one_thread() {
    alternate(true, FIRST_AND_ALL).await;
}
