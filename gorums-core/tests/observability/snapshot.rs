//! The snapshot of a configuration.

use std::time::Duration;

use gorums_core::NodeState;

use super::*;
use crate::common::{Transport, faulty, text};

#[tokio::test(start_paused = true)]
async fn a_snapshot_tells_of_each_node_and_prints_as_a_table() {
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configuration();
    assert!(configuration.quorum_call(&ECHO, text("fail:2")).all().await.is_err());
    cluster.stop(3).await;
    while configuration.node(3).unwrap().state() != NodeState::Unreachable {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stats = configuration.stats();
    assert_eq!(stats.pending, 0);
    let found: Vec<_> = stats.nodes.iter().map(|node| (node.id.get(), node.state)).collect();
    assert_eq!(found, [(1, NodeState::Connected), (2, NodeState::Connected), (3, NodeState::Unreachable)]);
    assert!(stats.nodes.iter().all(|node| node.stats.queue.sent == 1 && node.stats.ping.is_some()));
    let table = stats.to_string();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[2].ends_with("the node answered FailedPrecondition: told to fail"), "{table}");
    assert!(lines[3].starts_with("3     node3:1  unreachable"), "{table}");
    drop(configuration);
    cluster.finish().await;
}
