//! A reply that has come is seen, and a caller that does not look holds nobody up.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use gorums_core::testing::Cluster;
use gorums_core::{Code, Configuration, MailboxOverflow, Replies, RpcFuture};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::common::dice::Dice;
use crate::common::talk::{ASK, BAD, COUNT, Line, STUBBORN, Talks, is_late, line, talking};
use crate::common::{OnConfiguration, OnNode, Transport, eventually, on_each_transport, within};

on_each_transport!(
    a_reply_is_preferred_to_the_deadline,
    a_reply_is_preferred_to_the_loss_of_the_connection,
    a_reply_is_preferred_to_close,
    replies_race_with_deadlines,
    cancelled_callers_never_block_the_reader,
);

async fn one_node(transport: Transport) -> (Cluster, Talks, Configuration) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    let [node] = nodes.try_into().unwrap_or_else(|_| panic!("one node"));
    (cluster, node, configuration)
}

/// A call of each kind, at which nobody has looked yet. Their handlers wait at the gate of the node.
struct Unseen {
    rpc: RpcFuture<Line>,
    quorum: Replies<Line>,
    each: Replies<Line>,
    refused: RpcFuture<Line>,
}

impl Unseen {
    fn start(configuration: &Configuration, timeout: Duration) -> Self {
        let rpc = |value| configuration.nodes()[0].rpc(&STUBBORN, line(0, value)).timeout(timeout).send();
        let quorum_call =
            |value| configuration.quorum_call(&STUBBORN, line(0, value)).timeout(timeout).send();
        Self { rpc: rpc(1), quorum: quorum_call(2), each: quorum_call(3), refused: rpc(BAD) }
    }

    /// Looks, now that the replies have come and something else has happened besides.
    async fn look(mut self) {
        assert_eq!(within("the rpc", self.rpc).await.unwrap(), line(0, 1));
        assert_eq!(within("the quorum call", self.quorum.all()).await.unwrap(), line(0, 2));
        let reply = within("a reply", self.each.next()).await.unwrap();
        assert_eq!(reply.result.unwrap(), line(0, 3));
        assert!(within("the end of the replies", self.each.next()).await.is_none());
        let error = within("the rpc that is refused", self.refused).await.unwrap_err();
        assert_eq!(error.status().map(gorums_core::Status::code), Some(Code::InvalidArgument), "{error}");
    }
}

/// Waits until the node owes no reply: all have been delivered.
async fn delivered(configuration: &Configuration) {
    eventually("delivery", || configuration.nodes()[0].pending() == 0).await;
}

/// I6: replies that came are seen, although `what` happened before anybody looked.
async fn seen_in_spite_of(configuration: &Configuration, what: impl Future<Output = ()>) {
    let unseen = Unseen::start(configuration, Duration::from_secs(60));
    delivered(configuration).await;
    what.await;
    unseen.look().await;
    assert_eq!(configuration.pending(), 0);
}

/// I6: a reply, or an error, that comes when the deadline has passed, but before its caller looks, is seen.
///
/// After `TestRouterDeliverPendingPrefersDeliveryWhenCanceledAndReplyChanReady` and
/// `TestReplyErrorPrefersDeliveryWhenCanceledAndReplyChanReady`.
async fn a_reply_is_preferred_to_the_deadline(transport: Transport) {
    // Not all handlers may start in time on a busy machine, and then the node refuses the rest of the requests. What it has
    // started replies late: the next attempt is at another one.
    for timeout in (0..10).map(|doublings| Duration::from_millis(10 << doublings)) {
        let (cluster, node, configuration) = one_node(transport).await;
        node.set_gate(false);
        let unseen = Unseen::start(&configuration, timeout);
        let deadline = Instant::now() + timeout;
        let started = || node.stubborn.load(SeqCst) == 4;
        eventually("the handlers", || started() || Instant::now() > deadline).await;
        let in_time = started();
        sleep_until(deadline + Duration::from_millis(1)).await;
        node.set_gate(true);
        if in_time {
            delivered(&configuration).await;
            unseen.look().await;
            let late = configuration.nodes()[0].stats().late_replies;
            assert_eq!((configuration.pending(), late), (0, 0));
            return cluster.finish().await;
        }
        drop(unseen);
        cluster.finish().await;
    }
    panic!("the handlers do not start within 5 s");
}

/// I6: a reply that came before the connection broke is seen.
///
/// After `TestRouterDeliverPendingPrefersDeliveryWhenCanceledAndReplyChanReady`.
async fn a_reply_is_preferred_to_the_loss_of_the_connection(transport: Transport) {
    let (cluster, _, configuration) = one_node(transport).await;
    let cut = async {
        cluster.faults(1).reset();
        eventually("the loss", || !configuration.nodes()[0].is_connected()).await;
    };
    seen_in_spite_of(&configuration, cut).await;
    cluster.finish().await;
}

/// I6: a reply that came before the configuration was closed is seen.
///
/// After `TestRouterDeliverPendingPrefersDeliveryWhenCanceledAndReplyChanReady`.
async fn a_reply_is_preferred_to_close(transport: Transport) {
    let (cluster, _, configuration) = one_node(transport).await;
    seen_in_spite_of(&configuration, configuration.close()).await;
    cluster.finish().await;
}

/// I1, I6: when replies and deadlines meet, each call ends in one of the two, and with the reply if it was there.
///
/// After `TestRouterDeliverPendingPrefersDeliveryWhenCanceledAndReplyChanReady`.
async fn replies_race_with_deadlines(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let (dice, to) = (Dice::new(), &configuration.nodes()[0]);
    for round in 0..10 {
        node.set_gate(false);
        let start = Instant::now();
        let timeout = Duration::from_micros(dice.number(1_000..4_000));
        let call = to.rpc(&ASK, line(round, round)).timeout(timeout).send();
        dice.pause(4_000).await;
        node.set_gate(true);
        dice.pause(500).await;
        let came = to.pending() == 0;
        match within("a call", call).await {
            Ok(reply) => assert_eq!(reply, line(round, round)),
            Err(error) => {
                // The node itself may have found that it is too late.
                let by_node = error.status().is_some() || error.source().is_some();
                assert!(!came || by_node, "a reply was there: {error}");
                assert!(is_late(&error) && start.elapsed() >= timeout, "{error} after {:?}", start.elapsed());
            }
        }
        assert_eq!((configuration.pending(), to.pending()), (0, 0));
    }
    assert_eq!(to.stats().connections, 1);
    cluster.finish().await;
}

/// G2, I6: callers that do not read their replies, and then give up at some moment, keep the connection's reader from
/// nothing: other calls are answered all the while.
///
/// After `TestRouterDeliverPendingDoesNotBlockOnCanceledRequest` and `TestReplyErrorDoesNotBlockOnCanceledRequest`.
async fn cancelled_callers_never_block_the_reader(transport: Transport) {
    let (cluster, _, configuration) = one_node(transport).await;
    let (dice, to, mut tasks) = (Dice::new(), &configuration.nodes()[0], JoinSet::new());
    for task in 0..20 {
        let (configuration, dice) = (configuration.clone(), dice.of_task(task));
        tasks.spawn(async move {
            for _ in 0..3 {
                let overflow =
                    if dice.number(0..2) == 0 { MailboxOverflow::Fail } else { MailboxOverflow::KeepNewest };
                let call = configuration.streaming_call(&COUNT, line(task, 0)).mailbox(1, overflow);
                let unread = call.no_timeout().send();
                dice.pause(1_000).await;
                drop(unread);
            }
        });
    }
    let mut answered = 0;
    while answered < 20 || !tasks.is_empty() {
        assert_eq!(within("a call", to.rpc(&ASK, line(0, answered))).await.unwrap(), line(0, answered));
        answered += 1;
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
    }
    assert_eq!((configuration.pending(), to.pending(), to.stats().connections), (0, 0, 1));
    cluster.finish().await;
}
