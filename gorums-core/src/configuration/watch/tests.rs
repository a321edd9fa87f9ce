//! After `TestConfigurationWatch` of Go Gorums.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::{FutureExt, StreamExt};
use tokio::time::advance;

use super::*;
use crate::configuration::{id, latency};
use crate::node::Node;

const MS: Duration = Duration::from_millis(1);

/// Nodes with ids from 1 up, and these latencies in milliseconds.
fn nodes(latencies: &[u32]) -> Configuration {
    let nodes = Node::detached(latencies.len() as u32);
    nodes.iter().zip(latencies).for_each(|(node, &latency)| node.counters().replied_after(latency * MS));
    nodes
}

fn becomes(node: &Node, latency: Duration) {
    for _ in 0..200 {
        node.counters().replied_after(latency);
    }
}

fn fastest(count: usize) -> impl FnMut(&Configuration) -> Configuration + Send + Unpin {
    move |all| all.sorted_by(latency).take(count)
}

/// The next item, which is expected within a minute of the paused clock.
async fn next(watch: &mut (impl Stream<Item = Configuration> + Unpin)) -> Option<Configuration> {
    tokio::time::timeout(60_000 * MS, watch.next()).await.expect("no item")
}

fn ids(configuration: &Configuration) -> Vec<u32> {
    configuration.node_ids().map(u32::from).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_comes_at_once_and_then_only_changes_in_nodes_or_order() {
    let all = nodes(&[30, 10, 20, 40, 50]);
    let mut watch = Configuration::watch(&all, 10 * MS, fastest(3));
    assert_eq!(ids(&watch.next().now_or_never().unwrap().unwrap()), [2, 3, 1]);
    advance(10 * MS).await;
    assert!(watch.next().now_or_never().is_none(), "unchanged");
    becomes(&all.nodes()[4], 15 * MS);
    assert!(watch.next().now_or_never().is_none(), "not before the interval");
    advance(10 * MS).await;
    assert_eq!(ids(&watch.next().now_or_never().unwrap().unwrap()), [2, 5, 3]);
    becomes(&all.nodes()[4], 5 * MS);
    let start = tokio::time::Instant::now();
    assert_eq!(ids(&next(&mut watch).await.unwrap()), [5, 2, 3], "the same nodes in another order");
    assert_eq!(start.elapsed(), 10 * MS, "woken by the interval");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_sees_the_newest_once() {
    let all = nodes(&[10, 20, 30]);
    let derived = Arc::new(AtomicUsize::new(0));
    let (times, mut derive) = (derived.clone(), fastest(1));
    let mut watch = Configuration::watch(&all, 10 * MS, move |all| {
        times.fetch_add(1, SeqCst);
        derive(all)
    });
    assert_eq!(ids(&next(&mut watch).await.unwrap()), [1]);
    becomes(&all.nodes()[1], MS);
    advance(1_000 * MS).await;
    becomes(&all.nodes()[2], MS / 2);
    advance(995 * MS).await;
    assert_eq!(
        ids(&watch.next().now_or_never().unwrap().unwrap()),
        [3],
        "not the one that was the fastest between"
    );
    advance(5 * MS).await;
    assert!(watch.next().now_or_never().is_none());
    assert_eq!(
        derived.load(SeqCst),
        2,
        "missed intervals count as one, and the next starts where that ended"
    );
    advance(5 * MS).await;
    assert!(watch.next().now_or_never().is_none());
    assert_eq!(derived.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn giving_up_waiting_does_not_start_the_interval_anew() {
    let all = nodes(&[10, 20]);
    let mut watch = Configuration::watch(&all, 10 * MS, fastest(1));
    next(&mut watch).await.unwrap();
    becomes(&all.nodes()[1], MS);
    for _ in 0..9 {
        assert!(watch.next().now_or_never().is_none());
        advance(MS).await;
    }
    assert!(watch.next().now_or_never().is_none());
    advance(MS).await;
    assert_eq!(ids(&watch.next().now_or_never().unwrap().unwrap()), [2]);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_configuration_is_closed() {
    let all = nodes(&[10, 20]);
    let mut watch = Configuration::watch(&all, 3_600_000 * MS, fastest(1));
    next(&mut watch).await.unwrap();
    let (last, ()) = tokio::join!(next(&mut watch), all.close());
    assert!(last.is_none() && watch.is_terminated());
    assert!(next(&mut watch).await.is_none(), "and stays at its end");
    assert!(next(&mut Configuration::watch(&all, MS, fastest(1))).await.is_none(), "nothing of a closed one");
}

#[tokio::test(start_paused = true)]
async fn it_keeps_its_nodes_until_it_is_dropped_or_ends_and_no_others() {
    let all = nodes(&[10, 20]);
    let pool = all.pool().clone();
    let open = || pool.nodes().iter().filter(|node| node.value().strong_count() > 0).count();
    let mut watch = Configuration::watch(&all, MS, |all| all.take(1).extend([(7, "node7:1")]).unwrap());
    let first = next(&mut watch).await.unwrap();
    drop(all);
    assert_eq!((ids(&first), open()), (vec![1, 7], 3));
    drop(first);
    assert_eq!(open(), 2, "what was derived is not held");
    pool.closing().cancel();
    assert!(next(&mut watch).await.is_none());
    assert_eq!(open(), 0, "a stream that has ended holds nothing");
}

#[tokio::test(start_paused = true)]
async fn any_interval_is_fine() {
    let all = nodes(&[10]);
    for interval in [Duration::ZERO, Duration::MAX] {
        let mut watch = Configuration::watch(&all, interval, |all| all.sorted_by(id));
        next(&mut watch).await.unwrap();
        assert!(tokio::time::timeout(100 * MS, watch.next()).await.is_err());
    }
}
