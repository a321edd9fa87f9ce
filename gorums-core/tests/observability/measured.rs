//! Metrics, as a recorder gets them.
#![allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "small whole numbers")]

use std::collections::HashMap;
use std::time::Duration;

use gorums_core::{MeasureHandlers, QuorumErrorKind, ReplySet};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use super::*;
use crate::common::{NOTE, OnNode, Test, Transport, faulty, text};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// The values since the last look, by name and labels, as `name{label=value,..}`; of a histogram, how many there are. The
/// recorder then has 0 for each, gauges too.
pub(super) fn read(snapshotter: &Snapshotter) -> HashMap<String, f64> {
    let entry = |(key, _, _, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
        let labels: Vec<_> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => values.len() as f64,
        };
        (format!("{}{{{}}}", key.key().name(), labels.join(",")), value)
    };
    snapshotter.snapshot().into_vec().into_iter().map(entry).collect()
}

fn assert_all(found: &HashMap<String, f64>, expected: &[(&str, f64)]) {
    for (name, value) in expected {
        assert_eq!(found.get(*name), Some(value), "{name} in {found:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_method_type_and_outcome() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configure(|builder| builder.metrics("replicas", SECOND)).unwrap();
    configuration.wait_connected().await.unwrap();
    let call = |what: &str| configuration.quorum_call(&ECHO, text(what));
    assert!(call("x").all().await.is_ok());
    assert!(call("x").all().await.is_ok());
    assert!(call("fail:2").all().await.is_err());
    let late = call("hang:3").timeout(SECOND).all().await.unwrap_err();
    assert_eq!(late.kind(), QuorumErrorKind::DeadlineExceeded);
    drop(call("hang:3").send());
    assert_eq!(call("x").send().into_map().await.len(), 3);
    let node = configuration.node(1).unwrap();
    assert!(node.rpc(&ECHO, text("x")).await.is_ok());
    assert!(node.rpc(&ECHO, text("fail")).await.is_err());
    configuration.multicast(&NOTE, text("x")).send().unwrap();
    assert!(configuration.multicast(&NOTE, text("x")).await.is_ok());
    let found = read(&snapshotter);
    let name = |outcome: &str| {
        format!(
            "gorums_client_calls_total{{configuration=replicas,method=test.Test.Echo,type=quorum_call,outcome={outcome}}}"
        )
    };
    for (outcome, times) in [
        ("ok", 3.0),
        ("incomplete", 1.0),
        ("deadline_exceeded", 1.0),
        ("dropped", 1.0),
        ("ended", 1.0),
        ("status", 1.0),
    ] {
        assert_eq!(found.get(&name(outcome)), Some(&times), "{outcome}: {found:#?}");
    }
    assert_all(
        &found,
        &[
            (
                "gorums_client_calls_total{configuration=replicas,method=test.Test.Note,type=multicast,outcome=ok}",
                2.0,
            ),
            (
                "gorums_client_call_duration_seconds{configuration=replicas,method=test.Test.Echo,type=quorum_call}",
                8.0,
            ),
        ],
    );
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_are_measured_at_the_interval_and_at_the_end() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, _) = faulty(Transport::Memory, 2).await;
    let configuration = cluster.configure(|builder| builder.metrics("replicas", SECOND)).unwrap();
    let addresses: Vec<_> = configuration.iter().map(|node| node.address().to_owned()).collect();
    configuration.wait_connected().await.unwrap();
    for _ in 0..5 {
        configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
    }
    let hanging = configuration.node(2).unwrap().rpc(&ECHO, text("hang")).send();
    tokio::time::sleep(SECOND + SECOND / 2).await;
    let found = read(&snapshotter);
    let labels = |id: usize| format!("{{configuration=replicas,node={id},address={}}}", addresses[id - 1]);
    for (metric, id, value) in [
        ("gorums_node_latency_seconds", 1, 5.0),
        ("gorums_node_latency_seconds", 2, 5.0),
        ("gorums_node_requests_offered_total", 1, 5.0),
        ("gorums_node_requests_sent_total", 2, 6.0),
        ("gorums_node_requests_dropped_total", 1, 0.0),
        ("gorums_node_connections_total", 1, 1.0),
        ("gorums_node_connected", 1, 1.0),
        ("gorums_node_pending_calls", 1, 0.0),
        ("gorums_node_pending_calls", 2, 1.0),
        ("gorums_node_queue_requests", 1, 0.0),
        ("gorums_node_queue_bytes", 1, 0.0),
    ] {
        assert_eq!(found.get(&format!("{metric}{}", labels(id))), Some(&value), "{metric} {id}: {found:#?}");
    }
    assert_eq!(found["gorums_client_pending_calls{configuration=replicas}"], 1.0);
    drop(hanging);
    configuration.close().await;
    assert_eq!(read(&snapshotter)["gorums_client_pending_calls{configuration=replicas}"], 0.0);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn servers_and_handlers_are_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = |_| Server::builder().metrics("node 1", SECOND).add_service(Test::new(1));
    let mut cluster = Cluster::in_memory(1, server).await;
    let configuration = cluster.configuration();
    assert!(configuration.quorum_call(&ECHO, text("x")).all().await.is_ok());
    assert!(configuration.quorum_call(&ECHO, text("fail")).all().await.is_err());
    let hanging = configuration.quorum_call(&ECHO, text("hang")).send();
    tokio::time::sleep(SECOND + SECOND / 2).await;
    let echo = "server=node 1,method=test.Test.Echo";
    let found = read(&snapshotter);
    assert_all(
        &found,
        &[
            (&format!("gorums_server_requests_total{{{echo},code=Ok}}"), 1.0),
            (&format!("gorums_server_requests_total{{{echo},code=FailedPrecondition}}"), 1.0),
            (&format!("gorums_server_handler_duration_seconds{{{echo}}}"), 2.0),
            ("gorums_server_connections{server=node 1}", 1.0),
            ("gorums_server_streams{server=node 1}", 1.0),
            ("gorums_server_handlers{server=node 1}", 1.0),
            ("gorums_server_peers{server=node 1}", 0.0),
            ("gorums_server_grpc_calls{server=node 1}", 0.0),
            ("gorums_server_named_clients{server=node 1}", 1.0),
        ],
    );
    drop((hanging, configuration));
    cluster.stop(1).await;
    assert_eq!(read(&snapshotter)["gorums_server_connections{server=node 1}"], 0.0);
    cluster.finish().await;
    // It can be added to services that no server has, too.
    let _ = Server::builder().interceptor(MeasureHandlers::new("callbacks"));
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_given_up_or_for_nobody_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, nodes) = faulty(Transport::Memory, 1).await;
    let configuration = cluster.configure(|builder| builder.metrics("replicas", SECOND)).unwrap();
    assert!(configuration.multicast(&NOTE, text("x")).map_request(|_, _| None).await.is_ok());
    let mut replies = configuration.quorum_call(&ECHO, text("x")).send();
    while replies.next().await.is_some_and(|_| replies.size() > 1) {}
    drop(replies);
    let call = configuration.quorum_call(&ECHO, text("x"));
    drop(call);
    let found = read(&snapshotter);
    let name = |method: &str, kind: &str, outcome: &str| {
        format!(
            "gorums_client_calls_total{{configuration=replicas,method=test.Test.{method},type={kind},outcome={outcome}}}"
        )
    };
    assert_eq!(found.get(&name("Note", "multicast", "ok")), Some(&1.0), "{found:#?}");
    assert_eq!(found.get(&name("Echo", "quorum_call", "ended")), Some(&1.0), "{found:#?}");
    assert_eq!(found.get(&name("Echo", "quorum_call", "dropped")), None, "what was never sent is no call");
    drop((configuration, nodes));
    cluster.finish().await;
}

/// What `send` and `queued` say of a one-way call is what is counted, as if it was awaited.
#[tokio::test(start_paused = true)]
async fn one_way_calls_that_enough_nodes_take_are_ok() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configure(|builder| builder.metrics("one-way", SECOND)).unwrap();
    configuration.wait_connected().await.unwrap();
    let but_one = || {
        let call = configuration.multicast(&NOTE, text("x"));
        call.map_request(|request: &Text, node| (node.id().get() != 2).then(|| request.clone()))
    };
    but_one().send().unwrap();
    but_one().queued().await.unwrap();
    but_one().await.unwrap();
    let outcome = |outcome: &str| {
        format!(
            "gorums_client_calls_total{{configuration=one-way,method=test.Test.Note,type=multicast,outcome={outcome}}}"
        )
    };
    let found = read(&snapshotter);
    assert_all(&found, &[(&outcome("ok"), 3.0)]);
    assert_eq!(found.get(&outcome("send_failure")), None);
    cluster.stop(3).await;
    while configuration.node(3).unwrap().unicast(&NOTE, text("x")).send().is_ok() {
        tokio::time::sleep(SECOND / 10).await;
    }
    assert_all(&read(&snapshotter), &[(&outcome("send_failure"), 1.0)]);
    let two = configuration.threshold(2);
    two.multicast(&NOTE, text("x")).send().unwrap();
    two.multicast(&NOTE, text("x")).queued().await.unwrap();
    assert_all(&read(&snapshotter), &[(&outcome("ok"), 2.0), (&outcome("send_failure"), 0.0)]);
    assert!(configuration.multicast(&NOTE, text("x")).send().is_err());
    assert_all(&read(&snapshotter), &[(&outcome("ok"), 0.0), (&outcome("send_failure"), 1.0)]);
    drop((configuration, two));
    cluster.finish().await;
}

/// A call ends when there is nothing more to read, however long its replies are kept.
#[tokio::test(start_paused = true)]
async fn calls_end_with_the_last_of_their_replies() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut cluster, _) = faulty(Transport::Memory, 2).await;
    let configuration = cluster.configure(|builder| builder.metrics("read", SECOND)).unwrap();
    let call = |what: &str| configuration.quorum_call(&ECHO, text(what)).timeout(SECOND);
    let (mut answered, mut late) = (call("x").send(), call("hang:2").send());
    let outcome = |outcome: &str| {
        format!(
            "gorums_client_calls_total{{configuration=read,method=test.Test.Echo,type=quorum_call,outcome={outcome}}}"
        )
    };
    while answered.next().await.is_some() {}
    assert_all(&read(&snapshotter), &[(&outcome("ended"), 1.0)]);
    assert!(late.next().await.is_some_and(|reply| reply.result.is_ok()));
    assert_eq!(read(&snapshotter).get(&outcome("ended")), Some(&0.0));
    assert!(late.next().await.is_some_and(|reply| reply.result.is_err()));
    assert_all(&read(&snapshotter), &[(&outcome("ended"), 1.0)]);
    assert!(late.next().await.is_none());
    drop((answered, late));
    // Where a terminal reads the replies, it says how the call has ended.
    let never = |_: &mut ReplySet<Text>| None::<()>;
    assert!(call("x").send().quorum(never).await.is_err());
    assert_eq!(call("x").send().first_n(2).await.len(), 2);
    let found = read(&snapshotter);
    assert_all(&found, &[(&outcome("incomplete"), 1.0), (&outcome("ok"), 1.0), (&outcome("ended"), 0.0)]);
    drop(configuration);
    cluster.finish().await;
}
