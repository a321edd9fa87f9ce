//! Real processes on real disks, killed with SIGKILL and stopped with SIGSTOP.
#![cfg(unix)]
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

mod common;

#[path = "processes/cluster.rs"]
mod cluster;
#[path = "simulation/history.rs"]
mod history;
#[path = "kills/load.rs"]
mod load;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cluster::{Process, Processes};
use common::{MS, SECOND, alone, length, report};
use history::History;
use raft::{Client, Consistency};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

fn client(cluster: &Processes, timeout: Duration) -> Client {
    let nodes = (1..).zip(cluster.addresses.iter().take(3).cloned());
    Client::builder().nodes(nodes).timeout(timeout).build().unwrap()
}

/// All nodes are killed at once, in the middle of writes, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_when_all_nodes_are_killed() {
    const WRITERS: usize = 16;
    let _alone = alone().await;
    let rounds = length(5, 50);
    let mut cluster = Processes::start("kill-all", 3, 0, |_| Vec::new());
    let acknowledged: Vec<Arc<AtomicU64>> = (0..WRITERS).map(|_| Arc::default()).collect();
    let (mut total, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds {
        let store = client(&cluster, 20 * SECOND);
        // The cluster is up.
        store.put("up", "v").await.unwrap();
        let first = (round + 1) * 1_000_000;
        let mut writers = tokio::task::JoinSet::new();
        for (key, acknowledged) in acknowledged.iter().cloned().enumerate() {
            let store = store.clone();
            writers.spawn(async move {
                for number in first.. {
                    if store.put(format!("k{key}"), number.to_string()).await.is_ok() {
                        acknowledged.store(number, Relaxed);
                    }
                }
            });
        }
        sleep(MS * (300 + 37 * (round as u32 % 10))).await;
        for id in 1..=3 {
            cluster.kill(id);
        }
        writers.shutdown().await;
        total += acknowledged.iter().map(|last| (last.load(Relaxed) + 1).saturating_sub(first)).sum::<u64>();
        let begun = Instant::now();
        for id in 1..=3 {
            cluster.spawn(id);
        }
        let after = client(&cluster, 20 * SECOND);
        for (key, acknowledged) in acknowledged.iter().enumerate() {
            let acknowledged = acknowledged.load(Relaxed);
            let found = after.get(format!("k{key}"), Consistency::Linearizable).await.unwrap().value;
            let found = found.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse::<u64>().unwrap());
            assert!(
                found >= acknowledged,
                "round {round}: {acknowledged} was acknowledged, and {found} is there"
            );
        }
        slowest = slowest.max(begun.elapsed());
    }
    report(
        "kill -9 of all nodes",
        &format!("{rounds} times, {total} acknowledged writes, none lost; back within {slowest:?}"),
    );
    assert!(total > 100 * rounds, "{total} writes in {rounds} rounds");
}

fn signal(process: &Process, name: &str) {
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// Leaders and followers are killed, stopped for a while, and started again, and what clients see stays linearizable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_see_of_killed_processes_is_linearizable() {
    let _alone = alone().await;
    let time = length(15 * SECOND, 600 * SECOND);
    let mut cluster = Processes::start("kill-one", 3, 0, |_| {
        ["--election-timeout", "500ms", "--compact-every", "500"].map(str::to_owned).into()
    });
    client(&cluster, 20 * SECOND).put("up", "v").await.unwrap();
    let (history, done) = (History::default(), Arc::new(AtomicBool::default()));
    let begun = Instant::now();
    let clients: Vec<_> = (1..=5)
        .map(|number| {
            let store = client(&cluster, 2 * SECOND);
            tokio::spawn(load::run(store, number, history.clone(), begun, done.clone()))
        })
        .collect();

    let mut rng = SmallRng::seed_from_u64(9);
    let (mut kills, mut stops) = (0, 0);
    while begun.elapsed() < time {
        sleep(MS * rng.random_range(500..1_500)).await;
        let leader = tokio::task::block_in_place(|| cluster.leader());
        let victim = if rng.random_bool(0.6) { leader } else { rng.random_range(1..=3) };
        if rng.random_bool(0.6) {
            kills += 1;
            cluster.kill(victim);
            sleep(MS * rng.random_range(0..1_500)).await;
            tokio::task::block_in_place(|| cluster.spawn(victim));
        } else {
            stops += 1;
            signal(cluster.running[victim - 1].as_ref().unwrap(), "-STOP");
            sleep(MS * rng.random_range(200..2_000)).await;
            signal(cluster.running[victim - 1].as_ref().unwrap(), "-CONT");
        }
    }
    sleep(SECOND).await;
    done.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    if let Err(key) = history.check() {
        panic!("what was seen of key {key} is not linearizable:\n{}", history.of(key));
    }
    let (operations, unknown) = (history.operations(), history.unknown());
    report(
        "processes that are killed",
        &format!(
            "{kills} kills and {stops} stops in {time:?}: {operations} operations, of which {unknown} have an unknown \
             outcome; all linearizable"
        ),
    );
    assert!(operations > 50 * time.as_secs() as usize / 2, "{operations} operations");
}
