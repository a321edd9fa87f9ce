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
use gorums::ErrorClass;
use history::History;
use raft::proto::{GetRequest, KvNodeClient};
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

/// The seconds of processor time that a process has used.
fn processor_time(process: &Process) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.0.id())).unwrap();
    // After the name, which may have spaces: the 12th and 13th fields, in hundredths of a second.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// 200 gets a second at a leader whose followers hang.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gets_that_nobody_can_confirm_cost_little() {
    const RATE: u32 = 200;
    let _alone = alone().await;
    let cluster = Processes::start("hang", 3, 0, |_| Vec::new());
    let store = client(&cluster, 20 * SECOND);
    store.put("k", "v").await.unwrap();
    let leader = tokio::task::block_in_place(|| cluster.leader());
    let followers: Vec<_> = (1..=3).filter(|id| *id != leader).collect();
    let process = |id: usize| cluster.running[id - 1].as_ref().unwrap();
    let health = || cluster::http(&cluster.https[leader - 1], "/health").map(|(code, _)| code);
    let waiting = || {
        let metrics = cluster::http(&cluster.https[leader - 1], "/metrics").unwrap().1;
        let line = metrics.lines().find_map(|line| line.strip_prefix("raft_waiting_calls ")).unwrap();
        line.parse::<u32>().unwrap()
    };
    for id in &followers {
        signal(process(*id), "-STOP");
    }
    let stopped = Instant::now();
    tokio::task::block_in_place(|| {
        cluster::eventually("not healthy", || health().filter(|code| *code == 503))
    });
    let noticed = stopped.elapsed();
    assert!((700 * MS..2 * SECOND).contains(&noticed), "{noticed:?}");

    // The node itself ends them after 5 s.
    let connections = gorums::Configuration::builder().timeout(20 * SECOND);
    let one = connections.node(1_u32, cluster.addresses[leader - 1].clone()).connect().await.unwrap();
    let time = length(8 * SECOND, 30 * SECOND);
    let (begun, used) = (Instant::now(), processor_time(process(leader)));
    let mut ticks = tokio::time::interval(SECOND / RATE);
    let (mut gets, mut most) = (tokio::task::JoinSet::new(), 0);
    for number in 0.. {
        ticks.tick().await;
        if begun.elapsed() > time {
            break;
        }
        let get = one.node(1_u32).unwrap().get(GetRequest { key: "k".into(), ..GetRequest::default() });
        let get = get.timeout(5 * SECOND).send();
        gets.spawn(async move {
            let begun = Instant::now();
            let failed = get.await.unwrap_err();
            (failed.class(), begun.elapsed())
        });
        if number % RATE == 0 {
            most = most.max(tokio::task::block_in_place(waiting));
        }
    }
    let processor = (processor_time(process(leader)) - used) / begun.elapsed().as_secs_f64();
    while let Some(ended) = gets.join_next().await {
        let (class, took) = ended.unwrap();
        assert_eq!(class, ErrorClass::Transient);
        assert!((4_800 * MS..5_200 * MS).contains(&took), "{took:?}");
    }
    assert!((RATE * 4..=RATE * 5 * 11 / 10).contains(&most), "{most} calls waited at once");
    assert!(processor < 1.0, "{processor} of a core");
    for id in &followers {
        signal(process(*id), "-CONT");
    }
    let healed = Instant::now();
    tokio::task::block_in_place(|| cluster::eventually("nobody waits", || (waiting() == 0).then_some(())));
    store.get("k", Consistency::Linearizable).await.unwrap();
    assert!(healed.elapsed() < 5 * SECOND, "{:?}", healed.elapsed());
    report(
        "gets without a quorum",
        &format!(
            "{RATE}/s for {time:?}: noticed after {noticed:?}; at most {most} waited; {processor:.3} of a core; well \
             {:?} after the followers",
            healed.elapsed()
        ),
    );
}

/// Leaders and followers are killed, stopped for a while, and started again, and what clients see stays linearizable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_see_of_killed_processes_is_linearizable() {
    let _alone = alone().await;
    let time = std::env::var("GORUMS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let time = time.map_or(length(15 * SECOND, 600 * SECOND), Duration::from_secs);
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
