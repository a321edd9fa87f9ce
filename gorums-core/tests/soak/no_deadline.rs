//! Calls without a deadline of their own, to nodes that never reply.

use std::time::Duration;

use gorums_core::testing::Cluster;
use gorums_core::{Code, NodeError, NodeErrorKind, NodeId, QuorumErrorKind, Server};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::common::OnConfiguration;
use crate::tools::*;

const RATE: u32 = 200;
/// The default of a configuration.
const DEADLINE: Duration = Duration::from_secs(5);

/// G3 and G4, with the clock paused: the handlers keep the turn, so that requests pile up behind the first.
#[tokio::test(start_paused = true)]
async fn calls_without_a_deadline_end_behind_a_handler_that_hangs() {
    never_answered(HANG, cluster_in_memory().await, "the first handler hangs, simulated").await;
}

/// The same with handlers that pass their turn on: all of them run at once.
#[tokio::test(start_paused = true)]
async fn calls_without_a_deadline_end_whose_handlers_hang() {
    never_answered(RELEASE_AND_HANG, cluster_in_memory().await, "all handlers hang, simulated").await;
}

/// The same over TCP, with the real clock: only in the long run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_a_deadline_end_over_tcp() {
    let _alone = alone().await;
    if is_soak() {
        never_answered(HANG, over_tcp(3).await.0, "the first handler hangs, over TCP").await;
        never_answered(RELEASE_AND_HANG, over_tcp(3).await.0, "all handlers hang, over TCP").await;
    }
}

async fn cluster_in_memory() -> Cluster {
    Cluster::in_memory(3, |_: NodeId| Server::builder().add_service(Soak::default())).await
}

async fn never_answered(what: u32, mut cluster: Cluster, how: &str) {
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    let mut tick = interval(SECOND / RATE);
    // After a delay, what was missed is not made up for: the rate is an upper bound.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut calls, mut most, mut most_of_node) = (JoinSet::new(), 0, 0);
    for number in 1..=u64::from(30 * RATE) {
        tick.tick().await;
        let call = configuration.quorum_call(&CALL, Item { what, ..item(1, number) }).send();
        calls.spawn(async move {
            let start = Instant::now();
            let error = call.majority().await.unwrap_err();
            assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded, "{error}");
            // A node in whose line a request has waited up to its deadline says so, now and then first.
            let is_late = |node: &NodeError| match node.kind() {
                NodeErrorKind::DeadlineExceeded => true,
                NodeErrorKind::Status(status) => status.code() == Code::DeadlineExceeded,
                _ => false,
            };
            let late = error.nodes().iter().all(is_late);
            assert!(late && error.nodes().len() == 3, "{error}");
            start.elapsed()
        });
        most = most.max(configuration.pending());
        most_of_node = most_of_node.max(configuration.iter().map(gorums_core::Node::pending).max().unwrap());
    }
    let took: Vec<_> = calls.join_all().await;
    let (shortest, longest) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    report(
        "no deadline given",
        &format!(
            "{how}: {} calls ended after {shortest:?} to {longest:?}, at most {most} in flight",
            took.len()
        ),
    );
    assert!(*shortest >= 4_800 * MS && *longest <= 6 * SECOND, "{shortest:?} to {longest:?}");
    let bound = RATE as usize * DEADLINE.as_secs() as usize * 11 / 10;
    assert!((bound / 2..=bound).contains(&most), "{most} calls in flight");
    assert!(most_of_node <= bound, "{most_of_node} replies owed by a node");
    assert_eq!(configuration.pending(), 0);
    assert!(configuration.iter().all(|node| node.pending() == 0 && node.stats().queue.queued == 0));
    assert_counters_add_up(&configuration);
    assert!(configuration.iter().all(|node| node.stats().connections == 1));
    drop(configuration);
    cluster.finish().await;
}
