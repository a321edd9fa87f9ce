//! Many calls at once on one connection: each gets its own replies, and nothing is left.

use std::sync::Arc;

use gorums_core::{Configuration, NodeError, NodeErrorKind, QueueLimits};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::common::dice::Dice;
use crate::common::talk::{
    ADD, ASK, COUNT, Line, NOTE, TOTAL, Talk, Talks, line, nobody_talks, server, talking,
};
use crate::common::{OnConfiguration, OnNode, Transport, eventually, on_each_transport, within};

on_each_transport!(
    fifty_talks_of_a_hundred_echoes,
    five_hundred_talks_one_after_the_other,
    five_hundred_connections_one_after_the_other,
    a_mix_of_all_call_types,
    a_hundred_tasks_of_fifty_calls,
    a_burst_of_a_thousand_calls,
    a_burst_that_does_not_fit_the_queue,
);

async fn all(tasks: JoinSet<()>) {
    within("the tasks of the test", tasks.join_all()).await;
}

/// Every call so far went over one connection, and nothing waits for anything.
fn one_connection_and_nothing_left(configuration: &Configuration) {
    for node in configuration {
        let stats = node.stats();
        assert_eq!((stats.connections, stats.pending, stats.queue.queued), (1, 0, 0), "{stats:?}");
        let counts = stats.queue;
        assert_eq!(counts.offered, counts.sent + counts.dropped + counts.failed + counts.queued);
    }
    assert_eq!(configuration.pending(), 0);
}

/// G2, G4: calls that are in flight together never get one another's replies.
///
/// After `TestStress_SustainedConcurrentStreams`.
async fn fifty_talks_of_a_hundred_echoes(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    let (all_open, mut tasks) = (Arc::new(Barrier::new(50)), JoinSet::new());
    for number in 0..50 {
        let (configuration, all_open, node) = (configuration.clone(), all_open.clone(), nodes[0].clone());
        tasks.spawn(async move {
            let mut talk = Talk::open(&configuration, number).await;
            all_open.wait().await;
            assert_eq!(node.open(), 50);
            for echo in 0..100 {
                talk.echo(number * 1_000 + echo).await;
            }
            all_open.wait().await;
            talk.hang_up().await;
        });
    }
    all(tasks).await;
    nobody_talks(&nodes[0]).await;
    one_connection_and_nothing_left(&configuration);
    cluster.finish().await;
}

/// G4: a call that has ended leaves nothing, however many there were on the connection.
///
/// After `TestStress_RapidOpenCloseCycles`.
async fn five_hundred_talks_one_after_the_other(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    for number in 0..500 {
        let mut talk = Talk::open(&configuration, number).await;
        talk.echo(number).await;
        talk.hang_up().await;
        assert_eq!((configuration.pending(), configuration.nodes()[0].pending()), (0, 0));
    }
    nobody_talks(&nodes[0]).await;
    one_connection_and_nothing_left(&configuration);
    cluster.finish().await;
}

/// I7: the same with a connection for each talk, closed in the two ways there are.
///
/// After `TestStress_RapidOpenCloseCycles`, which keeps its connection.
async fn five_hundred_connections_one_after_the_other(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    for number in 0..500 {
        let configuration = cluster.configuration();
        let mut talk = Talk::open(&configuration, number).await;
        talk.echo(number).await;
        talk.hang_up().await;
        one_connection_and_nothing_left(&configuration);
        if number % 2 == 0 {
            within("close", configuration.close()).await;
        }
    }
    nobody_talks(&nodes[0]).await;
    eventually("no connection is left", || cluster.faults(1).connections() == 0).await;
    cluster.finish().await;
}

/// G1, G2: calls of all types side by side, each with exactly its replies.
///
/// After `TestStress_MixedRPCTypes`. A client stream is five messages and the question for their sum, which depends on
/// their order.
async fn a_mix_of_all_call_types(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 3).await;
    let configuration = cluster.configuration();
    let (dice, mut tasks) = (Dice::new(), JoinSet::new());
    for task in 0..30 {
        let (configuration, dice) = (configuration.clone(), dice.of_task(task));
        tasks.spawn(async move {
            for round in 0..10 {
                let only = configuration.only([dice.number(1..4) as u32]);
                one_of_all_types(&configuration, &only, &dice, task * 100 + round).await;
            }
        });
    }
    all(tasks).await;
    let mut kept: Vec<Vec<Line>> = Vec::new();
    for node in &nodes {
        nobody_talks(node).await;
        let mut lines = node.notes.lock().unwrap().clone();
        lines.sort_unstable_by_key(|line| line.talk);
        assert!(lines.windows(2).all(|pair| pair[0].talk < pair[1].talk), "a message was handled twice");
        kept.push(lines);
    }
    assert!(kept.iter().all(|lines| *lines == kept[0]), "a message is missing on a node");
    eventually("what goes on after its quorum", || {
        configuration.iter().all(|node| node.stats().queue.queued == 0)
    })
    .await;
    one_connection_and_nothing_left(&configuration);
    cluster.finish().await;
}

async fn one_of_all_types(configuration: &Configuration, only: &Configuration, dice: &Dice, id: u64) {
    let node = &only.nodes()[0];
    match dice.number(0..6) {
        0 => assert_eq!(node.rpc(&ASK, line(id, id)).await.unwrap(), line(id, id)),
        1 => {
            for value in 1..=5 {
                node.unicast(&ADD, line(id, value)).send().unwrap();
            }
            assert_eq!(node.rpc(&TOTAL, line(id, 0)).await.unwrap(), line(id, 15));
        }
        2 => {
            let mut replies = configuration.streaming_call(&COUNT, line(id, 3)).send();
            let mut last = [0; 3];
            while let Some(reply) = within("an update", replies.next()).await {
                let last = &mut last[reply.node.get() as usize - 1];
                *last += 1;
                assert_eq!(reply.result.unwrap(), line(id, *last));
            }
            assert_eq!(last, [3; 3]);
        }
        3 => {
            let mut talk = Talk::open(only, id).await;
            for echo in 0..5 {
                talk.echo(id * 100 + echo).await;
            }
            talk.hang_up().await;
        }
        4 => {
            let call = configuration.quorum_call(&ASK, line(id, id));
            let reply = match dice.number(0..4) {
                0 => call.first().await,
                1 => call.majority().await,
                2 => call.all().await,
                _ => call.send().threshold(2).await,
            };
            assert_eq!(reply.unwrap(), line(id, id));
        }
        _ => {
            configuration.multicast(&NOTE, line(id, id)).send().unwrap();
            // What comes after it on each node is answered after it was handled.
            assert_eq!(configuration.quorum_call(&ASK, line(id, id)).all().await.unwrap(), line(id, id));
        }
    }
}

/// G2: many calls at once, of which each gets its own reply.
///
/// After `TestStress_ConcurrentUnary`.
async fn a_hundred_tasks_of_fifty_calls(transport: Transport) {
    let (mut cluster, _) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    let mut tasks = JoinSet::new();
    for task in 0..100 {
        let node = configuration.nodes()[0].clone();
        tasks.spawn(async move {
            for call in 0..50 {
                let asked = line(task, task * 1_000 + call);
                assert_eq!(within("a call", node.rpc(&ASK, asked.clone())).await.unwrap(), asked);
            }
        });
    }
    all(tasks).await;
    one_connection_and_nothing_left(&configuration);
    cluster.finish().await;
}

/// Calls that all start at the same moment, and how each has ended.
async fn burst(configuration: &Configuration, calls: u64) -> Vec<Result<(), NodeError>> {
    let (start, mut tasks) = (Arc::new(Barrier::new(calls as usize)), JoinSet::new());
    for call in 0..calls {
        let (node, start) = (configuration.nodes()[0].clone(), start.clone());
        tasks.spawn(async move {
            start.wait().await;
            let reply = node.rpc(&ASK, line(call, call)).await?;
            assert_eq!(reply, line(call, call));
            Ok(())
        });
    }
    within("the burst", tasks.join_all()).await
}

/// G2: a burst for which there is room succeeds as a whole.
///
/// After `TestStress_BurstUnary`, and `TestConcurrent` of upstream DRPC, with a value of its own for each call.
async fn a_burst_of_a_thousand_calls(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let room = QueueLimits { messages: 1_000, ..QueueLimits::default() };
    let configuration = cluster.configure(|builder| builder.queue_limits(room)).unwrap();
    for result in burst(&configuration, 1_000).await {
        result.unwrap();
    }
    let mut asked = nodes[0].asked();
    asked.sort_unstable();
    assert_eq!(asked, (0..1_000).collect::<Vec<_>>());
    one_connection_and_nothing_left(&configuration);
    cluster.finish().await;
}

/// G5, G6: of a burst that does not fit, each call gets its reply or an error that says that it was never sent.
///
/// After `TestStress_BurstUnary`, of which DRPC queues everything.
async fn a_burst_that_does_not_fit_the_queue(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    let (mut answered, mut refused) = (0, 0);
    // Not connected yet, so that nothing leaves the queue at first.
    for result in burst(&configuration, 1_000).await {
        match result {
            Ok(()) => answered += 1,
            Err(error) => {
                assert!(matches!(error.kind(), NodeErrorKind::QueueFull) && !error.is_ambiguous(), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!(answered + refused, 1_000);
    assert!(answered >= 256, "{answered} were answered, and 256 fit the queue");
    let mut asked = nodes[0].asked();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), answered, "as many as were answered, each once");
    let counts = configuration.nodes()[0].stats().queue;
    assert_eq!((counts.sent, counts.failed), (answered as u64, refused as u64));
    one_connection_and_nothing_left(&configuration);
    cluster.finish().await;
}

/// The same mix, with one of the nodes in the caller's process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_with_a_local_node() {
    for _ in 0..crate::common::repetitions() {
        let (mut cluster, _) = talking(Transport::Tcp, 2).await;
        let local = Talks::default();
        let configuration =
            cluster.configure(|builder| builder.local_node(3, server(local.clone()))).unwrap();
        let (dice, mut tasks) = (Dice::new(), JoinSet::new());
        for task in 0..30 {
            let (configuration, dice) = (configuration.clone(), dice.of_task(task));
            tasks.spawn(async move {
                let only = configuration.only([3]);
                for round in 0..10 {
                    one_of_all_types(&configuration, &only, &dice, task * 100 + round).await;
                }
            });
        }
        all(tasks).await;
        assert_eq!(configuration.pending(), 0);
        cluster.finish().await;
    }
}
