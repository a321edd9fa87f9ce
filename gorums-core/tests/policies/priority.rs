//! Control passes what waits, and has room of its own.

use gorums_core::testing::Traffic;
use gorums_core::{CallOptions, NodeErrorKind, Priority, QueueLimits};

use super::*;
use crate::common::{OnNode, text};

#[tokio::test(start_paused = true)]
async fn control_is_sent_before_what_waits_and_never_refused_for_it() {
    let (mut cluster, nodes) = flaky(1).await;
    let limits = QueueLimits { messages: 8, bytes: 8 << 20 };
    let configuration =
        cluster.configure(|builder| builder.queue_limits(limits).timeout(60 * SECOND)).unwrap();
    let node = configuration.node(1).unwrap();
    node.rpc(&ECHO, text("warm up")).await.unwrap();
    // The peer takes nothing more, until its window is used up and requests wait in the queue.
    cluster.faults(1).set_both(Traffic::Hold);
    let long = "x".repeat(1 << 20);
    let mut calls = Vec::new();
    while node.stats().queue.queued == 0 {
        calls.push(node.rpc(&ECHO, text(&long)).send());
        tokio::task::yield_now().await;
    }
    let bulk = ["a", "b", "c", "d", "e", "f", "g"].map(|name| node.rpc(&ECHO, text(name)).send());
    let refused = node.rpc(&ECHO, text("h")).await.unwrap_err();
    assert!(matches!(refused.kind(), NodeErrorKind::QueueFull), "{refused}");
    let control =
        ["vote 1", "vote 2"].map(|name| node.rpc(&ECHO, text(name)).priority(Priority::Control).send());
    cluster.faults(1).set_both(Traffic::Forward);
    for call in calls.into_iter().chain(control).chain(bulk) {
        call.await.unwrap();
    }
    let asked = nodes[0].asked.lock().unwrap().clone();
    let short: Vec<_> = asked.iter().filter(|text| text.len() < 10).collect();
    let first = short.iter().position(|text| *text == "vote 1").unwrap();
    assert_eq!(short[first..first + 3], ["vote 1", "vote 2", "a"], "{short:?}");
    let queue = node.stats().queue;
    assert_eq!((queue.offered, queue.queued), (queue.sent + queue.dropped + queue.failed, 0));
    drop(configuration);
    cluster.finish().await;
}

/// Control is a configuration's matter as well, and has limits too.
#[tokio::test(start_paused = true)]
async fn control_is_bounded() {
    let (mut cluster, _) = flaky(1).await;
    let limits = QueueLimits { messages: 8, bytes: 1 << 20 };
    let control = CallOptions::new().priority(Priority::Control);
    let configuration =
        cluster.configure(|builder| builder.queue_limits(limits).call_options(control)).unwrap();
    let node = configuration.node(1).unwrap();
    cluster.faults(1).set_both(Traffic::Hold);
    let calls: Vec<_> = (0..9).map(|_| node.rpc(&ECHO, text("vote")).send()).collect();
    assert_eq!(node.stats().queue.queued, 8);
    cluster.faults(1).set_both(Traffic::Forward);
    let mut refused = 0;
    for call in calls {
        refused += u32::from(call.await.is_err_and(|error| matches!(error.kind(), NodeErrorKind::QueueFull)));
    }
    assert_eq!(refused, 1);
    drop(configuration);
    cluster.finish().await;
}
