//! Quorum rules run on calls, and the helpers of the replies.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{COUNT, ECHO, OnConfiguration, Text, Transport, faulty, number, text};
use futures_util::StreamExt;
use gorums_core::quorum::{self, OneOf, QuorumRule, Reason};
use gorums_core::{Configuration, ErrorClass, Node, NodeId, QuorumErrorKind, ReplySet, Stage};
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);

fn ids(successes: &[(NodeId, Text)]) -> Vec<u32> {
    let mut ids: Vec<_> = successes.iter().map(|(node, _)| node.get()).collect();
    ids.sort_unstable();
    ids
}

/// Node 3 of three hangs, and what is sent to it later waits for that.
fn two_reply(configuration: &Configuration) -> gorums_core::QuorumCall<Text, Text> {
    configuration.quorum_call(&ECHO, text("hang:3"))
}

/// Node 2 of three fails, and node 3 hangs.
fn fail_and_hang(configuration: &Configuration) -> gorums_core::QuorumCall<Text, Text> {
    configuration
        .quorum_call(&ECHO, text("x"))
        .map_request(|_, node| Some(text(["x", "fail", "hang"][node.id().get() as usize - 1])))
}

#[tokio::test(start_paused = true)]
async fn a_rule_decides_a_call() {
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configuration();
    // The first reply of each node counts.
    let streamed =
        configuration.streaming_call(&COUNT, number(3)).send().decide(quorum::all()).await.unwrap();
    assert_eq!(ids(&streamed), [1, 2, 3]);
    assert_eq!(ids(&two_reply(&configuration).decide(quorum::majority()).await.unwrap()), [1, 2]);
    assert_eq!(ids(&two_reply(&configuration).send().decide(quorum::majority()).await.unwrap()), [1, 2]);
    let staged = two_reply(&configuration).staged(Stage::after(MS).size(1));
    assert_eq!(ids(&staged.decide(quorum::majority()).await.unwrap()), [1, 2]);
    let either = quorum::all().map(|_| ()).or(quorum::newest(|text: &Text| text.number));
    let OneOf::Second(newest) = two_reply(&configuration).decide(either).await.unwrap() else { panic!() };
    assert_eq!((newest.value.number, newest.needs_write_back), (2, true));
    assert_eq!(configuration.pending(), 0);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_impossible_fails_at_once_and_says_why() {
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configuration();
    let start = Instant::now();
    let error = configuration.quorum_call(&ECHO, text("x")).decide(quorum::threshold(4)).await.unwrap_err();
    let class = ErrorClass::Permanent;
    assert_eq!(error.reason(), Some(&Reason::NoQuorum { failed: Vec::new(), class }));
    assert_eq!((error.kind(), error.nodes().len() + error.replies()), (QuorumErrorKind::Incomplete, 3));
    let error = configuration.quorum_call(&ECHO, text("fail:2")).decide(quorum::all()).await.unwrap_err();
    assert!(error.to_string().contains("there is no quorum without 2"), "{error}");
    assert_eq!((error.kind(), error.nodes().len() + error.replies()), (QuorumErrorKind::Incomplete, 3));
    // Nobody has no quorum of all.
    let nobody = configuration.without([1, 2, 3]).quorum_call(&ECHO, text("x")).decide(quorum::all()).await;
    assert_eq!(nobody.unwrap_err().kind(), QuorumErrorKind::Incomplete);
    // One fails and another one never answers: there is nothing to wait for.
    let error = fail_and_hang(&configuration).decide(quorum::all()).await.unwrap_err();
    let class = ErrorClass::SteppedDown;
    assert_eq!(error.reason(), Some(&Reason::NoQuorum { failed: vec![NodeId::new(2).unwrap()], class }));
    assert_eq!(error.class(), class);
    let failed = |replies: &mut ReplySet<Text>| (replies.success_count() == 3).then_some(());
    let error = configuration.quorum_call(&ECHO, text("fail:2")).quorum(failed).await.unwrap_err();
    assert_eq!(error.class(), class);
    assert!(start.elapsed() < 1_000 * MS, "it waited for more");
    // A bug on one of three nodes is not what keeps two of them from answering.
    let bug = |_: &Text, node: &Node| Some(text(["x", "fail", "panic"][node.id().get() as usize - 1]));
    let call = configuration.quorum_call(&ECHO, text("x")).map_request(bug);
    assert_eq!(call.decide(quorum::majority()).await.unwrap_err().class(), ErrorClass::SteppedDown);
    let error = two_reply(&configuration).timeout(50 * MS).decide(quorum::all()).await.unwrap_err();
    assert_eq!((error.kind(), error.replies()), (QuorumErrorKind::DeadlineExceeded, 2));
    assert_eq!(configuration.pending(), 0);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn grace_gathers_stragglers_and_ends() {
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configuration();
    // Nobody is left to wait for.
    let start = Instant::now();
    let all = configuration.quorum_call(&ECHO, text("x")).decide(quorum::any()).grace(3_000 * MS).await;
    assert_eq!(ids(&all.unwrap()), [1, 2, 3]);
    assert!(start.elapsed() < 1_000 * MS);
    // Everybody has replied, though more of each may come.
    let endless = configuration.streaming_call(&COUNT, number(0)).send();
    assert_eq!(ids(&endless.decide(quorum::any()).grace(3_000 * MS).await.unwrap()), [1, 2, 3]);
    assert!(start.elapsed() < 1_000 * MS);
    // One that never comes.
    let start = Instant::now();
    let two = two_reply(&configuration).decide(quorum::any()).grace(200 * MS).await;
    assert_eq!(ids(&two.unwrap()), [1, 2]);
    assert!((200 * MS..1_000 * MS).contains(&start.elapsed()), "{:?}", start.elapsed());
    // The deadline comes first, and what was decided stays decided.
    let start = Instant::now();
    let two =
        two_reply(&configuration).timeout(300 * MS).send().decide(quorum::any()).grace(3_000 * MS).await;
    assert_eq!(ids(&two.unwrap()), [1, 2]);
    assert!(start.elapsed() < 1_000 * MS);
    assert_eq!(configuration.pending(), 0);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn helpers_of_the_replies() {
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configuration();
    let replies = || configuration.quorum_call(&ECHO, text("fail:2")).send();
    assert_eq!(ids(&replies().successes().collect::<Vec<_>>().await), [1, 3]);
    assert_eq!(ids(&replies().first_n(3).await), [1, 3]);
    let map = replies().into_map().await;
    let outcomes: Vec<_> = map.iter().map(|(node, reply)| (node.get(), reply.is_ok())).collect();
    assert_eq!(outcomes, [(1, true), (2, false), (3, true)]);
    let updates = configuration.streaming_call(&COUNT, number(3)).send().of_node(2);
    let numbers: Vec<_> = updates.map(|update| update.unwrap().number).collect().await;
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(ids(&two_reply(&configuration).send().first_n(2).await), [1, 2]);
    assert_eq!(configuration.pending(), 0);
    drop(configuration);
    cluster.finish().await;
}
