//! The end of a connection ends every call on it, soon and with the right kind of error.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gorums_core::testing::Cluster;
use gorums_core::{Configuration, NodeError, NodeErrorKind, QuorumErrorKind, RpcFuture};
use tokio::sync::Barrier;

use crate::common::dice::Dice;
use crate::common::talk::{
    ASK, ASK_AGAIN, Busy, DRAIN, Line, STUBBORN, Talk, Talks, line, nobody_talks, talking,
};
use crate::common::{OnConfiguration, OnNode, Transport, eventually, on_each_transport, within};

on_each_transport!(
    close_with_twenty_busy_talks,
    server_shutdown_with_twenty_busy_talks,
    server_abort_with_twenty_busy_talks,
    race_of_cancel_close_and_socket_kill,
    close_with_handlers_that_wait,
    close_with_handlers_that_listen_to_nobody,
    socket_death_ends_every_call,
    death_of_a_node_ends_every_call,
);

/// The limit that the originals give.
const LIMIT: Duration = Duration::from_secs(5);

/// Waits for the end of something, which takes at least `least` and less than 5 s.
async fn ends_in_time<T>(what: &str, least: Duration, end: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = within(what, end).await;
    let took = start.elapsed();
    assert!((least..LIMIT).contains(&took), "{what} took {took:?}");
    result
}

/// A cluster of one node for which calls wait a short while when it is closed, and that is dialled again soon.
async fn one_node(transport: Transport) -> (Cluster, Talks, Configuration) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let backoff = gorums_core::Backoff { initial: Duration::from_millis(1), max: Duration::from_millis(5) };
    let configuration = cluster.configure(|builder| builder.drain_timeout(DRAIN).backoff(backoff)).unwrap();
    let [node] = nodes.try_into().unwrap_or_else(|_| panic!("one node"));
    (cluster, node, configuration)
}

/// Every call was ended, by the closing of its configuration.
async fn closed(busy: Busy) {
    for ended in busy.ends().await {
        let error = ended.unwrap();
        assert!(matches!(error.kind(), NodeErrorKind::Closed), "{error}");
    }
}

/// Every call was ended, by the loss of its connection.
async fn lost(busy: Busy) {
    for ended in busy.ends().await {
        let error = ended.unwrap();
        assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost) && error.is_ambiguous(), "{error}");
    }
}

/// I7: closing a configuration waits for calls in flight only as long as it was told.
///
/// After `TestStress_ShutdownDuringActivity`.
async fn close_with_twenty_busy_talks(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let busy = Busy::start(&configuration, 20).await;
    ends_in_time("close", DRAIN, configuration.close()).await;
    closed(busy).await;
    let error = configuration.nodes()[0].rpc(&ASK, line(1, 1)).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Closed) && !error.is_ambiguous(), "{error}");
    nobody_talks(&node).await;
    assert_eq!(node.cancelled(), 20);
    cluster.finish().await;
}

/// I7: a server waits for its handlers only as long as it was told.
///
/// After `TestStress_ShutdownDuringActivity`, at the other end.
async fn server_shutdown_with_twenty_busy_talks(transport: Transport) {
    let (mut cluster, node, configuration) = one_node(transport).await;
    let busy = Busy::start(&configuration, 20).await;
    let handle = cluster.server(1).unwrap().clone();
    ends_in_time("shutdown", DRAIN, cluster.stop(1)).await;
    assert_eq!((node.open(), handle.stats().handlers, handle.stats().streams), (0, 0, 0));
    lost(busy).await;
    drop(configuration);
    cluster.finish().await;
}

/// I7: a server that is to end at once waits for nobody.
///
/// After `TestStress_ShutdownDuringActivity`, at the other end.
async fn server_abort_with_twenty_busy_talks(transport: Transport) {
    let (mut cluster, node, configuration) = one_node(transport).await;
    let busy = Busy::start(&configuration, 20).await;
    let handle = cluster.server(1).unwrap().clone();
    ends_in_time("abort", Duration::ZERO, handle.abort()).await;
    assert_eq!((node.open(), handle.stats().handlers, handle.stats().streams), (0, 0, 0));
    lost(busy).await;
    cluster.stop(1).await;
    drop(configuration);
    cluster.finish().await;
}

/// I1, I7: however the end of a caller, of its configuration and of its connection coincide, everything ends.
///
/// After `TestStress_ConcurrentCancelCloseTransportClose`.
async fn race_of_cancel_close_and_socket_kill(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let busy = Busy::start(&configuration, 10).await;
    let (dice, start) = (Dice::new(), Arc::new(Barrier::new(3)));
    let cancel = {
        let (cancels, dice, start) = (busy.cancels.clone(), dice.of_task(1), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            for cancel in cancels {
                dice.pause(30).await;
                cancel.cancel();
            }
        })
    };
    let close = {
        let (configuration, dice, start) = (configuration.clone(), dice.of_task(2), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            dice.pause(300).await;
            configuration.close().await;
        })
    };
    let kill = {
        let (faults, dice) = (cluster.faults(1).clone(), dice.of_task(3));
        tokio::spawn(async move {
            start.wait().await;
            dice.pause(300).await;
            faults.reset();
        })
    };
    for ended in ends_in_time("all three", Duration::ZERO, join_all([cancel, close, kill])).await {
        ended.unwrap();
    }
    for error in busy.ends().await.into_iter().flatten() {
        let kind = error.kind();
        assert!(matches!(kind, NodeErrorKind::Closed | NodeErrorKind::ConnectionLost), "{error}");
    }
    assert_eq!((configuration.pending(), configuration.nodes()[0].pending()), (0, 0));
    nobody_talks(&node).await;
    cluster.finish().await;
}

/// I7: calls whose handlers wait for their callers end with the configuration.
///
/// After `TestMultiplex_ConnCloseWithActiveStreams`.
async fn close_with_handlers_that_wait(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let mut talks = Vec::new();
    for number in 0..3 {
        talks.push(Talk::open(&configuration, number).await);
    }
    ends_in_time("close", DRAIN, configuration.close()).await;
    for talk in talks {
        let error = talk.error().await;
        assert!(matches!(error.kind(), NodeErrorKind::Closed), "{error}");
    }
    nobody_talks(&node).await;
    assert_eq!(node.cancelled(), 3);
    cluster.finish().await;
}

async fn kinds(calls: Vec<RpcFuture<Line>>) -> Vec<NodeError> {
    join_all(calls).await.into_iter().map(Result::unwrap_err).collect()
}

/// I7: and so they do if the handlers do not care. Neither end waits for such a handler when it shuts down.
///
/// After `TestMultiplex_ConnCloseWithActiveStreams`, whose handlers do care.
async fn close_with_handlers_that_listen_to_nobody(transport: Transport) {
    let (mut cluster, node, configuration) = one_node(transport).await;
    node.set_gate(false);
    let call = |number| configuration.nodes()[0].rpc(&STUBBORN, line(number, 0)).timeout(10 * LIMIT).send();
    let calls = (0..3).map(call).collect();
    eventually("handlers", || node.stubborn.load(SeqCst) == 3).await;
    ends_in_time("close", DRAIN, configuration.close()).await;
    for error in within("the calls", kinds(calls)).await {
        assert!(matches!(error.kind(), NodeErrorKind::Closed) && error.is_ambiguous(), "{error}");
    }
    let handle = cluster.server(1).unwrap().clone();
    assert_eq!(handle.stats().handlers, 3, "they still wait");
    ends_in_time("shutdown", DRAIN, cluster.stop(1)).await;
    assert_eq!(handle.stats().handlers, 0);
    cluster.finish().await;
}

/// Calls of every kind whose handlers wait at a node that takes part in no quorum: what they may end with.
struct Waiting {
    talks: Vec<Talk>,
    once: RpcFuture<Line>,
    again: RpcFuture<Line>,
    quorum: gorums_core::Replies<Line>,
}

impl Waiting {
    /// Waits until the handlers of all calls but the idempotent one have started.
    async fn start(configuration: &Configuration, node: &Talks) -> Self {
        let mut talks = Vec::new();
        for number in 0..3 {
            talks.push(Talk::open(configuration, number).await);
        }
        talks[0].echo(1).await;
        node.set_gate(false);
        let quorum = configuration.quorum_call(&ASK, line(10, 1)).timeout(10 * LIMIT).send();
        let rpc = |method, value| {
            let call = configuration.nodes()[0].rpc(method, line(10, value));
            call.wait_for_ready(true).timeout(10 * LIMIT).send()
        };
        let (once, again) = (rpc(&ASK, 2), rpc(&ASK_AGAIN, 3));
        let sent = || configuration.nodes()[0].stats().queue.queued == 0;
        eventually("sent", || sent() && node.asked() == [1]).await;
        Self { talks, once, again, quorum }
    }

    /// What could be handled twice is lost, and what may be is sent again.
    async fn end(self, node: &Talks) {
        for talk in self.talks {
            talk.lost().await;
        }
        let error = within("the rpc", self.once).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost) && error.is_ambiguous(), "{error}");
        let error = within("the quorum call", self.quorum.all()).await.unwrap_err();
        assert_eq!((error.kind(), error.replies()), (QuorumErrorKind::Incomplete, 0));
        let [lost] = error.nodes() else { panic!("{error}") };
        assert!(matches!(lost.kind(), NodeErrorKind::ConnectionLost) && lost.node() == 1, "{error}");
        node.set_gate(true);
        assert_eq!(within("the idempotent rpc", self.again).await.unwrap(), line(10, 3));
    }
}

/// G3, G5: a connection that breaks ends every call on it as lost, both for the caller and for the handler, but for
/// those that may be sent again.
///
/// After `TestMultiplex_TransportCloseTerminatesAllStreams` and `TestTransport_ErrorCausesCancel`.
async fn socket_death_ends_every_call(transport: Transport) {
    let (cluster, node, configuration) = one_node(transport).await;
    let waiting = Waiting::start(&configuration, &node).await;
    cluster.faults(1).reset();
    waiting.end(&node).await;
    eventually("the handlers are told", || node.cancelled() == 3 && node.open() == 0).await;
    assert_eq!((configuration.pending(), configuration.nodes()[0].stats().connections), (0, 2));
    cluster.finish().await;
}

/// G3, G5: the same when the node dies with the connection, and comes back.
///
/// After `TestMultiplex_TransportCloseTerminatesAllStreams`.
async fn death_of_a_node_ends_every_call(transport: Transport) {
    let (mut cluster, node, configuration) = one_node(transport).await;
    let waiting = Waiting::start(&configuration, &node).await;
    ends_in_time("restart", Duration::ZERO, cluster.restart(1)).await;
    waiting.end(&node).await;
    assert_eq!((node.open(), configuration.pending()), (0, 0));
    cluster.finish().await;
}
