//! Who is asked, and when.

use std::time::Duration;

use gorums_core::{
    Decision, MetadataMap, NodeReply, NodeState, QuorumFunction, QuorumTarget, ReplySet, Stage,
};
use tokio::time::{Instant, advance, sleep};

use crate::cluster::{Does, MS, Nodes, READ};

fn later() -> Stage {
    Stage::after(20 * MS)
}

#[tokio::test(start_paused = true)]
async fn a_fast_quorum_answers_and_the_others_never_see_the_request() {
    let nodes = Nodes::measured(5).await;
    let start = Instant::now();
    assert_eq!(nodes.call().staged(later()).majority().await.unwrap(), 1);
    assert_eq!(start.elapsed(), 3 * MS);
    nodes.assert_idle();
    sleep(100 * MS).await;
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), None, None]);
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_others_are_asked_exactly_after_the_delay_when_a_node_is_slow() {
    let nodes = Nodes::measured(5).await;
    nodes.set(2, Does::Hang);
    let start = Instant::now();
    let mut metadata = MetadataMap::new();
    metadata.insert("x-trace", "seven".parse().unwrap());
    nodes.call().metadata(metadata).staged(later()).majority().await.unwrap();
    assert_eq!(start.elapsed(), 24 * MS, "node 4 was the third");
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), Some(20), Some(20)]);
    for (peer, left) in nodes.peers.iter().zip([1_000, 1_000, 1_000, 980, 980]) {
        let asked = peer.asked.lock().unwrap().pop().unwrap();
        assert_eq!((asked.request.as_str(), asked.trace.as_deref()), ("read", Some("seven")));
        assert_eq!(asked.remaining, left * MS, "the deadline is the caller's");
    }
    let latency = nodes.configuration.node(4).unwrap().latency().unwrap();
    assert_eq!(latency, 4 * MS, "not from the start of the call");
    sleep(1_000 * MS).await;
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_is_replaced_at_once() {
    let nodes = Nodes::measured(5).await;
    nodes.set(1, Does::Fail(MS));
    let start = Instant::now();
    assert_eq!(nodes.call().staged(later()).majority().await.unwrap(), 2);
    assert_eq!(start.elapsed(), 5 * MS);
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), Some(1), None]);
    nodes.set(4, Does::Fail(MS));
    nodes.forget();
    let start = Instant::now();
    nodes.call().staged(later()).majority().await.unwrap();
    assert_eq!(start.elapsed(), 7 * MS);
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), Some(1), Some(2)]);
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_fail_together_are_replaced_by_as_many() {
    let nodes = Nodes::measured(5).await;
    nodes.set(3, Does::Fail(2 * MS));
    nodes.set(1, Does::Reply(2 * MS));
    let start = Instant::now();
    nodes.call().staged(later()).majority().await.unwrap();
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), Some(2), None]);
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_is_asked_last_and_replaced_when_it_is_needed() {
    let mut nodes = Nodes::measured(5).await;
    nodes.cluster.kill(2).await;
    while nodes.configuration.node(2).unwrap().state() != NodeState::Unreachable {
        sleep(MS).await;
    }
    let start = Instant::now();
    nodes.call().staged(later()).majority().await.unwrap();
    assert_eq!(
        (nodes.asked_after(start), start.elapsed()),
        (vec![Some(0), None, Some(0), Some(0), None], 4 * MS)
    );
    nodes.forget();
    let start = Instant::now();
    nodes.call().staged(later()).threshold(4).await.unwrap();
    assert_eq!(start.elapsed(), 5 * MS);
    let error = nodes.call().staged(later()).all().await.unwrap_err();
    assert_eq!((error.needed(), error.nodes().len() + error.replies()), (5, 5), "{error}");
    sleep(10 * MS).await;
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn every_terminal_asks_as_many_as_it_needs() {
    let nodes = Nodes::measured(5).await;
    let start = Instant::now();
    nodes.call().staged(later()).first().await.unwrap();
    assert_eq!(nodes.requests(), 1);
    nodes.call().staged(later()).threshold(2).await.unwrap();
    assert_eq!(nodes.requests(), 3);
    nodes.call().staged(later().size(4)).threshold(2).await.unwrap();
    assert_eq!(nodes.requests(), 7, "more nodes than needed");
    sleep(10 * MS).await;
    nodes.forget();
    let majority = nodes.configuration.majority();
    QuorumTarget::quorum_call(&majority, &READ, String::new()).staged(later()).await.unwrap();
    assert_eq!(nodes.requests(), 3);
    nodes.forget();
    let again = Instant::now();
    nodes.call().staged(later()).all().await.unwrap();
    assert_eq!(nodes.asked_after(again), [Some(0); 5], "all degenerates to the plain call");
    assert_eq!(again.elapsed(), 5 * MS);
    assert!(start.elapsed() < 30 * MS);
    nodes.finish().await;
}

/// The sum of the ids of `count` nodes.
fn sum(count: usize) -> impl FnMut(&mut ReplySet<u64>) -> Option<u64> {
    move |replies| {
        let sum = replies.successes().map(|(_, id)| *id).sum();
        (replies.success_count() == count).then_some(sum)
    }
}

#[tokio::test(start_paused = true)]
async fn a_quorum_function_decides_and_gets_the_rest_when_it_needs_more() {
    let nodes = Nodes::measured(5).await;
    let start = Instant::now();
    assert_eq!(nodes.call().staged(later().size(2)).quorum(sum(2)).await.unwrap(), 3);
    assert_eq!((nodes.requests(), start.elapsed()), (2, 2 * MS));
    nodes.forget();
    let start = Instant::now();
    assert_eq!(nodes.call().staged(later()).quorum(sum(4)).await.unwrap(), 10);
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(0), Some(3), Some(3)]);
    sleep(10 * MS).await;
    nodes.set(1, Does::Fail(MS));
    nodes.forget();
    let start = Instant::now();
    assert_eq!(nodes.call().staged(later().size(2)).quorum(sum(2)).await.unwrap(), 5);
    assert_eq!(nodes.asked_after(start), [Some(0), Some(0), Some(1), None, None]);
    nodes.finish().await;
}

/// Takes the replies out as they come, and gives up on the second failure.
struct Taking(usize);

impl QuorumFunction<u64> for Taking {
    type Output = usize;

    fn decide(&mut self, replies: &mut ReplySet<u64>) -> Decision<usize> {
        self.0 += replies.take_successes().len();
        match (self.0, replies.failure_count()) {
            (4.., _) => Decision::Reached(self.0),
            (_, 2..) => Decision::Impossible,
            _ => Decision::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_quorum_function_may_take_replies_out_and_give_up() {
    let nodes = Nodes::measured(5).await;
    let start = Instant::now();
    assert_eq!(nodes.call().staged(later()).quorum(Taking(0)).await.unwrap(), 4);
    assert_eq!(start.elapsed(), 7 * MS);
    sleep(10 * MS).await;
    nodes.set(1, Does::Fail(MS));
    nodes.set(2, Does::Fail(MS));
    nodes.forget();
    let error = nodes.call().staged(later()).quorum(Taking(0)).await.unwrap_err();
    assert_eq!(error.nodes().len(), 5, "{error}");
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_were_never_measured_are_tried_once_and_then_the_fastest_are_asked() {
    let nodes = Nodes::unmeasured(5).await;
    nodes.set(1, Does::Reply(9 * MS));
    let start = Instant::now();
    for expected in
        [[true, true, true, false, false], [false, true, false, true, true], [false, true, true, true, false]]
    {
        nodes.forget();
        nodes.call().staged(later()).majority().await.unwrap();
        let asked: Vec<_> = nodes.asked_after(start).iter().map(Option::is_some).collect();
        assert_eq!(asked, expected);
    }
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_costs_the_delay_only_until_it_is_known_to_be_slow() {
    let nodes = Nodes::measured(5).await;
    nodes.set(1, Does::Hang);
    let mut delayed = 0;
    for _ in 0..20 {
        let start = Instant::now();
        nodes.call().staged(later()).majority().await.unwrap();
        delayed += u32::from(start.elapsed() >= 20 * MS);
    }
    assert!((1..=2).contains(&delayed), "{delayed} calls of 20 had to wait");
    sleep(1_000 * MS).await;
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_delay_is_none_while_nothing_is_known() {
    let nodes = Nodes::unmeasured(5).await;
    // Not at a tick of the timer, so that it would show if one was waited for.
    advance(MS / 3).await;
    let start = Instant::now();
    nodes.call().staged(Stage::adaptive()).majority().await.unwrap();
    sleep(10 * MS).await;
    let asked: Vec<_> = nodes.peers.iter().map(|peer| peer.asked.lock().unwrap()[0].at).collect();
    assert_eq!(asked, [start; 5], "all at once");
    nodes.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_delay_follows_the_latency_of_the_first_stage() {
    for (stage, delay) in [
        (Stage::adaptive(), 9),
        (Stage::adaptive_within(2, 8 * MS..=1_000 * MS), 8),
        (Stage::adaptive_within(20, MS..=50 * MS), 50),
    ] {
        let nodes = Nodes::unmeasured(5).await;
        nodes.call().all().await.unwrap();
        sleep(10 * MS).await;
        nodes.set(2, Does::Hang);
        nodes.forget();
        let start = Instant::now();
        nodes.call().staged(stage).majority().await.unwrap();
        assert_eq!(nodes.asked_after(start)[3..], [Some(delay); 2], "{stage:?}");
        sleep(1_000 * MS).await;
        nodes.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_delay_is_at_most_half_of_the_timeout() {
    for stage in [Stage::after(Duration::MAX), Stage::after(60 * MS)] {
        let nodes = Nodes::measured(3).await;
        nodes.set(1, Does::Hang);
        let start = Instant::now();
        let call = nodes.call().staged(stage).timeout(100 * MS);
        assert_eq!(call.threshold(2).await.unwrap(), 2);
        assert_eq!(nodes.asked_after(start)[2], Some(50));
        sleep(100 * MS).await;
        nodes.finish().await;
    }
}

/// What was read from a plain call is what a staged one counts.
#[tokio::test(start_paused = true)]
async fn a_staged_call_after_plain_ones_takes_their_measurements() {
    let nodes = Nodes::unmeasured(3).await;
    let mut replies = nodes.call().send();
    while let Some(NodeReply { result, .. }) = replies.next().await {
        result.unwrap();
    }
    nodes.forget();
    nodes.call().staged(later()).first().await.unwrap();
    assert_eq!(nodes.requests(), 1);
    nodes.finish().await;
}
