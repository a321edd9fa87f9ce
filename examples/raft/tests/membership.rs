//! Nodes that come, go, and come back, while others write.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::{MS, SECOND};
use raft::testing::{Cluster, Links};
use raft::{Client, Consistency, Error};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Writes numbers to its own key, one after the other, until it is told to stop.
struct Writer {
    done: Arc<AtomicBool>,
    /// The last number that was acknowledged, how many were, and what failed.
    writing: JoinHandle<(u64, Vec<Error>)>,
    key: &'static str,
}

impl Writer {
    fn start(client: Client, key: &'static str) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let writing = tokio::spawn(async move {
            let (mut acknowledged, mut errors) = (0, Vec::new());
            for number in 1.. {
                if stop.load(Relaxed) {
                    break;
                }
                match client.put(key, number.to_string()).await {
                    Ok(_) => acknowledged = number,
                    Err(error) => errors.push(error),
                }
                sleep(20 * MS).await;
            }
            (acknowledged, errors)
        });
        Self { done, writing, key }
    }

    /// Ends it, and makes sure that its last write is there.
    async fn finish(self, client: &Client) -> (u64, Vec<Error>) {
        self.done.store(true, Relaxed);
        let (acknowledged, errors) = self.writing.await.unwrap();
        let value = client.get(self.key, Consistency::Linearizable).await.unwrap().value.unwrap();
        let value: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
        assert!(value >= acknowledged, "{value} is older than {acknowledged}, which was acknowledged");
        (acknowledged, errors)
    }
}

async fn fill(client: &Client, keys: u32) {
    for key in 0..keys {
        client.put(format!("fill/{key}"), vec![b'x'; 1000]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_node_joins_by_snapshot_and_replaces_another() {
    let mut cluster = Cluster::builder(3)
        .spare(1)
        .options(|mut options| {
            options.compact_every = 100;
            options.keep_entries = 10;
            options.snapshot_chunk = 10_000;
            options
        })
        .start()
        .await;
    let client = cluster.client();
    fill(&client, 300).await;
    let leader = cluster.leader().await;
    let log_is_cut = async {
        while cluster.node(leader).status().purged < 100 {
            sleep(10 * MS).await;
        }
    };
    timeout(10 * SECOND, log_is_cut).await.unwrap();

    let writer = Writer::start(cluster.client(), "w");
    let fresh = cluster.start(4).await;
    assert!(!fresh.is_ready());
    client.add_learner(4, Links::address(4)).await.unwrap();
    assert!(fresh.status().purged >= 100, "it was not sent the entries: {:?}", fresh.status());
    assert_eq!(fresh.status().role, "learner");
    let gone = cluster.follower().await;
    client.replace(gone, 4, Links::address(4)).await.unwrap();
    cluster.caught_up(4).await;
    cluster.stop(gone).await;
    let (written, errors) = writer.finish(&client).await;
    assert!(errors.is_empty() && written > 0, "{errors:?}");

    // It has everything, and votes: two of the three are enough, this one among them.
    let stale = cluster.client_of([4]);
    for key in [0, 150, 299] {
        let found = stale.get(format!("fill/{key}"), Consistency::Stale).await.unwrap();
        assert_eq!(found.value.map(|value| value.len()), Some(1000));
    }
    let old: Vec<_> = (1..=3).filter(|id| *id != gone).collect();
    cluster.kill(old[0]).await;
    let left = cluster.client_of([old[1], 4]);
    left.put("after", "v").await.unwrap();
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_was_away_catches_up() {
    let mut cluster = Cluster::builder(3).start().await;
    let client = cluster.client();
    let away = cluster.follower().await;
    cluster.stop(away).await;
    let writer = Writer::start(cluster.client(), "w");
    fill(&client, 100).await;
    cluster.start(away).await;
    cluster.caught_up(away).await;
    let (written, errors) = writer.finish(&client).await;
    assert!(errors.is_empty() && written > 0, "{errors:?}");
    let stale = cluster.client_of([away]).get("fill/99", Consistency::Stale).await.unwrap();
    assert!(stale.value.is_some());
    cluster.finish().await;
}

/// Each node is restarted, the leader by handing over first. Nothing fails.
#[tokio::test(start_paused = true)]
async fn a_rolling_restart_under_load_is_not_noticed() {
    let mut cluster = Cluster::builder(3).start().await;
    let client = cluster.client();
    let writers = ["a", "b", "c", "d"].map(|key| Writer::start(cluster.client(), key));
    for id in 1..=3 {
        sleep(SECOND).await;
        if cluster.leader().await == id {
            let next = id % 3 + 1;
            client.transfer(next).await.unwrap();
            let mut leadership = cluster.node(next).leadership();
            timeout(10 * SECOND, leadership.wait_for(raft::Leadership::is_leading)).await.unwrap().unwrap();
        }
        cluster.stop(id).await;
        sleep(SECOND).await;
        cluster.start(id).await;
        cluster.caught_up(id).await;
    }
    for writer in writers {
        let (written, errors) = writer.finish(&client).await;
        assert!(written > 100 && errors.is_empty(), "{written} writes, and {errors:?}");
    }
    cluster.finish().await;
}

/// Each node is killed and started again, again and again. Whatever fails says whether it may have happened.
#[tokio::test(start_paused = true)]
async fn kills_in_turn_fail_nothing_that_is_not_told() {
    let mut cluster = Cluster::builder(3).start().await;
    let client = cluster.client();
    let writers = ["a", "b", "c", "d"].map(|key| Writer::start(cluster.client(), key));
    for round in 0..12 {
        sleep(3 * SECOND).await;
        let id = if round % 2 == 0 { cluster.leader().await } else { cluster.follower().await };
        cluster.kill(id).await;
        sleep(2 * SECOND).await;
        cluster.start(id).await;
    }
    let mut failed = 0;
    for writer in writers {
        let (written, errors) = writer.finish(&client).await;
        assert!(written > 100, "{written}");
        failed += errors.len();
        assert!(
            errors.iter().all(|error| !matches!(error, Error::Stopped(_) | Error::Invalid(_))),
            "{errors:?}"
        );
    }
    // Each call has 5 s, and a new leader is there sooner.
    assert_eq!(failed, 0);
    cluster.finish().await;
}
