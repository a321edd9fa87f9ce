//! Processes in network namespaces, where the packets of one of them vanish: dropped by the kernel, with no word to anybody.
//!
//! The test runs itself again in a namespace with a bridge; the nodes have a namespace each. None of them has a name, so
//! that nothing is left of them when the processes are gone. It takes root, and the commands ip, iptables, unshare and
//! nsenter; without them the test is skipped with a message, unless `GORUMS_NETNS=1` demands it.
#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

mod common;

#[path = "processes/cluster.rs"]
mod cluster;
#[path = "packets/namespace.rs"]
mod namespace;

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{MS, SECOND, length, percentile, report};
use namespace::Node;
use raft::proto::{NodeStatus, PeerStatus};
use raft::{Client, Consistency};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// This test, for the harness.
const TEST: &str = "a_peer_whose_packets_are_dropped_disturbs_nobody";

#[test]
fn a_peer_whose_packets_are_dropped_disturbs_nobody() {
    if namespace::is_inside() {
        namespace::make_bridge();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(black_hole());
    }
    match namespace::missing() {
        Some(reason) if std::env::var_os("GORUMS_NETNS").is_some() => {
            panic!("no network namespaces: {reason}")
        }
        Some(reason) => {
            report("packets that vanish", &format!("skipped, as there are no network namespaces: {reason}"));
        }
        None => namespace::run_inside(TEST),
    }
}

/// The status of the confirmed leader.
async fn leader(client: &Client) -> NodeStatus {
    let found = async {
        loop {
            for id in 1..=3 {
                if let Ok(status) = client.status(id).await
                    && status.confirmed
                {
                    return status;
                }
            }
            sleep(20 * MS).await;
        }
    };
    timeout(30 * SECOND, found).await.expect("a leader is elected in time")
}

fn peer(status: &NodeStatus, id: u32) -> &PeerStatus {
    status.peers.iter().find(|peer| peer.node == id).unwrap()
}

/// The latencies of puts and of gets.
type Latencies = Arc<Mutex<[Vec<Duration>; 2]>>;

/// Puts and gets, one after the other, until it is told to stop. None may fail.
async fn call(client: Client, number: u32, latencies: Latencies, done: Arc<AtomicBool>) {
    let key = format!("caller/{number}");
    for step in 0_u64.. {
        if done.load(Relaxed) {
            return;
        }
        let begun = Instant::now();
        if step % 2 == 0 {
            client.put(key.clone(), step.to_string()).await.unwrap();
        } else {
            let found = client.get(key.clone(), Consistency::Linearizable).await.unwrap();
            assert_eq!(found.value.unwrap(), (step - 1).to_string());
        }
        latencies.lock().unwrap()[(step % 2) as usize].push(begun.elapsed());
        sleep(10 * MS).await;
    }
}

async fn black_hole() {
    let nodes: Vec<_> = (1..=3).map(Node::start).collect();
    let client = Client::builder().nodes((1..=3).map(|id| (id, namespace::address(id)))).build().unwrap();
    client.put("up", "v").await.unwrap();
    let before = leader(&client).await;
    let hole = (1..=3).find(|id| *id != before.node).unwrap();
    let healthy = 6 - before.node - hole;

    let (latencies, done) = (Latencies::default(), Arc::<AtomicBool>::default());
    let mut callers = JoinSet::new();
    for number in 0..4 {
        callers.spawn(call(client.clone(), number, latencies.clone(), done.clone()));
    }
    sleep(SECOND).await;
    std::mem::take(&mut *latencies.lock().unwrap());
    sleep(length(5 * SECOND, 30 * SECOND)).await;
    let mut well = std::mem::take(&mut *latencies.lock().unwrap());

    nodes[hole as usize - 1].drop_packets(true);
    let (begun, time) = (Instant::now(), length(20 * SECOND, 180 * SECOND));
    let (mut gap, mut status) = (0, before.clone());
    while begun.elapsed() < time {
        sleep(20 * MS).await;
        status = client.status(before.node).await.unwrap();
        assert!(status.confirmed && status.term == before.term, "an election: {status:?}");
        gap = gap.max(peer(&status, healthy).acknowledged_ms.unwrap());
    }
    let mut ill = std::mem::take(&mut *latencies.lock().unwrap());
    let other = client.status(healthy).await.unwrap();
    assert_eq!((other.term, other.role.as_str()), (before.term, "follower"), "an election");
    // The packets did vanish.
    let silent = peer(&status, hole).acknowledged_ms.unwrap();
    assert!(silent > time.as_millis() as u64 - 1_000 && !peer(&status, hole).reachable, "{status:?}");
    assert!(gap < 500, "the healthy follower acknowledged nothing for {gap} ms");

    let mut figures =
        format!("{time:?}; no election; the healthy follower acknowledged at least every {gap} ms");
    for (index, name) in ["put", "get"].into_iter().enumerate() {
        let p99 = [&mut well, &mut ill].map(|calls| percentile(&mut calls[index], 99));
        let ratio = p99[1].as_secs_f64() / p99[0].as_secs_f64();
        let (calls, [well, ill]) = (ill[index].len(), p99);
        write!(figures, "; {calls} {name}s, p99 {well:?} well, {ill:?} with the hole ({ratio:.2})").unwrap();
        // A short run on a busy machine has few calls to take the hundredth of.
        assert!(ratio < length(4.0, 2.0), "{figures}");
    }
    nodes[hole as usize - 1].drop_packets(false);
    let back = Instant::now();
    loop {
        let status = client.status(before.node).await.unwrap();
        assert_eq!(status.term, before.term, "the peer is back and disturbs nobody");
        if peer(&status, hole).acknowledged_ms.is_some_and(|ms| ms < 500) {
            break;
        }
        assert!(back.elapsed() < 30 * SECOND, "the peer is not back: {status:?}");
        sleep(20 * MS).await;
    }
    done.store(true, Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    report("packets that vanish", &format!("{figures}; the peer is back after {:?}", back.elapsed()));
}
