//! Power that fails on all nodes at once, in the middle of writes.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::{MS, length, report};
use raft::testing::Cluster;
use raft::{Client, Consistency, Defect, Error};
use tokio::task::JoinSet;
use tokio::time::sleep;

const WRITERS: usize = 20;

/// Writes growing numbers to a key until it is dropped, and notes the last one that was acknowledged.
async fn write(client: Client, key: usize, acknowledged: Arc<AtomicU64>, from: u64) {
    for number in from.. {
        match client.put(format!("k{key}"), number.to_string()).await {
            Ok(_) => acknowledged.store(number, Relaxed),
            // It may have been taken: the next one has to be a greater one.
            Err(_) => sleep(10 * MS).await,
        }
    }
}

async fn number(client: &Client, key: usize) -> Result<u64, Error> {
    let value = client.get(format!("k{key}"), Consistency::Linearizable).await?.value;
    Ok(value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap()))
}

/// Lets the power fail so often, and says how many writes were acknowledged, or what was lost.
async fn fail(rounds: u64, seed: u64, defect: Option<Defect>) -> Result<u64, String> {
    let mut cluster = Cluster::builder(3)
        .seed(seed)
        .options(move |options| match defect {
            Some(defect) => options.with_defect(defect),
            None => options,
        })
        .start()
        .await;
    let acknowledged: Vec<Arc<AtomicU64>> = (0..WRITERS).map(|_| Arc::default()).collect();
    for round in 0..rounds {
        let client = cluster.client();
        let mut writers = JoinSet::new();
        for (key, acknowledged) in acknowledged.iter().enumerate() {
            writers.spawn(write(client.clone(), key, acknowledged.clone(), (round + 1) * 1_000_000));
        }
        let enough = 100 + 13 * round;
        while total(&acknowledged, round) < enough {
            sleep(Duration::from_micros(100)).await;
        }
        // In virtual time, the disks take none: the moment differs by steps of the protocol.
        for _ in 0..7 * round {
            tokio::task::yield_now().await;
        }
        for id in 1..=3 {
            cluster.kill(id).await;
        }
        writers.shutdown().await;
        for id in 1..=3 {
            cluster.start(id).await;
        }
        let after = cluster.client();
        for (key, acknowledged) in acknowledged.iter().enumerate() {
            let acknowledged = acknowledged.load(Relaxed);
            match number(&after, key).await {
                Ok(found) if found >= acknowledged => {}
                Ok(found) => {
                    return Err(format!(
                        "round {round}: {acknowledged} was acknowledged, and {found} is there"
                    ));
                }
                Err(error) => return Err(format!("round {round}: {error}")),
            }
        }
    }
    cluster.finish().await;
    Ok(total(&acknowledged, rounds - 1))
}

/// How many writes of a round were acknowledged.
fn total(acknowledged: &[Arc<AtomicU64>], round: u64) -> u64 {
    let first = (round + 1) * 1_000_000;
    acknowledged.iter().map(|last| (last.load(Relaxed) + 1).saturating_sub(first)).sum()
}

#[tokio::test(start_paused = true)]
async fn no_acknowledged_write_is_lost() {
    let rounds = length(10, 200);
    let last = fail(rounds, 7, None).await.unwrap();
    report(
        "power failures",
        &format!("{rounds}, nothing lost; {last} writes were acknowledged before the last one"),
    );
}

/// The red proof: without waiting for the disk, writes are lost, and that is noticed.
#[tokio::test(start_paused = true)]
async fn a_log_that_is_not_synced_is_caught() {
    let lost = fail(3, 7, Some(Defect::UnsyncedLog)).await.unwrap_err();
    report("power failures without syncs", &lost);
}

/// Two followers are a majority: an entry may be committed, and its write acknowledged, before it is on the disk of the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_followers_have_on_disk_survives_the_leader() {
    let mut cluster = Cluster::builder(3).threads().start().await;
    let client = cluster.client();
    client.put("k1", "1").await.unwrap();
    cluster.log_disk(cluster.leader().await).hold_syncs();
    client.put("k1", "2").await.unwrap();
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    assert_eq!(number(&cluster.client(), 1).await.unwrap(), 2);
    cluster.finish().await;
}
