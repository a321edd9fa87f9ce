//! Heartbeats do not wait for snapshots, since they go over connections of their own.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{MS, SECOND, report};
use gorums::{Next, ServerCall};
use raft::Defect;
use raft::proto::{AppendRequest, SnapshotChunk};
use raft::testing::{Cluster, Links};
use tokio::time::{Instant, sleep, timeout};

/// How long the receiver takes for each chunk of a snapshot.
const CHUNK: Duration = Duration::from_secs(3);

/// A node that joins by a snapshot.
const FRESH: u32 = 4;

/// What a node was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    Heartbeat,
    Chunk,
}

/// The longest time in which a node hears no heartbeat while it is slow in taking a snapshot.
async fn longest_silence(defect: Option<Defect>) -> Duration {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = sent.clone();
    let builder = Cluster::builder(3).spare(1).options(move |mut options| {
        options.compact_every = 100;
        options.keep_entries = 10;
        match defect {
            Some(defect) => options.with_defect(defect),
            None => options,
        }
    });
    let builder = builder.server(move |id, server| {
        let log = log.clone();
        server.interceptor(move |call: ServerCall, next: Next| {
            let log = log.clone();
            async move {
                let is_chunk = call.is::<SnapshotChunk>();
                if is_chunk {
                    log.lock().unwrap().push((id, Sent::Chunk, Instant::now()));
                    // In the turn of the call: what comes after it over the same connection waits.
                    sleep(CHUNK).await;
                } else if call.is::<AppendRequest>() && call.payload().len() < 100 {
                    // What has entries is longer.
                    log.lock().unwrap().push((id, Sent::Heartbeat, Instant::now()));
                }
                next.run(call).await
            }
        })
    });
    let mut cluster = builder.start().await;
    let client = cluster.client();
    let leader = cluster.node(cluster.leader().await).clone();
    let cut = async {
        while leader.status().purged < 100 {
            client.put("k", "more").await.unwrap();
        }
    };
    timeout(30 * SECOND, cut).await.expect("the log is cut");
    cluster.start(FRESH).await;
    client.add_learner(FRESH, Links::address(FRESH)).await.unwrap();
    cluster.caught_up(FRESH).await;
    let now = Instant::now();
    let sent: Vec<_> = sent.lock().unwrap().iter().filter(|sent| sent.0 == FRESH).copied().collect();
    let begun = sent.iter().find(|sent| sent.1 == Sent::Chunk).expect("it was sent a snapshot").2;
    let heartbeats =
        sent.iter().filter(|sent| sent.1 == Sent::Heartbeat && sent.2 > begun).map(|sent| sent.2);
    let times: Vec<_> = std::iter::once(begun).chain(heartbeats).chain([now]).collect();
    cluster.finish().await;
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_taken_slowly_delays_no_heartbeat() {
    let silence = longest_silence(None).await;
    report("heartbeats beside a slow snapshot", &format!("at most {silence:?} apart"));
    assert!(silence < 500 * MS, "{silence:?}");
}

/// The red proof: over one connection for everything, they wait for each other.
#[tokio::test(start_paused = true)]
async fn over_a_shared_connection_a_snapshot_delays_heartbeats() {
    let silence = longest_silence(Some(Defect::SharedConnection)).await;
    report("heartbeats behind a slow snapshot", &format!("up to {silence:?} apart"));
    assert!(silence > SECOND, "{silence:?}");
}
