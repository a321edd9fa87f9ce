//! A node that is restarted again and again while it is used.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use gorums_core::testing::{Cluster, Traffic};
use gorums_core::{Configuration, NodeErrorKind, NodeId, Overflow, Server};
use rand::Rng;
use tokio::time::{Instant, sleep};

use crate::common::{OnConfiguration, OnNode, Transport, within};
use crate::tools::*;

const RESTARTED: u32 = 3;
const RESTARTS: u32 = 100;
/// The senders of the load.
const SENDERS: u32 = 4;

/// The services of each start of a node that is restarted, so that each has its own record.
#[derive(Clone, Default)]
struct Starts(Arc<std::sync::Mutex<Vec<Soak>>>);

impl Starts {
    fn next(&self) -> Soak {
        let soak = Soak::keeping();
        self.0.lock().unwrap().push(soak.clone());
        soak
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_restarted_under_load_over_tcp() {
    let _alone = alone().await;
    storm(Transport::Tcp, SENDERS, length(20, RESTARTS)).await;
}

#[tokio::test]
async fn a_node_is_restarted_under_load_over_tcp_on_one_thread() {
    let _alone = alone().await;
    storm(Transport::Tcp, SENDERS, length(20, RESTARTS)).await;
}

/// In simulated time, as often as it is to be.
#[tokio::test(start_paused = true)]
async fn a_node_is_restarted_under_load_in_memory() {
    storm(Transport::Memory, SENDERS, RESTARTS).await;
}

/// Without a load, which would wake up what has slept through the reconnect.
#[tokio::test(start_paused = true)]
async fn a_node_is_restarted_in_silence() {
    storm(Transport::Memory, 0, RESTARTS).await;
}

/// G1, G2, G4, G5 and I3: after each restart a call to the node succeeds soon; majority calls never notice; within
/// one life of the node, which is one connection, messages of each sender are in order; nothing is left.
async fn storm(transport: Transport, senders: u32, restarts: u32) {
    let starts = Starts::default();
    let (of_restarted, others) = (starts.clone(), Soak::default());
    let server = move |id: NodeId| {
        let soak = if id.get() == RESTARTED { of_restarted.next() } else { others.clone() };
        Server::builder().add_service(soak)
    };
    let mut cluster = match transport {
        Transport::Memory => Cluster::in_memory(3, server).await,
        Transport::Tcp => Cluster::over_tcp(3, server).await,
    };
    // Something is always on its way.
    cluster.faults(RESTARTED).set_both(Traffic::Delay(2 * MS));
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    let node = configuration.node(RESTARTED).unwrap().clone();
    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load: Vec<_> = (1..=senders)
        .map(|sender| tokio::spawn(load(configuration.clone(), sender, stop.clone(), failed.clone())))
        .collect();
    let mut slowest = Duration::ZERO;
    for restart in 1..=u64::from(restarts) {
        let pause = 20 * MS.mul_f64(rand::rng().random_range(0.0..1.0));
        sleep(pause).await;
        cluster.restart(RESTARTED).await;
        let start = Instant::now();
        // Not known to be down, known to be down, or already back: wherever the restart has left it.
        let call = node.rpc(&SAFE, item(SENDERS + 1, restart)).wait_for_ready(true).timeout(60 * SECOND);
        within("call after a restart", call).await.unwrap();
        slowest = slowest.max(start.elapsed());
    }
    stop.store(true, Relaxed);
    let calls: u64 = join_all(load).await.into_iter().map(Result::unwrap).sum();

    let (connections, failed) = (node.stats().connections, failed.load(Relaxed));
    report(
        &format!("a node that is restarted, {transport:?}"),
        &format!(
            "{restarts} times under {calls} calls, of which {failed} failed on it; {connections} connections; a call \
             succeeded at most {slowest:?} after each"
        ),
    );
    // The back-off grows only while dials fail, and the node was not away for long.
    assert!(slowest < SECOND, "a call succeeded only {slowest:?} after a restart");
    assert!(
        connections > u64::from(restarts),
        "{connections} connections: the node was not really restarted"
    );
    assert!(failed > 0 || senders == 0, "no call was in flight when the node was restarted");
    let starts = starts.0.lock().unwrap().split_off(0);
    assert_eq!(starts.len() as u32, restarts + 1);
    for (start, soak) in starts.iter().enumerate() {
        let handled = soak.handled.lock().unwrap();
        assert_eq!(handled.disorder, [], "sender, number, number before, in life {start}");
    }
    assert_handled_once(&starts);
    assert_counters_add_up(&configuration);
    assert_eq!(configuration.pending(), 0);
    drop((configuration, node));
    cluster.finish().await;
}

/// Calls of all kinds; on the node that is restarted they may fail, on the others not.
async fn load(
    configuration: Configuration,
    sender: u32,
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU32>,
) -> u64 {
    let node = configuration.node(RESTARTED).unwrap().clone();
    let mut number = 0;
    let mut next = || {
        number += 1;
        item(sender, number)
    };
    while !stop.load(Relaxed) {
        // One after the other, without waiting, so that each kind of call has others before and behind it.
        let majority = configuration.quorum_call(&CALL, next()).send();
        let send = |item| node.unicast(&NOTE, item).overflow(Overflow::DropNewest).send();
        let again = |item| node.rpc(&SAFE, item).wait_for_ready(true).timeout(60 * SECOND).send();
        let _ = send(next());
        let once = node.rpc(&CALL, next()).send();
        let first = again(next());
        let _ = send(next());
        let second = again(next());
        within("majority", majority.majority()).await.unwrap();
        if let Err(error) = within("call", once).await {
            let expected = matches!(error.kind(), NodeErrorKind::ConnectionLost | NodeErrorKind::Unavailable);
            assert!(expected, "{error}");
            failed.fetch_add(1, Relaxed);
        }
        for call in [first, second] {
            within("a call that may be repeated", call).await.unwrap();
        }
        sleep(MS).await;
    }
    number
}

/// G5: what may not be repeated was handled once over all lives of the node. Of six messages of a sender, the fourth
/// and the sixth may be.
fn assert_handled_once(starts: &[Soak]) {
    let mut runs: HashMap<(u32, u64), u32> = HashMap::new();
    for soak in starts {
        let handled = soak.handled.lock().unwrap();
        for run in
            handled.all.iter().flatten().filter(|run| run.0 <= SENDERS && matches!(run.1 % 6, 1 | 2 | 3 | 5))
        {
            *runs.entry(*run).or_default() += 1;
        }
    }
    let repeated: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}
