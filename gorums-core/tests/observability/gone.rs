//! Metrics of nodes and servers that are gone. Gauges go to 0 when nobody in the process has their labels any more, so that
//! each of these tests has a name of its own.
#![allow(clippy::float_cmp, reason = "small whole numbers")]

use gorums_core::testing::Network;
use metrics_util::debugging::DebuggingRecorder;

use super::measured::{SECOND, read};
use super::*;
use crate::common::{Test, Transport, faulty, text};

/// A metric of the first node.
fn of_node(metric: &str, configuration: &str) -> String {
    format!("{metric}{{configuration={configuration},node=1,address=node1:1}}")
}

/// What is gone is neither connected nor published any more, and what comes in its place goes on counting.
#[tokio::test(start_paused = true)]
async fn nodes_that_are_gone() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, _) = faulty(Transport::Memory, 1).await;
    let sent = of_node("gorums_node_requests_sent_total", "gone");
    let connected = of_node("gorums_node_connected", "gone");
    let ping = of_node("gorums_node_ping_seconds", "gone");
    let mut total = 0.0;
    for _ in 0..2 {
        let configuration = cluster.configure(|builder| builder.metrics("gone", SECOND)).unwrap();
        for _ in 0..3 {
            assert!(configuration.quorum_call(&ECHO, text("x")).all().await.is_ok());
        }
        tokio::time::sleep(SECOND + SECOND / 2).await;
        let found = read(&snapshotter);
        total += found[&sent];
        assert_eq!((found[&sent], found[&connected]), (3.0, 1.0), "{found:#?}");
        assert!(found[&ping] > 0.0, "{found:#?}");
        // Until it was published once more.
        tokio::time::sleep(SECOND).await;
        // Not closed: dropped.
        drop(configuration);
        tokio::time::sleep(3 * SECOND).await;
        let found = read(&snapshotter);
        assert_eq!((found[&connected], found[&ping]), (0.0, 0.0), "{found:#?}");
    }
    assert_eq!(total, 6.0);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_since_the_last_time_is_published_at_the_end() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, _) = faulty(Transport::Memory, 1).await;
    let configuration = cluster.configure(|builder| builder.metrics("rest", 3600 * SECOND)).unwrap();
    for _ in 0..3 {
        assert!(configuration.quorum_call(&ECHO, text("x")).all().await.is_ok());
    }
    drop(configuration);
    tokio::time::sleep(3 * SECOND).await;
    let found = read(&snapshotter);
    assert_eq!(found[&of_node("gorums_node_requests_sent_total", "rest")], 3.0, "{found:#?}");
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_again_between_two_publications() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, _) = faulty(Transport::Memory, 2).await;
    let both = cluster.configure(|builder| builder.metrics("again", SECOND)).unwrap();
    both.wait_connected().await.unwrap();
    tokio::time::sleep(SECOND + SECOND / 2).await;
    let other = both.without([1]);
    drop(both);
    let both = other.extend([(1, "node1:1")]).unwrap();
    both.wait_connected().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(read(&snapshotter)[&of_node("gorums_node_connected", "again")], 1.0);
    drop((both, other));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_configuration_in_the_place_of_another() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, _) = faulty(Transport::Memory, 1).await;
    let connected = of_node("gorums_node_connected", "replaced");
    let first = cluster.configure(|builder| builder.metrics("replaced", SECOND)).unwrap();
    first.wait_connected().await.unwrap();
    tokio::time::sleep(SECOND / 2).await;
    let second = cluster.configure(|builder| builder.metrics("replaced", SECOND)).unwrap();
    second.wait_connected().await.unwrap();
    // The second one is published, and then nothing for nearly a second.
    tokio::time::sleep(SECOND + SECOND / 10).await;
    drop(first);
    tokio::time::sleep(SECOND / 4).await;
    assert_eq!(read(&snapshotter)[&connected], 1.0);
    tokio::time::sleep(SECOND).await;
    drop(second);
    tokio::time::sleep(SECOND / 4).await;
    assert_eq!(read(&snapshotter)[&connected], 0.0);
    cluster.finish().await;
}

/// Also one whose future is dropped, which ends it at once.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let network = Network::new();
    let server = Server::builder().metrics("dropped", SECOND).add_service(Test::new(1));
    let serving = tokio::spawn(server.on(network.listen("node1:1")).serve());
    let nodes = Configuration::builder().nodes(["node1:1"]).connector(network);
    let configuration = nodes.connect().await.unwrap();
    let hanging = configuration.quorum_call(&ECHO, text("hang")).send();
    tokio::time::sleep(SECOND + SECOND / 2).await;
    let gauges = ["connections", "streams", "handlers", "named_clients"];
    let gauges = gauges.map(|gauge| format!("gorums_server_{gauge}{{server=dropped}}"));
    let found = read(&snapshotter);
    assert_eq!(gauges.each_ref().map(|gauge| found[gauge]), [1.0; 4], "{found:#?}");
    // Until it was published once more.
    tokio::time::sleep(SECOND).await;
    serving.abort();
    assert!(serving.await.is_err());
    let found = read(&snapshotter);
    assert_eq!(gauges.each_ref().map(|gauge| found[gauge]), [0.0; 4], "{found:#?}");
    drop(hanging);
    configuration.close().await;
}
