//! Connections that break, hang, and come back, over real sockets.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Cluster, ECHO, NOTE, OnConfiguration, OnNode, SAFE, eventually, number, text, within};
use futures_util::future::join_all;
use gorums_core::testing::{Network, Proxy, Traffic};
use gorums_core::{Backoff, Configuration, NodeErrorKind, QuorumErrorKind, Server};

const MS: Duration = Duration::from_millis(1);

struct Proxied {
    cluster: Cluster,
    proxies: Vec<Proxy>,
    configuration: Configuration,
}

/// Nodes behind proxies, with a fast keepalive and back-off.
async fn proxied(size: u64) -> Proxied {
    let cluster = Cluster::start(size).await;
    let proxies: Vec<_> = join_all(cluster.addresses.iter().map(|&address| Proxy::start(address))).await;
    let proxies: Vec<_> = proxies.into_iter().map(Result::unwrap).collect();
    let configuration = Configuration::builder()
        .nodes(proxies.iter().map(|proxy| proxy.address().to_string()))
        .keepalive(200 * MS, 100 * MS)
        .backoff(Backoff { initial: 5 * MS, max: 50 * MS })
        .timeout(Duration::from_secs(10))
        .connect()
        .await
        .unwrap();
    Proxied { cluster, proxies, configuration }
}

/// The failure of the redpanda operator: a peer whose packets vanish, with no word to anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_disturbs_nobody_else_and_is_noticed() {
    let Proxied { cluster, proxies, configuration } = proxied(3).await;
    configuration.quorum_call(&ECHO, text("warm up")).all().await.unwrap();
    proxies[2].set_both(Traffic::Hold);
    let held = Instant::now();
    let all = configuration.quorum_call(&ECHO, text("x")).timeout(100 * MS).all();
    let error = within("all", all).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded);
    assert_eq!((error.replies(), error.nodes()[0].node().get()), (2, 3));
    for _ in 0..1_000 {
        within("majority", configuration.quorum_call(&ECHO, text("x")).majority()).await.unwrap();
    }
    let node = &configuration.nodes()[2];
    eventually("keepalive", || !node.is_connected()).await;
    assert!(held.elapsed() >= 100 * MS, "given up before a ping could have been missed");
    // Healed: the next delivery follows soon.
    proxies[2].set_both(Traffic::Forward);
    let before = cluster.nodes[2].seen.texts.lock().unwrap().len();
    let healed = node.rpc(&ECHO, text("healed")).wait_for_ready(true);
    within("healed", healed).await.unwrap();
    assert!(cluster.nodes[2].seen.texts.lock().unwrap().len() > before);
    assert_eq!(configuration.pending(), 0);
}

/// G5: each request that was acknowledged ran once, each that was lost at most once, and those that may be
/// sent again all succeed; in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_lose_nothing_silently_and_repeat_nothing() {
    let Proxied { cluster, proxies, configuration } = proxied(1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let resetting = tokio::spawn({
        let (stop, proxy) = (stop.clone(), proxies.into_iter().next().unwrap());
        async move {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(3 * MS).await;
                proxy.reset();
            }
            proxy
        }
    });
    let node = configuration.node(1).unwrap();
    let (mut acknowledged, mut lost, mut unsent) = (Vec::new(), Vec::new(), 0);
    for batch in 0..200_u64 {
        let idempotent = batch % 2 == 1;
        let method = if idempotent { &SAFE } else { &ECHO };
        let calls: Vec<_> = (0..10)
            .map(|call| batch * 10 + call)
            .map(|id| (id, node.rpc(method, number(id)).wait_for_ready(true).send()))
            .collect();
        for (id, call) in calls {
            match within("call", call).await {
                Ok(_) => acknowledged.push(id),
                Err(error) if idempotent => panic!("call {id}: {error}"),
                Err(error) => match error.kind() {
                    NodeErrorKind::ConnectionLost => lost.push(id),
                    other => {
                        assert!(!error.is_ambiguous(), "{other}");
                        unsent += 1;
                    }
                },
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let _proxy = resetting.await.unwrap();
    let connections = node.stats().connections;
    assert!(connections > 10, "the connection broke {connections} times: not enough to prove anything");
    let mut runs: HashMap<u64, u64> = HashMap::new();
    let seen = cluster.seen(0);
    for id in &seen {
        *runs.entry(*id).or_default() += 1;
    }
    for id in &acknowledged {
        let count = runs.get(id).copied().unwrap_or(0);
        assert!(if id / 10 % 2 == 1 { count >= 1 } else { count == 1 }, "call {id} ran {count} times");
    }
    for id in &lost {
        assert!(runs.get(id).copied().unwrap_or(0) <= 1, "lost call {id} ran more than once");
    }
    assert_eq!(acknowledged.len() + lost.len() + unsent, 2_000);
    // Order: leaving out what ran again, first runs come in order.
    let mut first = std::collections::HashSet::new();
    let firsts: Vec<_> = seen.iter().copied().filter(|id| first.insert(*id)).collect();
    assert!(firsts.is_sorted(), "out of order");
    let counts = node.stats().queue;
    assert_eq!(counts.offered, counts.sent + counts.dropped + counts.failed + counts.queued);
    assert_eq!(configuration.pending(), 0);
}

/// A node that is restarted again and again, in memory: no lost wake-up, nothing left behind.
#[tokio::test]
async fn a_node_that_restarts_is_found_again() {
    let network = Network::new();
    let node = common::Test::new(1);
    let configuration = Configuration::builder()
        .nodes(["node:1"])
        .connector(network.clone())
        .backoff(Backoff { initial: MS, max: 5 * MS })
        .connect_lazy()
        .unwrap();
    for round in 0..100 {
        let listener = network.listen("node:1");
        let faults = listener.faults();
        let server = Server::builder().add_service(node.clone());
        let serving = tokio::spawn(server.serve_with_incoming(listener));
        let call = configuration.nodes()[0].rpc(&SAFE, number(round)).wait_for_ready(true);
        within("call after a restart", call).await.unwrap();
        serving.abort();
        faults.reset();
        assert_eq!(configuration.pending(), 0);
    }
    assert_eq!(*node.seen.numbers.lock().unwrap(), (0..100).collect::<Vec<_>>());
    within("close", configuration.close()).await;
}

/// A peer that stops reading: its queue fills, calls on it fail at once, and the others do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_reading_costs_a_bounded_queue() {
    let Proxied { cluster, proxies, configuration } = proxied(3).await;
    let patient = Configuration::builder()
        .nodes(proxies.iter().map(|proxy| proxy.address().to_string()))
        .keepalive(Duration::from_secs(60), Duration::from_secs(60))
        .connect()
        .await
        .unwrap();
    drop(configuration);
    proxies[2].set_both(Traffic::Hold);
    let big = || text(&"x".repeat(64 << 10));
    for _ in 0..400 {
        within("majority", patient.quorum_call(&ECHO, big()).majority()).await.unwrap();
    }
    let stats = patient.nodes()[2].stats();
    assert!(stats.queue.queued_bytes <= 1 << 20, "{stats:?}");
    assert!(stats.queue.failed > 0, "the queue never filled: {stats:?}");
    let error = patient.nodes()[2].unicast(&NOTE, big()).send().unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::QueueFull), "{error}");
    assert_eq!(cluster.nodes[0].seen.texts.lock().unwrap().len(), 400);
    assert_eq!(patient.pending(), 0);
}
