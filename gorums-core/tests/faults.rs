//! Connections that break, hang, and come back, over real sockets.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Cluster, ECHO, NOTE, OnConfiguration, OnNode, SAFE, Transport, faulty, number, text, within};
use futures_util::future::{BoxFuture, join_all};
use gorums_core::testing::{Direction, Network, Proxy, Traffic};
use tokio::time::{Instant, sleep};

use gorums_core::{Backoff, BoxedIo, Configuration, NodeErrorKind, QuorumErrorKind, Server};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

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

/// The failure of the redpanda operator: a peer whose packets vanish, with no word to anybody. The clock is
/// paused, so that the times are exact.
#[tokio::test(start_paused = true)]
async fn a_black_hole_disturbs_nobody_else_and_is_noticed() {
    let network = Network::new();
    let nodes: Vec<_> = (1..=3).map(common::Test::new).collect();
    let mut faults = Vec::new();
    for node in &nodes {
        let listener = network.listen(format!("node{}:1", node.id));
        faults.push(listener.faults());
        tokio::spawn(Server::builder().add_service(node.clone()).serve_with_incoming(listener));
    }
    let configuration = Configuration::builder()
        .nodes(["node1:1", "node2:1", "node3:1"])
        .connector(network)
        .connect()
        .await
        .unwrap();
    configuration.quorum_call(&ECHO, text("warm up")).all().await.unwrap();
    faults[2].set_both(Traffic::Hold);
    let held = Instant::now();
    let all = configuration.quorum_call(&ECHO, text("x")).timeout(SECOND).all();
    let error = all.await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded);
    assert_eq!((error.replies(), error.nodes()[0].node().get()), (2, 3));
    assert!((SECOND..SECOND + 10 * MS).contains(&held.elapsed()), "{:?}", held.elapsed());
    for _ in 0..1_000 {
        configuration.quorum_call(&ECHO, text("x")).majority().await.unwrap();
    }
    assert!(held.elapsed() < SECOND + 10 * MS, "majorities waited for the black hole");
    let node = &configuration.nodes()[2];
    while node.is_connected() {
        sleep(10 * MS).await;
    }
    let noticed = held.elapsed();
    assert!((10 * SECOND..14 * SECOND).contains(&noticed), "{noticed:?}");
    // Healed: the next delivery follows soon, whatever had queued up.
    sleep(60 * SECOND).await;
    faults[2].set_both(Traffic::Forward);
    let healed = Instant::now();
    node.rpc(&ECHO, text("healed")).wait_for_ready(true).timeout(60 * SECOND).await.unwrap();
    assert!(healed.elapsed() < 6 * SECOND, "{:?}", healed.elapsed());
    assert_eq!(nodes[2].seen.texts.lock().unwrap().last().unwrap(), "healed");
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
                sleep(3 * MS).await;
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
    // Order: what was acknowledged ran in order, leaving out what ran again. (What was lost may run late, when
    // the node reads what is left of the old stream.)
    let mut first = std::collections::HashSet::new();
    let acknowledged: std::collections::HashSet<_> = acknowledged.into_iter().collect();
    let firsts: Vec<_> =
        seen.iter().copied().filter(|id| acknowledged.contains(id) && first.insert(*id)).collect();
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
    assert!(stats.queue.dropped > 0, "the queue never filled: {stats:?}");
    // What is left of calls that have succeeded gives way to new ones, and then the queue is full.
    let mut sent = (0..20).map(|_| patient.nodes()[2].unicast(&NOTE, big()).send());
    assert!(sent.next().unwrap().is_ok());
    let error = sent.find_map(Result::err).unwrap();
    assert!(matches!(error.kind(), NodeErrorKind::QueueFull), "{error}");
    assert_eq!(cluster.nodes[0].seen.texts.lock().unwrap().len(), 400);
    assert_eq!(patient.pending(), 0);
}

/// G7: a peer is not dead while anything comes from it, though the answer to a ping be stuck behind a long message.
#[tokio::test(start_paused = true)]
async fn a_long_message_over_a_slow_link_is_no_death() {
    let (mut cluster, _) = faulty(Transport::Memory, 1).await;
    let configuration = cluster.configure(|builder| builder.timeout(60 * SECOND)).unwrap();
    let node = configuration.node(1).unwrap();
    node.rpc(&ECHO, text("warm up")).await.unwrap();
    let long = "x".repeat(3_000_000);
    for slow in [Direction::ToClient, Direction::ToServer] {
        cluster.faults(1).set_both(Traffic::Forward);
        cluster.faults(1).set(slow, Traffic::Limit(100_000));
        let start = Instant::now();
        assert_eq!(node.rpc(&ECHO, text(&long)).await.unwrap().text.len(), long.len());
        assert!(start.elapsed() > 25 * SECOND, "{:?}: not slow enough to prove anything", start.elapsed());
        assert_eq!(node.stats().connections, 1);
    }
    cluster.finish().await;
}

/// G8: what a handler detaches outlives the caller and the handler, and not its limit.
#[tokio::test(start_paused = true)]
async fn detached_work_goes_on_within_its_limit() {
    let (mut cluster, nodes) = faulty(Transport::Memory, 1).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap();
    for (command, done) in [("detach:2000", true), ("detach:4000", false)] {
        node.rpc(&ECHO, text(command)).timeout(SECOND).await.unwrap();
        assert_eq!(cluster.server(1).unwrap().stats().detached, 1);
        sleep(3500 * MS).await;
        assert_eq!(cluster.server(1).unwrap().stats().detached, 0);
        assert_eq!(nodes[0].seen.detached.swap(false, Ordering::SeqCst), done, "{command}");
    }
    cluster.finish().await;
}

/// A node that is down is dialled with a back-off, however many requests there are for it.
#[tokio::test(start_paused = true)]
async fn requests_do_not_dial() {
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = dials.clone();
    let connector = move |_: Arc<str>| -> BoxFuture<'static, std::io::Result<BoxedIo>> {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) })
    };
    let configuration =
        Configuration::builder().nodes(["node:1"]).connector(connector).connect_lazy().unwrap();
    let node = configuration.node(1).unwrap();
    let start = Instant::now();
    while start.elapsed() < 60 * SECOND {
        let error = node.rpc(&ECHO, text("x")).timeout(SECOND).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
        sleep(MS).await;
    }
    // 100 ms doubled to 5 s, half of that on average: 6 dials in the first 3 s, then one in 2.5 s.
    let dials = dials.load(Ordering::Relaxed);
    assert!((12..80).contains(&dials), "{dials} dials in a minute");
    configuration.close().await;
}

/// I7: nothing is waited for, and every call ends.
#[tokio::test(start_paused = true)]
async fn an_abort_ends_calls_at_once() {
    let (mut cluster, _) = faulty(Transport::Memory, 2).await;
    let configuration = cluster.configure(|builder| builder.drain_timeout(60 * SECOND)).unwrap();
    configuration.quorum_call(&ECHO, text("warm up")).all().await.unwrap();
    let start = Instant::now();
    let call = tokio::spawn(configuration.quorum_call(&ECHO, text("sleep:3000")).all().into_future());
    let closing = tokio::spawn({
        let configuration = configuration.clone();
        async move { configuration.close().await }
    });
    sleep(SECOND).await;
    assert!(!closing.is_finished(), "closing does not wait for the call");
    configuration.abort().await;
    closing.await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert!(error.nodes().iter().all(|error| matches!(error.kind(), NodeErrorKind::Closed)), "{error}");
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    cluster.finish().await;
}
