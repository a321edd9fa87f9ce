//! Staged calls with interceptors, and those of handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use gorums_core::{NodeError, NodeErrorKind, QuorumErrorKind, Stage, Status};
use tokio::time::{Instant, sleep};

use crate::cluster::{Does, MS, Nodes};

fn later() -> Stage {
    Stage::after(20 * MS)
}

#[tokio::test(start_paused = true)]
async fn every_node_gets_its_own_request_in_whichever_stage_and_is_mapped_once() {
    let nodes = Nodes::measured(5).await;
    nodes.set(1, Does::Hang);
    let start = Instant::now();
    let mapped = Arc::new(AtomicUsize::new(0));
    let count = mapped.clone();
    let call = nodes.call().map_request(move |request, node| {
        count.fetch_add(1, SeqCst);
        // Node 2 gets what all get.
        Some(if node.id() == 2 { request.clone() } else { format!("{request} {}", node.id()) })
    });
    let call = call.map_metadata(|metadata, node| {
        if node.id() == 5 {
            metadata.insert("x-trace", "five".parse().unwrap());
        }
    });
    call.staged(later()).majority().await.unwrap();
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), Some(20), Some(20)]);
    for (peer, expected) in nodes.peers.iter().zip(["read 1", "read", "read 3", "read 4", "read 5"]) {
        let asked = peer.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked.request, expected);
        assert_eq!(asked.trace.is_some(), expected == "read 5");
        let left = if asked.at == start { 1_000 } else { 980 };
        assert_eq!(asked.remaining, left * MS);
    }
    assert_eq!(mapped.load(SeqCst), 5);
    sleep(1_000 * MS).await;
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_skipped_are_not_asked_and_the_next_ones_are_in_their_stead() {
    let nodes = Nodes::measured(5).await;
    let start = Instant::now();
    let skip = |ids: &'static [u32]| {
        nodes.call().map_request(|request, node| (!ids.contains(&node.id().get())).then(|| request.clone()))
    };
    skip(&[1, 4]).staged(later()).majority().await.unwrap();
    assert_eq!(nodes.asked_after(start), [None, Some(0), Some(0), None, Some(0)]);
    nodes.forget();
    let start = Instant::now();
    skip(&[1]).staged(later()).threshold(2).await.unwrap();
    assert_eq!(nodes.asked_after(start), [None, Some(0), Some(0), None, None], "no one too many");
    nodes.forget();
    nodes.set(2, Does::Fail(MS));
    let start = Instant::now();
    skip(&[1]).staged(later()).threshold(2).await.unwrap();
    assert_eq!(nodes.asked_after(start), [None, Some(0), Some(0), Some(1), None], "and no one too few");
    let error = skip(&[1, 2, 3]).staged(later()).majority().await.unwrap_err();
    assert_eq!((error.kind(), error.nodes().len()), (QuorumErrorKind::Incomplete, 5), "{error}");
    let error = skip(&[1, 2, 3, 4, 5]).staged(later()).first().await.unwrap_err();
    assert!(error.nodes().iter().all(|node| matches!(node.kind(), NodeErrorKind::Skipped)), "{error}");
    sleep(10 * MS).await;
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_counts_is_what_interceptors_make_of_a_reply() {
    let nodes = Nodes::measured(5).await;
    let start = Instant::now();
    let call = nodes.call().staged(later()).map_reply(|reply, node| match reply {
        Ok(1) => Err(NodeError::from_status(node, Status::data_loss("not true"))),
        reply => reply,
    });
    assert_eq!(call.majority().await.unwrap(), 2);
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), Some(1), None]);
    nodes.forget();
    nodes.set(1, Does::Fail(MS));
    let start = Instant::now();
    let call = nodes.call().map_reply(|reply, _| Ok(reply.unwrap_or(7))).staged(later());
    assert_eq!(call.majority().await.unwrap(), 7);
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), None, None]);
    sleep(10 * MS).await;
    nodes.forget();
    nodes.set(1, Does::Reply(MS));
    let start = Instant::now();
    let call = nodes.call().filter_replies(|reply, _| !matches!(reply, Ok(1))).staged(later().size(2));
    assert_eq!(
        call.quorum(|replies: &mut gorums_core::ReplySet<u64>| {
            (replies.success_count() == 2).then(|| replies.successes().map(|(_, id)| *id).sum::<u64>())
        })
        .await
        .unwrap(),
        5
    );
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(1), None, None]);
    nodes.finish().await;
}
