//! A peer whose packets vanish, with no word to anybody: the leader keeps its role, and callers do not notice.
//!
//! In real time, so that what takes time by computing counts as well. The links are in memory: bytes are dropped, and
//! nothing is closed.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{MS, SECOND, alone, length, percentile, report};
use gorums::testing::Traffic;
use gorums::{Next, ServerCall};
use raft::proto::AppendRequest;
use raft::testing::{Cluster, Links};
use raft::{Consistency, Defect};
use tokio::time::{Instant, sleep, timeout};

/// The largest gaps between heartbeats, by the node that gets them.
#[derive(Clone, Default)]
struct Gaps(Arc<Mutex<BTreeMap<u32, (Instant, Duration)>>>);

impl Gaps {
    fn heard(&self, node: u32) {
        let mut gaps = self.0.lock().unwrap();
        let now = Instant::now();
        let (last, largest) = gaps.entry(node).or_insert((now, Duration::ZERO));
        *largest = (*largest).max(now - *last);
        *last = now;
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    /// The largest gap so far, also the one that has not ended.
    fn largest(&self, node: u32) -> Duration {
        let gaps = self.0.lock().unwrap();
        gaps.get(&node).map_or(Duration::MAX, |(last, largest)| (*largest).max(last.elapsed()))
    }
}

async fn cluster(gaps: &Gaps, defect: Option<Defect>) -> Cluster {
    let gaps = gaps.clone();
    let builder = Cluster::builder(3).spare(1).options(move |mut options| {
        options.compact_every = 100_000;
        options.keep_entries = 0;
        match defect {
            Some(defect) => options.with_defect(defect),
            None => options,
        }
    });
    let builder = builder.server(move |id, server| {
        let gaps = gaps.clone();
        server.interceptor(move |call: ServerCall, next: Next| {
            // What has entries is longer.
            if call.is::<AppendRequest>() && call.payload().len() < 100 {
                gaps.heard(id);
            }
            next.run(call)
        })
    });
    builder.start().await
}

/// How long calls took while they were watched.
#[derive(Default)]
struct Latencies {
    puts: Mutex<Vec<Duration>>,
    gets: Mutex<Vec<Duration>>,
}

impl Latencies {
    fn take(&self) -> [Vec<Duration>; 2] {
        [&self.puts, &self.gets].map(|latencies| std::mem::take(&mut *latencies.lock().unwrap()))
    }
}

/// Callers that put and get, one call after the other, until they are told to stop. None of their calls may fail.
fn callers(
    cluster: &Cluster,
    latencies: &Arc<Latencies>,
    done: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let caller = |number: u32| {
        let (client, latencies, done) = (cluster.client(), latencies.clone(), done.clone());
        tokio::spawn(async move {
            for step in 0_u64.. {
                if done.load(Relaxed) {
                    return;
                }
                let begun = Instant::now();
                let key = format!("caller/{number}");
                if step % 2 == 0 {
                    client.put(key, step.to_string()).await.unwrap();
                    latencies.puts.lock().unwrap().push(begun.elapsed());
                } else {
                    let found = client.get(key, Consistency::Linearizable).await.unwrap();
                    latencies.gets.lock().unwrap().push(begun.elapsed());
                    assert_eq!(found.value.unwrap(), (step - 1).to_string());
                }
                sleep(5 * MS).await;
            }
        })
    };
    (0..8).map(caller).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_keeps_its_role_and_nobody_notices() {
    const PUT_AND_GET: [&str; 2] = ["put", "get"];
    let _alone = alone().await;
    let gaps = Gaps::default();
    let mut cluster = cluster(&gaps, None).await;
    let leader = cluster.leader().await;
    let hole = cluster.follower().await;
    let healthy = 6 - leader - hole;
    // What the snapshot will be of.
    let client = cluster.client();
    for block in 0..1024 {
        client.put(format!("block/{block}"), vec![b'x'; 64 << 10]).await.unwrap();
    }
    client.compact().await.unwrap();
    cluster.caught_up(hole).await;
    cluster.caught_up(healthy).await;

    let (latencies, done) = (Arc::<Latencies>::default(), Arc::<AtomicBool>::default());
    let callers = callers(&cluster, &latencies, &done);
    sleep(SECOND).await;
    latencies.take();
    let term = cluster.node(leader).status().term;
    sleep(length(5 * SECOND, 30 * SECOND)).await;
    let mut well = latencies.take();

    cluster.links().set_around(hole, Traffic::Drop);
    gaps.forget();
    let holed = Instant::now();
    let length = length(20 * SECOND, 180 * SECOND);
    sleep(length / 2).await;
    let mut ill = latencies.take();
    let without_snapshot = gaps.largest(healthy);
    // The second half with a snapshot of 64 MiB on its way.
    gaps.forget();
    cluster.start(4).await;
    let sent = Instant::now();
    let learner = cluster.client();
    let added = timeout(60 * SECOND, learner.add_learner(4, Links::address(4)));
    // The call itself may be over before the snapshot is: it is made again.
    let mut added = Box::pin(added);
    let joined = loop {
        tokio::select! {
            result = &mut added => if result.unwrap().is_ok() { break sent.elapsed() },
            () = sleep(60 * SECOND) => panic!("the snapshot did not arrive"),
        }
        added = Box::pin(timeout(60 * SECOND, learner.add_learner(4, Links::address(4))));
    };
    // The node says so itself a moment after the leader knows.
    let by_snapshot = async {
        while cluster.node(4).status().purged <= 1024 {
            sleep(MS).await;
        }
    };
    let by_snapshot = timeout(10 * SECOND, by_snapshot).await;
    assert!(by_snapshot.is_ok(), "it was sent the entries: {:?}", cluster.node(4).status());
    let with_snapshot = [gaps.largest(healthy), gaps.largest(4)];
    let mut during_snapshot = latencies.take();
    sleep((holed + length).saturating_duration_since(Instant::now())).await;
    done.store(true, Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    // Without callers, whose reads ask for heartbeats of their own.
    gaps.forget();
    sleep(3 * SECOND).await;
    let idle = gaps.largest(healthy);
    assert!((50 * MS..500 * MS).contains(&idle), "{idle:?}");

    let status = cluster.node(leader).status();
    assert_eq!((status.term, status.role.as_str(), status.confirmed), (term, "leader", true), "an election");
    assert_eq!(cluster.node(healthy).status().term, term);
    let gap = without_snapshot.max(with_snapshot[0]).max(with_snapshot[1]);
    assert!(gap < 500 * MS, "{gap:?}");
    let mut figures = format!(
        "{length:?}; no election; largest gap between heartbeats {without_snapshot:?}, {idle:?} without load, and while a snapshot of 64 MiB was \
         sent ({joined:?}) {:?} at the healthy follower and {:?} at the receiver",
        with_snapshot[0], with_snapshot[1]
    );
    for (index, call) in PUT_AND_GET.into_iter().enumerate() {
        let p99 = [&mut well, &mut ill, &mut during_snapshot].map(|calls| percentile(&mut calls[index], 99));
        let ratio = p99[1].as_secs_f64() / p99[0].as_secs_f64();
        figures.extend([
            format!("; {call} p99 {:?} well, {:?} with the hole ({ratio:.2}), ", p99[0], p99[1]),
            format!("{:?} with both", p99[2]),
        ]);
        // A short run on a busy machine has few calls to take the hundredth of.
        assert!(ratio < common::length(4.0, 2.0), "{figures}");
    }
    report("a black hole", &figures);
    cluster.links().set_around(hole, Traffic::Forward);
    cluster.caught_up(hole).await;
    assert_eq!(cluster.node(leader).status().term, term, "the peer is back and disturbs nobody");
    cluster.finish().await;
}

/// The red proof: if each message waits for the answer to the one before, the leader falls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serial_sends_cost_the_leader_its_role() {
    let _alone = alone().await;
    let cluster = cluster(&Gaps::default(), Some(Defect::SerialSends)).await;
    let leader = cluster.leader().await;
    let term = cluster.node(leader).status().term;
    let client = cluster.client();
    let hole = cluster.follower().await;
    cluster.links().set_around(hole, Traffic::Drop);
    let begun = Instant::now();
    let writing = tokio::spawn(async move {
        loop {
            // Some of them fail.
            let _ = client.put("k", "v").await;
            sleep(10 * MS).await;
        }
    });
    let fell = async {
        loop {
            let status = cluster.node(leader).status();
            if status.term != term || !status.confirmed {
                return;
            }
            sleep(10 * MS).await;
        }
    };
    timeout(20 * SECOND, fell).await.expect("the leader is not disturbed");
    report("a black hole with serial sends", &format!("the leader fell after {:?}", begun.elapsed()));
    writing.abort();
    cluster.finish().await;
}
