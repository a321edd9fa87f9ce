//! How staged calls end, and that they leave nothing behind.

use std::pin::pin;

use futures_util::FutureExt;
use gorums_core::testing::Traffic;
use gorums_core::{NodeErrorKind, QuorumErrorKind, Stage};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::cluster::{Does, MS, Nodes};

fn later() -> Stage {
    Stage::after(20 * MS)
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_it_and_names_every_node() {
    let nodes = Nodes::measured(5).await;
    (2..=5).for_each(|id| nodes.set(id, Does::Hang));
    let start = Instant::now();
    let error = nodes.call().timeout(100 * MS).staged(later()).majority().await.unwrap_err();
    assert_eq!((start.elapsed(), error.kind()), (100 * MS, QuorumErrorKind::DeadlineExceeded), "{error}");
    assert_eq!((error.needed(), error.replies(), error.size()), (3, 1, 5), "{error}");
    assert_eq!(error.nodes().len(), 4, "{error}");
    assert!(
        error.nodes().iter().all(|node| matches!(node.kind(), NodeErrorKind::DeadlineExceeded)),
        "{error}"
    );
    sleep(MS).await;
    assert_eq!(nodes.told(), [0, 1, 1, 1, 1], "also those that were asked later know of the deadline");
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_quorum_out_of_reach_ends_it_as_soon_as_that_is_known() {
    let nodes = Nodes::measured(5).await;
    for id in [1, 3, 4] {
        nodes.set(id, Does::Fail(MS));
    }
    let start = Instant::now();
    let error = nodes.call().staged(later()).majority().await.unwrap_err();
    // Nodes 1 and 3 fail at 1 ms, node 4 in their stead at 2 ms.
    assert_eq!((start.elapsed(), error.kind()), (2 * MS, QuorumErrorKind::Incomplete), "{error}");
    assert_eq!(error.nodes().len() + error.replies(), 5, "{error}");
    nodes.assert_idle();
    let error = nodes.call().staged(later()).threshold(6).await.unwrap_err();
    assert_eq!((error.kind(), error.nodes().len()), (QuorumErrorKind::Incomplete, 5), "{error}");
    let empty = nodes.configuration.take(0);
    let call = gorums_core::QuorumTarget::quorum_call(&empty, &crate::cluster::READ, String::new());
    let error = call.staged(Stage::adaptive()).majority().await.unwrap_err();
    assert_eq!((error.kind(), error.size()), (QuorumErrorKind::Incomplete, 0), "{error}");
    sleep(10 * MS).await;
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_were_never_asked_are_reported_as_such() {
    let nodes = Nodes::measured(5).await;
    nodes.set(1, Does::Hang);
    let mut call = pin!(nodes.call().timeout(100 * MS).staged(later()).majority());
    assert!(call.as_mut().now_or_never().is_none());
    // Its task was not scheduled until the deadline had passed.
    advance(200 * MS).await;
    let error = call.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded, "{error}");
    let never_asked: Vec<_> = error.nodes().iter().filter(|node| node.node().get() > 3).collect();
    assert_eq!(never_asked.len(), 2, "{error}");
    for node in never_asked {
        assert!(matches!(node.kind(), NodeErrorKind::Cancelled) && !node.is_ambiguous(), "{node}");
        assert!(node.to_string().contains("(it was never asked, "), "{node}");
    }
    let kept: Vec<_> = nodes.configuration.without_errors(&error).node_ids().map(u32::from).collect();
    assert!(kept.contains(&4) && kept.contains(&5), "nothing is known against them: {kept:?}");
    for id in [4, 5] {
        assert!(nodes.configuration.node(id).unwrap().last_error().is_none());
    }
    sleep(10 * MS).await;
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_it_in_any_stage_leaves_nothing() {
    let nodes = Nodes::measured(5).await;
    (1..=5).for_each(|id| nodes.set(id, Does::Hang));
    drop(nodes.call().staged(later()).majority());
    assert_eq!(nodes.requests(), 0, "not sent before it is polled");
    for (dropped_after, told) in [(5, [1, 1, 1, 0, 0]), (25, [2, 2, 2, 1, 1])] {
        let call = nodes.call().staged(later()).majority();
        assert!(timeout(dropped_after * MS, call).await.is_err());
        nodes.assert_idle();
        sleep(MS).await;
        assert_eq!(nodes.told(), told, "those that have it are told, and nobody else");
        assert_eq!(nodes.requests() as u64, told.iter().sum::<u64>());
    }
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_not_sent_are_withdrawn_from_every_stage() {
    let nodes = Nodes::measured(5).await;
    for id in [1, 4] {
        nodes.cluster.faults(id).reset();
        nodes.cluster.faults(id).set_both(Traffic::Hold);
    }
    sleep(200 * MS).await;
    // Node 1 is reached again no sooner than its link; whether it is known to be down by now does not matter here.
    let queued = |id: u32| nodes.configuration.node(id).unwrap().stats().queue;
    (2..=3).for_each(|id| nodes.set(id, Does::Hang));
    let before = [1, 4].map(|id| queued(id).failed);
    let mut call = Box::pin(nodes.call().wait_for_ready(true).staged(later()).all());
    assert!(timeout(MS, call.as_mut()).await.is_err());
    assert_eq!([1, 4].map(|id| queued(id).queued), [1, 1]);
    drop(call);
    assert_eq!([1, 4].map(|id| queued(id).queued), [0, 0]);
    assert_eq!([1, 4].map(|id| queued(id).failed), before.map(|failed| failed + 1));
    nodes.assert_idle();
    // A call that succeeds takes back what waits for the slower nodes too.
    (2..=3).for_each(|id| nodes.set(id, Does::Reply(MS)));
    let call = nodes.call().wait_for_ready(true).staged(later().size(5));
    assert!(call.threshold(3).await.is_ok());
    nodes.assert_idle();
    for id in [1, 4] {
        nodes.cluster.faults(id).set_both(Traffic::Forward);
    }
    nodes.configuration.wait_connected().await.unwrap();
    nodes.forget();
    sleep(100 * MS).await;
    assert_eq!(nodes.requests(), 0, "what was withdrawn is not sent");
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn closing_the_configuration_ends_it() {
    let nodes = Nodes::measured(5).await;
    (1..=5).for_each(|id| nodes.set(id, Does::Hang));
    let call = nodes.call().staged(Stage::after(400 * MS)).majority();
    let configuration = nodes.configuration.clone();
    let (result, ()) = tokio::join!(call, async {
        sleep(MS).await;
        configuration.abort().await;
    });
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.nodes().len()), (QuorumErrorKind::Incomplete, 5), "{error}");
    assert!(
        error
            .nodes()
            .iter()
            .all(|node| matches!(node.kind(), NodeErrorKind::Closed | NodeErrorKind::Cancelled))
    );
    drop(configuration);
    nodes.finish().await;
}

/// Calls are cut off at any moment of their course; what they leave would be found.
#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_at_any_moment_leave_nothing() {
    let nodes = Nodes::measured(5).await;
    for (step, does) in
        [Does::Reply(4 * MS), Does::Hang, Does::Fail(2 * MS)].into_iter().cycle().take(15).enumerate()
    {
        nodes.set(step % 5 + 1, does);
        for after in 0..30 {
            let call = nodes.call().staged(Stage::after(5 * MS)).majority();
            let _ = timeout(after * MS, call).await;
            nodes.assert_idle();
        }
    }
    sleep(1_000 * MS).await;
    nodes.finish().await;
}
