//! Quorum calls one after the other on nodes of which one is in this process.

use std::time::Duration;

use gorums_core::testing::Cluster;
use gorums_core::{Configuration, QuorumCall, QuorumFuture};
use tokio::time::Instant;

use crate::common::talk::{ASK, Line, Talks, line, server, talking};
use crate::common::{OnConfiguration, Transport, eventually, on_each_transport, within};

on_each_transport!(
    majority_then_all,
    first_then_all,
    majority_then_all_with_a_local_node,
    first_then_all_with_a_local_node,
    a_slow_local_node_does_not_hold_up_the_next_call,
    a_slow_node_does_not_hold_up_the_next_call,
);

/// The deadline that the originals give each call.
const LIMIT: Duration = Duration::from_secs(2);

type Call = QuorumCall<Line, Line>;
type Terminal = fn(Call) -> QuorumFuture<Line, Line>;

/// Three nodes, of which the last may be in this process.
async fn three_nodes(transport: Transport, local: bool) -> (Cluster, Configuration, Vec<Talks>) {
    let (mut cluster, mut nodes) = talking(transport, if local { 2 } else { 3 }).await;
    if local {
        nodes.push(Talks::default());
    }
    let here = nodes[2].clone();
    let with_local = |builder: gorums_core::ConfigurationBuilder| {
        if local { builder.local_node(3, server(here)) } else { builder }
    };
    let configuration = cluster.configure(|builder| with_local(builder).timeout(LIMIT)).unwrap();
    (cluster, configuration, nodes)
}

/// G1, G3: a call that starts the moment the one before it has its quorum succeeds, 500 times over, and every node
/// handles all of them in order, also those that were decided without it.
///
/// After `TestSystemLocalDispatchContention`, `SequentialMajorityThenAll` and `GOMAXPROCS1`, which do not look at the
/// replies. Many more calls are in `contention.rs`.
async fn alternate(transport: Transport, local: bool, terminal: Terminal) {
    let (cluster, configuration, nodes) = three_nodes(transport, local).await;
    for pair in 0..500 {
        for (number, terminal) in [(2 * pair, terminal), (2 * pair + 1, Call::all)] {
            let asked = line(pair, number);
            let reply = within("a call", terminal(configuration.quorum_call(&ASK, asked.clone()))).await;
            assert_eq!(reply.unwrap_or_else(|error| panic!("call {number}: {error}")), asked);
        }
    }
    for (index, node) in nodes.iter().enumerate() {
        assert!(
            node.asked() == (0..1_000).collect::<Vec<_>>(),
            "node {}: not all, or out of order",
            index + 1
        );
    }
    assert_eq!(configuration.pending(), 0);
    assert!(configuration.iter().all(|node| node.pending() == 0 && node.stats().queue.queued == 0));
    cluster.finish().await;
}

async fn majority_then_all(transport: Transport) {
    alternate(transport, false, Call::majority).await;
}

async fn first_then_all(transport: Transport) {
    alternate(transport, false, Call::first).await;
}

async fn majority_then_all_with_a_local_node(transport: Transport) {
    alternate(transport, true, Call::majority).await;
}

async fn first_then_all_with_a_local_node(transport: Transport) {
    alternate(transport, true, Call::first).await;
}

/// G1, G2: while one node is still busy with a call, the others answer the next one; and when it goes on, it answers
/// that too.
///
/// After `TestSystemLocalDispatchContentionSlowReplica`, which opens the gate after a while and does not look at who
/// has answered until then.
async fn delayed(transport: Transport, local: bool) {
    let (cluster, configuration, nodes) = three_nodes(transport, local).await;
    configuration.quorum_call(&ASK, line(0, 0)).all().await.unwrap();
    nodes[2].set_gate(false);
    let start = Instant::now();
    assert_eq!(configuration.quorum_call(&ASK, line(1, 1)).first().await.unwrap(), line(1, 1));
    eventually("the slow node is busy", || nodes[2].asked() == [0, 1]).await;
    let mut replies = configuration.quorum_call(&ASK, line(2, 2)).send();
    let mut answered = Vec::new();
    for _ in 0..2 {
        let reply = within("a reply of a quick node", replies.next()).await.unwrap();
        assert_eq!(reply.result.unwrap(), line(2, 2));
        answered.push(reply.node.get());
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 2]);
    let all = tokio::spawn(configuration.quorum_call(&ASK, line(3, 3)).all());
    eventually("the quick nodes have it", || nodes[..2].iter().all(|node| node.asked() == [0, 1, 2, 3]))
        .await;
    assert!(!all.is_finished(), "one node cannot have answered");
    assert_eq!(nodes[2].asked(), [0, 1], "the turn of the slow node has not passed");
    assert_eq!(configuration.nodes()[2].pending(), 2);
    nodes[2].set_gate(true);
    let last = within("the reply of the slow node", replies.next()).await.unwrap();
    assert_eq!((last.node.get(), last.result.unwrap()), (3, line(2, 2)));
    assert!(within("the end of the replies", replies.next()).await.is_none());
    assert_eq!(within("the call to all", all).await.unwrap().unwrap(), line(3, 3));
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    assert_eq!(nodes[2].asked(), [0, 1, 2, 3]);
    assert_eq!(configuration.pending(), 0);
    cluster.finish().await;
}

async fn a_slow_local_node_does_not_hold_up_the_next_call(transport: Transport) {
    delayed(transport, true).await;
}

async fn a_slow_node_does_not_hold_up_the_next_call(transport: Transport) {
    delayed(transport, false).await;
}
