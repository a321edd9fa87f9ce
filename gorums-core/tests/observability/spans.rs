//! What is told of calls, as text.

use std::time::Duration;

use tracing::Level;

use super::*;
use crate::common::log::Log;
use crate::common::{NOTE, OnNode, Transport, faulty, text};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_quorum_call_is_one_span_with_an_event_for_each_node() {
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    share_spans();
    let (log, guard) = Log::capture(Level::DEBUG);
    assert!(configuration.quorum_call(&ECHO, text("fail:2")).all().await.is_err());
    let lines = log.lines("gorums::call");
    let span = r#"call{otel.name="test.Test.Echo" otel.kind="client" rpc.system="gorums" rpc.service="test.Test" rpc.method="Echo" type="quorum_call" nodes=3}"#;
    assert!(lines.iter().all(|line| line.contains(span)), "{lines:#?}");
    let failed: Vec<_> = lines.iter().filter(|line| line.contains("failed node=2")).collect();
    assert!(failed.len() == 1 && failed[0].contains("told to fail"), "{lines:#?}");
    // One-way calls that nobody waits for are told of too.
    cluster.stop(1).await;
    while configuration.node(1).unwrap().unicast(&NOTE, text("x")).send().is_ok() {
        tokio::time::sleep(100 * MS).await;
    }
    assert_eq!(log.lines("not queued").len(), 1);
    drop(guard);
    assert!(configuration.quorum_call(&ECHO, text("x")).majority().await.is_ok());
    assert!(log.lines("").is_empty());
    drop(configuration);
    cluster.finish().await;
}
