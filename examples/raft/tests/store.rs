//! The store, on a cluster in one process with a paused clock.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use raft::testing::Cluster;
use raft::{Consistency, Error};

async fn value(client: &raft::Client, key: &'static str, consistency: Consistency) -> Option<Bytes> {
    client.get(key, consistency).await.unwrap().value
}

#[tokio::test(start_paused = true)]
async fn every_operation_by_any_node() {
    let cluster = Cluster::builder(3).start().await;
    for id in 1..=3 {
        let client = cluster.client_of([id]);
        let key = ["", "a", "b", "c"][id as usize];
        assert!(client.put(key, "1").await.unwrap().done);
        for consistency in [Consistency::Linearizable, Consistency::Lease] {
            assert_eq!(value(&client, key, consistency).await.as_deref(), Some(&b"1"[..]));
        }
        let swapped = client.compare_and_swap(key, Some("1".into()), Some("2".into())).await.unwrap();
        assert!(swapped.done);
        let refused = client.compare_and_swap(key, Some("1".into()), None).await.unwrap();
        assert_eq!((refused.done, refused.found.as_deref()), (false, Some(&b"2"[..])));
        assert!(client.delete(key).await.unwrap().done);
        assert!(!client.delete(key).await.unwrap().done);
        assert_eq!(value(&client, key, Consistency::Linearizable).await, None);
    }
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_sees_every_change_under_its_prefix_once() {
    let cluster = Cluster::builder(3).start().await;
    let client = cluster.client();
    client.put("a/0", "before").await.unwrap();
    let mut watch = client.watch("a/").await.unwrap();
    for key in ["a/1", "b/1", "a/2"] {
        client.put(key, "x").await.unwrap();
    }
    client.delete("a/1").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let change = watch.next().await.unwrap();
        seen.push((change.key, change.value.is_some()));
    }
    assert_eq!(seen, [("a/1".into(), true), ("a/2".into(), true), ("a/1".into(), false)]);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_by_name() {
    let cluster = Cluster::builder(1).start().await;
    let client = cluster.client();
    let error = client.put(vec![0; 5_000], "v").await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let error = client.put("k", vec![0; (1 << 20) + 1]).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_goes_on_without_a_leader_that_was_killed_and_with_it_when_it_is_back() {
    let mut cluster = Cluster::builder(3).start().await;
    let client = cluster.client();
    client.put("k", "1").await.unwrap();
    let first = cluster.leader().await;
    cluster.kill(first).await;
    client.put("k", "2").await.unwrap();
    assert_ne!(cluster.leader().await, first);
    cluster.start(first).await;
    cluster.caught_up(first).await;
    let stale = cluster.client_of([first]);
    assert_eq!(value(&stale, "k", Consistency::Stale).await.as_deref(), Some(&b"2"[..]));
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    assert_eq!(value(&client, "k", Consistency::Linearizable).await.as_deref(), Some(&b"2"[..]));
    tokio::time::sleep(Duration::from_millis(1)).await;
    cluster.finish().await;
}
