//! A peer whose process has stopped, while many callers push large requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use gorums_core::testing::{Direction, Traffic};
use gorums_core::{Configuration, NodeErrorKind, Overflow, Server};
use tokio::time::{Instant, sleep, timeout_at};

use crate::common::{OnConfiguration, OnNode, soon, within};
use crate::tools::*;

const CALLERS: u32 = 64;
const LARGEST: usize = 16 << 10;
/// Senders that are parked, and given up, at once.
const PARKED: u64 = 96;

/// What may be kept for a node that does not read: its queue, a batch that did not go out, what h2 keeps, and the
/// idempotent requests that were sent and have not been answered. Of those some that were answered are kept until
/// the list is pruned, which is when it has doubled and grown by 64.
const PER_NODE: u64 = (1 << 20) + (1 << 20) + (1 << 20) + (2 * CALLERS as u64 + 64) * LARGEST as u64;
/// What the allocator may hold on to beside.
const ALLOCATOR: u64 = 16 << 20;

/// G2 and G6. Three nodes of which one does not read are compared with two nodes that both have to answer: in
/// either case two nodes work, and a call waits for both of them. All that the calls on three nodes do more is to
/// queue for the one that does not read. (Compared with three nodes that all read, they would win, as a third node
/// at work takes its part of the processor.)
///
/// Blocks of the two alternate, and the medians count. While those of the short form say that the throughput fell,
/// more blocks are measured: other processes may have had their part in it.
///
/// The keepalive of both ends is slow, so that the connection is not given up: the queue is full for the whole time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_reading_costs_a_bounded_queue_and_nobody_else() {
    let _alone = alone().await;
    // The short form runs unoptimized, where what a call costs the caller itself weighs more: from machine to machine, its
    // ratio is between 0.87 and 0.96.
    let (block, blocks, at_most, least) = length((100 * MS, 12, 120, 0.8), (SECOND, 60, 60, 0.9));
    let never = 3_600 * SECOND;
    let (mut cluster, _) = over_tcp_with(5, move || Server::builder().keepalive(never, never)).await;
    let all = cluster.configure(|builder| builder.keepalive(never, never)).unwrap();
    let (with_stopped, healthy) = (all.only([1, 2, 3]), all.only([4, 5]));
    push(&healthy, 4 * block).await;
    let all_read = push(&with_stopped, 4 * block).await / 4;
    let memory = Peak::start();

    cluster.faults(3).set(Direction::ToServer, Traffic::StopReading);
    push(&with_stopped, block).await;
    let (mut ratios, mut throughputs, mut lateness, mut queued) = (vec![], vec![], vec![], 0);
    for round in 0..at_most {
        if round >= blocks && median(&mut ratios.clone()) >= least {
            break;
        }
        let [stopped, alone] = if round % 2 == 0 {
            [push(&with_stopped, block).await, push(&healthy, block).await]
        } else {
            let alone = push(&healthy, block).await;
            [push(&with_stopped, block).await, alone]
        };
        ratios.push(f64::from(stopped) / f64::from(alone));
        throughputs.push(stopped);
        queued = queued.max(with_stopped.nodes()[2].stats().queue.queued_bytes);
        if round % 4 == 0 {
            let load = push(&with_stopped, 500 * MS);
            lateness.extend(tokio::join!(load, give_up_parked_senders(&with_stopped)).1);
        }
    }
    let stats = with_stopped.nodes()[2].stats();
    let (growth, ratio) = (memory.end().await, median(&mut ratios));
    let latest = *lateness.iter().max().unwrap();
    report(
        "a peer that stops reading",
        &format!(
            "{} x {block:?}: throughput {ratio:.3} of that of two healthy nodes (median; {} calls a block, {} \
             with three that read); at most {} KiB queued; memory +{} KiB (bound {} KiB); {} parked senders ended \
             at most {latest:?} late",
            ratios.len(),
            median(&mut throughputs),
            all_read,
            queued >> 10,
            growth >> 10,
            (PER_NODE + ALLOCATOR) >> 10,
            lateness.len(),
        ),
    );
    assert!(ratio >= least, "throughput fell to {ratio:.3}");
    assert!(latest < 100 * MS, "a parked sender ended {latest:?} after it had been given up");
    assert!(queued > 512 << 10, "the queue never filled: {stats:?}");
    assert!(queued <= 1 << 20 && stats.queue.queued <= 256, "{stats:?}");
    assert!(growth <= PER_NODE + ALLOCATOR, "memory grew by {growth} bytes");
    assert_eq!(stats.connections, 1, "the node was given up: {stats:?}");
    assert_counters_add_up(&all);
    assert_eq!(all.pending(), 0);
    drop((with_stopped, healthy, all));
    cluster.finish().await;
}

/// Majority calls of many callers for a while; gives their number.
async fn push(configuration: &Configuration, time: Duration) -> u32 {
    let until = Instant::now() + time;
    let padding = Bytes::from(vec![b'x'; LARGEST]);
    let callers = (0..CALLERS).map(|caller| {
        let (configuration, padding) = (configuration.clone(), padding.clone());
        tokio::spawn(async move {
            let mut calls = 0;
            while Instant::now() < until {
                let kibibytes = (caller * 7 + calls) as usize % 16 + 1;
                let padding = padding.slice(..kibibytes << 10);
                let method = if calls % 2 == 0 { &CALL } else { &SAFE };
                let request = Item { padding, ..item(caller, u64::from(calls) + 1) };
                within("majority", configuration.quorum_call(method, request).majority()).await.unwrap();
                calls += 1;
            }
            calls
        })
    });
    join_all(callers).await.into_iter().map(Result::unwrap).sum()
}

/// Fills the queue of the third node with senders that wait, gives each up in one of four ways, and tells how much
/// later each of them ended.
async fn give_up_parked_senders(configuration: &Configuration) -> Vec<Duration> {
    let node = configuration.nodes()[2].clone();
    let padding = Bytes::from(vec![b'x'; LARGEST]);
    let request = |number| Item { padding: padding.clone(), ..item(CALLERS, number) };
    let give_up = Instant::now() + 400 * MS;
    let mut senders = Vec::new();
    // Calls first: there is no room for them behind messages that wait.
    for number in 0..8 {
        let call = node.rpc(&CALL, request(number)).send();
        senders.push(tokio::spawn(async move {
            assert!(timeout_at(give_up, call).await.is_err(), "a node that does not read has replied");
            give_up.elapsed()
        }));
    }
    let mut aborted = Vec::new();
    for number in 0..PARKED {
        let message = node.unicast(&NOTE, request(number)).overflow(Overflow::Wait);
        match number % 3 {
            0 => senders.push(tokio::spawn(async move {
                let error = message.timeout(give_up - Instant::now()).await.unwrap_err();
                assert!(matches!(error.kind(), NodeErrorKind::DeadlineExceeded), "{error}");
                give_up.elapsed()
            })),
            1 => senders.push(tokio::spawn(async move {
                assert!(timeout_at(give_up, message).await.is_err(), "written to a node that does not read");
                give_up.elapsed()
            })),
            _ => aborted.push(tokio::spawn(async move { message.await.unwrap() })),
        }
    }
    // They take the room of requests that nobody waits for any longer, and then there is none.
    let full = || {
        let refused = node.unicast(&NOTE, request(PARKED)).send().err();
        refused.is_some_and(|error| matches!(error.kind(), NodeErrorKind::QueueFull))
    };
    soon("full", 300 * MS, full).await;
    tokio::time::sleep_until(give_up).await;
    let mut lateness = Vec::new();
    for sender in aborted {
        let start = Instant::now();
        sender.abort();
        assert!(sender.await.unwrap_err().is_cancelled());
        lateness.push(start.elapsed());
    }
    for sender in senders {
        lateness.push(sender.await.unwrap());
    }
    lateness
}

/// By how much the memory of this process grows at most.
struct Peak {
    before: u64,
    highest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    watching: tokio::task::JoinHandle<()>,
}

impl Peak {
    fn start() -> Self {
        let before = resident_bytes().unwrap_or_default();
        let (highest, stop) = (Arc::new(AtomicU64::new(before)), Arc::new(AtomicBool::new(false)));
        let watching = tokio::spawn({
            let (highest, stop) = (highest.clone(), stop.clone());
            async move {
                while !stop.load(Relaxed) {
                    highest.fetch_max(resident_bytes().unwrap_or_default(), Relaxed);
                    sleep(20 * MS).await;
                }
            }
        });
        Self { before, highest, stop, watching }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.watching.await.unwrap();
        self.highest.load(Relaxed) - self.before
    }
}
