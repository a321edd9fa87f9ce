//! G1: calls that one sender starts one after the other reach each node in that order, whatever their type,
//! and handlers start in that order, whether they release or not.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{COUNT, Cluster, ECHO, NOTE, OnConfiguration, OnNode, SAFE, Test, Text, within};
use futures_util::StreamExt;
use gorums_core::testing::Traffic;
use gorums_core::{Configuration, Replies, RpcFuture, Server};
use proptest::prelude::*;
use tokio::time::sleep;

/// A call of a random program.
#[derive(Clone, Copy, Debug)]
enum Step {
    QuorumSend,
    QuorumFirst,
    QuorumMajority,
    QuorumAll,
    RpcSend(usize),
    Rpc(usize),
    UnicastSend(usize),
    Unicast(usize),
    MulticastSend,
    Multicast,
    Streaming,
}

/// What the handler does: finish at once, finish later, or release and finish later.
#[derive(Clone, Copy, Debug)]
enum Handling {
    AtOnce,
    Later,
    Released,
}

const NODES: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::QuorumSend),
        Just(Step::QuorumFirst),
        Just(Step::QuorumMajority),
        Just(Step::QuorumAll),
        (0..NODES).prop_map(Step::RpcSend),
        (0..NODES).prop_map(Step::Rpc),
        (0..NODES).prop_map(Step::UnicastSend),
        (0..NODES).prop_map(Step::Unicast),
        Just(Step::MulticastSend),
        Just(Step::Multicast),
        Just(Step::Streaming),
    ]
}

fn handling() -> impl Strategy<Value = Handling> {
    prop_oneof![Just(Handling::AtOnce), Just(Handling::Later), Just(Handling::Released)]
}

fn request(number: u64, handling: Handling) -> Text {
    let text = match handling {
        Handling::AtOnce => "",
        Handling::Later => "yield",
        Handling::Released => "yield-release",
    };
    Text { text: text.into(), number }
}

/// Runs a program and compares what each node saw with what was sent to it.
async fn run(program: &[(Step, Handling)]) {
    let cluster = Cluster::start(NODES as u64 - 1).await;
    let local = Test::new(NODES as u64);
    let configuration = Configuration::builder()
        .nodes(cluster.addresses.iter().map(ToString::to_string))
        .local_node(NODES as u32, Server::builder().add_service(local.clone()))
        .connect_lazy()
        .unwrap();
    let mut expected = vec![Vec::new(); NODES];
    let mut sent = Sent::default();
    for (number, &(step, handling)) in (1..).zip(program) {
        let target = make(&configuration, step, request(number, handling), &mut sent).await;
        for (node, expected) in expected.iter_mut().enumerate() {
            if target.is_none_or(|target| target == node) {
                expected.push(number);
            }
        }
    }
    sent.finish().await;
    configuration.quorum_call(&ECHO, Text::default()).all().await.unwrap();
    for expected in &mut expected {
        expected.push(0);
    }
    assert_eq!(cluster.seen(0), expected[0], "node 1");
    assert_eq!(cluster.seen(1), expected[1], "node 2");
    assert_eq!(*local.seen.numbers.lock().unwrap(), expected[2], "the local node");
    for node in cluster.nodes.iter().chain([&local]) {
        assert_eq!(node.seen.overlaps.load(Ordering::SeqCst), 0, "a handler started before its turn");
    }
    assert_eq!(configuration.pending(), 0);
    configuration.close().await;
}

/// Calls whose replies are looked at only in the end.
#[derive(Default)]
struct Sent {
    replies: Vec<Replies<Text>>,
    rpcs: Vec<RpcFuture<Text>>,
}

impl Sent {
    async fn finish(self) {
        for replies in self.replies {
            let replies: Vec<_> = replies.collect().await;
            assert!(replies.iter().all(|reply| reply.result.is_ok()), "{replies:?}");
        }
        for rpc in self.rpcs {
            rpc.await.unwrap();
        }
    }
}

/// Makes a call, and says to which node if not to all.
async fn make(configuration: &Configuration, step: Step, request: Text, sent: &mut Sent) -> Option<usize> {
    let node = |index: usize| &configuration.nodes()[index];
    match step {
        Step::QuorumSend => sent.replies.push(configuration.quorum_call(&ECHO, request).send()),
        Step::QuorumFirst => drop(configuration.quorum_call(&ECHO, request).first().await.unwrap()),
        Step::QuorumMajority => drop(configuration.quorum_call(&ECHO, request).majority().await.unwrap()),
        Step::QuorumAll => drop(configuration.quorum_call(&ECHO, request).all().await.unwrap()),
        Step::MulticastSend => configuration.multicast(&NOTE, request).send().unwrap(),
        Step::Multicast => configuration.multicast(&NOTE, request).await.unwrap(),
        Step::Streaming => sent.replies.push(configuration.streaming_call(&COUNT, request).send()),
        Step::RpcSend(index) => sent.rpcs.push(node(index).rpc(&ECHO, request).send()),
        Step::Rpc(index) => drop(node(index).rpc(&ECHO, request).await.unwrap()),
        Step::UnicastSend(index) => node(index).unicast(&NOTE, request).send().unwrap(),
        Step::Unicast(index) => node(index).unicast(&NOTE, request).await.unwrap(),
    }
    match step {
        Step::RpcSend(index) | Step::Rpc(index) | Step::UnicastSend(index) | Step::Unicast(index) => {
            Some(index)
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn on_two_threads(program in prop::collection::vec((step(), handling()), 0..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(within("program", run(&program)));
    }

    #[test]
    fn on_one_thread(program in prop::collection::vec((step(), handling()), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(within("program", run(&program)));
    }
}

/// G1, across a reconnect: an idempotent request that had arrived with a stream that broke is not overtaken by the
/// one-way message behind it, which is handled although its stream is gone.
#[tokio::test(start_paused = true)]
async fn what_is_sent_again_is_not_overtaken_by_what_had_arrived() {
    let (mut cluster, nodes) = common::faulty(common::Transport::Memory, 1).await;
    let configuration = cluster.configuration();
    let node = &configuration.nodes()[0];
    let numbered = |text: &str, number| Text { text: text.into(), number };
    let _busy = node.rpc(&ECHO, numbered("sleep:200", 1)).send();
    let minute = Duration::from_secs(60);
    let again = node.rpc(&SAFE, numbered("", 2)).wait_for_ready(true).timeout(minute).send();
    node.unicast(&NOTE, numbered("", 3)).send().unwrap();
    let numbers = || nodes[0].seen.numbers.lock().unwrap().clone();
    within("the first request", async {
        while numbers().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    // All three were written at once. No new connection comes up before the last of them was handled.
    cluster.faults(1).set_both(Traffic::Hold);
    cluster.faults(1).reset();
    within("the one-way message", async {
        while !numbers().contains(&3) {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    cluster.faults(1).set_both(Traffic::Forward);
    again.await.unwrap();
    let mut first = numbers();
    let mut known = std::collections::HashSet::new();
    first.retain(|number| known.insert(*number));
    assert_eq!(first, [1, 2, 3], "of {:?}", numbers());
}
