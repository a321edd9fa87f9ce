//! What belonged to a connection that broke, or to a call that was cancelled, never touches what came after it.

use std::collections::HashMap;
use std::time::Duration;

use gorums_core::testing::{Cluster, Direction, Traffic};
use gorums_core::{Backoff, Configuration, NodeErrorKind, QueueLimits};

use crate::common::dice::Dice;
use crate::common::talk::{ASK, ASK_AGAIN, Line, Talk, Talks, line, nobody_talks, talking};
use crate::common::{OnNode, Transport, eventually, on_each_transport, within};

on_each_transport!(
    a_broken_connection_requeues_only_its_own_requests,
    what_is_requeued_comes_before_what_is_new,
    a_late_cancellation_strands_nobody,
    a_cancelled_send_keeps_the_connection,
    clean_up_leaves_the_new_connection_alone,
    clean_up_of_a_dead_server_leaves_the_new_one_alone,
);

/// A node that is dialled again soon after its connection broke.
async fn one_node(transport: Transport) -> (Cluster, Talks, Configuration) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let backoff = Backoff { initial: Duration::from_millis(1), max: Duration::from_millis(4) };
    let limits = QueueLimits { messages: 256, bytes: 64 << 20 };
    let configuration = cluster.configure(|builder| builder.backoff(backoff).queue_limits(limits)).unwrap();
    let [node] = nodes.try_into().unwrap_or_else(|_| panic!("one node"));
    configuration.wait_connected().await.unwrap();
    (cluster, node, configuration)
}

fn connections(configuration: &Configuration) -> u64 {
    configuration.nodes()[0].stats().connections
}

/// Waits until a node has another connection than the first `old` ones.
async fn connected_anew(configuration: &Configuration, old: u64) {
    let node = &configuration.nodes()[0];
    eventually("a new connection", || node.is_connected() && connections(configuration) > old).await;
}

/// I3, G5: the end of a connection sends again what was sent on it, and nothing else: a request is handled at most once
/// for each connection that there was in its life, and at most once if it must not be repeated.
///
/// After `TestChannelStaleReceiverDoesNotRequeueCurrentPending` and `TestChannelConcurrentStreamReconnect`.
async fn a_broken_connection_requeues_only_its_own_requests(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let (dice, to) = (Dice::new(), &configuration.nodes()[0]);
    let mut calls = HashMap::new();
    for batch in 0..10_u64 {
        let before = connections(&configuration);
        let sent: Vec<_> = (batch * 20..batch * 20 + 20)
            .map(|id| {
                let method = if id % 2 == 0 { &ASK } else { &ASK_AGAIN };
                (id, to.rpc(method, line(batch, id)).wait_for_ready(true).send())
            })
            .collect();
        let cut = async {
            for _ in 0..dice.number(1..4) {
                dice.pause(1_000).await;
                cluster.faults(1).reset();
            }
        };
        let replies = async {
            let mut replies = Vec::new();
            for (id, call) in sent {
                replies.push((id, within("a call", call).await));
            }
            replies
        };
        let (replies, ()) = tokio::join!(replies, cut);
        let lives = 1 + connections(&configuration) - before;
        for (id, reply) in replies {
            // How often it may have been handled, at least and at most.
            let runs = match reply {
                Ok(reply) => {
                    assert_eq!(reply, line(batch, id));
                    if id % 2 == 0 { 1..=1 } else { 1..=lives }
                }
                Err(error) => {
                    assert!(id % 2 == 0, "{error}");
                    match error.kind() {
                        NodeErrorKind::ConnectionLost => 0..=u64::from(error.is_ambiguous()),
                        other => panic!("{other}"),
                    }
                }
            };
            calls.insert(id, runs);
        }
    }
    let (mut handled, mut firsts) = (HashMap::<u64, u64>::new(), Vec::new());
    for id in node.asked() {
        let runs = handled.entry(id).or_default();
        *runs += 1;
        if *runs == 1 && !calls[&id].contains(&0) {
            firsts.push(id);
        }
    }
    for (id, runs) in &calls {
        let handled = handled.get(id).copied().unwrap_or_default();
        assert!(runs.contains(&handled), "call {id} was handled {handled} times, not {runs:?}");
    }
    assert!(firsts.is_sorted(), "out of order: {firsts:?}");
    let counts = to.stats().queue;
    assert_eq!((counts.queued, configuration.pending(), to.pending()), (0, 0, 0));
    assert_eq!(counts.offered, counts.sent + counts.dropped + counts.failed);
    cluster.finish().await;
}

/// I5: requests that were sent on a connection that broke come before those that were made since, in their old order.
///
/// After `TestChannelConcurrentStreamReconnect`.
async fn what_is_requeued_comes_before_what_is_new(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let to = &configuration.nodes()[0];
    cluster.faults(1).set(Direction::ToServer, Traffic::Drop);
    // The window of the stream is 4 MiB, so that the last of them wait.
    let large = |id| Line { padding: vec![0; 1 << 20], ..line(0, id) };
    let calls: Vec<_> = (0..10).map(|id| to.rpc(&ASK_AGAIN, large(id)).wait_for_ready(true).send()).collect();
    eventually("sent, and swallowed", || to.stats().queue.sent >= 3).await;
    assert!(to.stats().queue.queued > 0, "some wait");
    // This breaks the connection, as bytes of it are lost. To reset it besides may meet the next one.
    cluster.faults(1).set(Direction::ToServer, Traffic::Forward);
    for (id, call) in (0..10).zip(calls) {
        assert_eq!(within("a call", call).await.unwrap(), line(0, id));
    }
    assert_eq!(node.asked(), (0..10).collect::<Vec<_>>());
    cluster.finish().await;
}

/// I1, I3: a call that is cancelled while its connection breaks keeps no other call from its end, and the word of the
/// cancellation meets nothing on the new connection.
///
/// After `TestChannelLateCancelWatcherRequeuesPending`.
async fn a_late_cancellation_strands_nobody(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let dice = Dice::new();
    for round in 0..5 {
        let before = connections(&configuration);
        let [cancelled, other] =
            [Talk::open(&configuration, 10 * round).await, Talk::open(&configuration, 10 * round + 1).await];
        let again = configuration.nodes()[0].rpc(&ASK_AGAIN, line(round, round)).wait_for_ready(true).send();
        let cancel = async {
            dice.pause(200).await;
            drop(cancelled);
        };
        let cut = async {
            dice.pause(200).await;
            cluster.faults(1).reset();
        };
        tokio::join!(cancel, cut);
        // Neither waits until it is asked.
        other.lost().await;
        assert_eq!(within("the idempotent call", again).await.unwrap(), line(round, round));
        connected_anew(&configuration, before).await;
        let mut next = Talk::open(&configuration, 10 * round + 2).await;
        nobody_else_talks(&node).await;
        next.echo(round).await;
        next.hang_up().await;
        assert_eq!((configuration.pending(), connections(&configuration)), (0, before + 1));
    }
    nobody_talks(&node).await;
    cluster.finish().await;
}

async fn nobody_else_talks(node: &Talks) {
    eventually("the end of the old talks", || node.open() == 1).await;
}

/// G2, G4: calls that are cancelled while the peer does not read leave the queue, and the connection as it was: what
/// comes after them goes over the same one.
///
/// After `TestChannelInboundCancelledSendKeepsStream` and `TestChannelCancelledSendKeepsStream`, in which later versions
/// of Gorums took the behaviour of `TestChannelLateCancelWatcherRequeuesPending` back.
async fn a_cancelled_send_keeps_the_connection(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let (dice, to) = (Dice::new(), &configuration.nodes()[0]);
    cluster.faults(1).set(Direction::ToServer, Traffic::StopReading);
    // More than the window of the stream, 4 MiB, so that some of them wait and one is written in part.
    let large = |id| Line { padding: vec![0; 1 << 20], ..line(0, id) };
    let stalled: Vec<_> = (0..7).map(|id| to.rpc(&ASK, large(id)).send()).collect();
    eventually("the first is on its way", || to.stats().queue.sent > 0).await;
    dice.pause(500).await;
    let other = to.rpc(&ASK, line(0, 7)).send();
    drop(stalled);
    assert!(to.stats().queue.queued <= 1, "withdrawn at once, all but the call behind them");
    assert!(to.is_connected() && configuration.pending() == 1);
    cluster.faults(1).set(Direction::ToServer, Traffic::Forward);
    assert_eq!(within("the call behind them", other).await.unwrap(), line(0, 7));
    let counts = to.stats().queue;
    assert_eq!((connections(&configuration), counts.sent + counts.failed, counts.queued), (1, 8, 0));
    let asked = node.asked();
    assert!(asked.len() as u64 <= counts.sent && asked.is_sorted(), "{asked:?}: withdrawn, or out of order");
    cluster.finish().await;
}

/// I3: while the handlers and calls of a connection that broke are cleaned up at both ends, calls on the new one go on:
/// none of them fails, and none of their handlers is told that its caller has gone.
///
/// After `TestAcceptPeerStaleCleanupDoesNotDetachReplacement`.
async fn clean_up_leaves_the_new_connection_alone(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    replace(&node, &configuration, cluster.faults(1).clone()).await;
    assert_eq!(node.cancelled(), 15, "only those of old connections");
    cluster.finish().await;
}

async fn replace(node: &Talks, configuration: &Configuration, faults: gorums_core::testing::Faults) {
    let dice = Dice::new();
    for round in 0..5 {
        let before = connections(configuration);
        let mut old = Vec::new();
        for number in 0..3 {
            old.push(Talk::open(configuration, 10 * round + number).await);
        }
        dice.pause(200).await;
        faults.reset();
        connected_anew(configuration, before).await;
        let mut new = Talk::open(configuration, 10 * round + 5).await;
        for echo in 0..5 {
            new.echo(echo).await;
        }
        for talk in old {
            talk.lost().await;
        }
        nobody_else_talks(node).await;
        new.echo(round).await;
        assert_eq!(node.cancelled(), 3 * (round + 1));
        new.hang_up().await;
        assert_eq!((connections(configuration), configuration.pending()), (before + 1, 0));
    }
    nobody_talks(node).await;
}

/// I3, I7: the same when the node is replaced with its connection; and closing twice is as good as once.
///
/// After `TestAcceptPeerStaleCleanupDoesNotDetachReplacement` and `TestOnConfigChangeCallbackIdempotentCleanup`.
async fn clean_up_of_a_dead_server_leaves_the_new_one_alone(transport: Transport) {
    let (mut cluster, node, configuration) = one_node(transport).await;
    for round in 0..5 {
        let before = connections(&configuration);
        let old = Talk::open(&configuration, 10 * round).await;
        let dead = cluster.server(1).unwrap().clone();
        cluster.restart(1).await;
        connected_anew(&configuration, before).await;
        let mut new = Talk::open(&configuration, 10 * round + 1).await;
        new.echo(round).await;
        old.lost().await;
        within("another end of the dead server", dead.abort()).await;
        new.echo(round + 1).await;
        new.hang_up().await;
    }
    nobody_talks(&node).await;
    configuration.close().await;
    within("another close", configuration.close()).await;
    cluster.finish().await;
}
