//! Calls over real sockets: every call type, every way to end.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{
    COUNT, Cluster, ECHO, NOTE, OnConfiguration, OnNode, UNKNOWN, eventually, number, text, within,
};
use futures_util::StreamExt;
use gorums_core::{Code, Configuration, MetadataMap, NodeErrorKind, QuorumErrorKind, ReplySet};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminals_count_successes() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    let call = || configuration.quorum_call(&ECHO, text("hello"));
    assert_eq!(call().first().await.unwrap().text, "hello");
    assert_eq!(call().majority().await.unwrap().text, "hello");
    assert_eq!(call().all().await.unwrap().text, "hello");
    assert_eq!(call().threshold(2).await.unwrap().text, "hello");
    assert_eq!(configuration.all().quorum_call(&ECHO, text("hello")).await.unwrap().text, "hello");
    let sum = call().quorum(|replies: &mut ReplySet<common::Text>| {
        (replies.success_count() == 3)
            .then(|| replies.successes().map(|(_, reply)| reply.number).sum::<u64>())
    });
    assert_eq!(sum.await.unwrap(), 6);
    assert_eq!(configuration.pending(), 0);
    configuration.close().await;
}

#[tokio::test]
async fn a_sent_call_is_a_stream_of_replies() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    let mut replies = configuration.quorum_call(&ECHO, text("fail:2")).send();
    let mut outcomes = Vec::new();
    while let Some(reply) = replies.next().await {
        outcomes.push((reply.node.get(), reply.result.is_ok()));
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, [(1, true), (2, false), (3, true)]);
    // What was read counts for a terminal that is used afterwards.
    let mut replies = configuration.quorum_call(&ECHO, text("hang:3")).send();
    assert!(replies.next().await.unwrap().result.is_ok());
    assert!(replies.majority().await.is_ok());
    assert_eq!(configuration.pending(), 0);
}

#[tokio::test]
async fn an_impossible_quorum_fails_at_once_and_names_the_nodes() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    let error =
        within("impossible", configuration.quorum_call(&ECHO, text("fail:2")).all()).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
    let refused = error.nodes().iter().find(|error| error.node() == 2).unwrap();
    assert_eq!(refused.status().unwrap().code(), Code::FailedPrecondition);
    // Whoever had not answered by then is named as well.
    assert_eq!(error.replies() + error.nodes().len(), 3);
    let rest = configuration.without_errors(&error);
    assert_eq!(rest.node_ids().map(u32::from).collect::<Vec<_>>(), [1, 3]);
    assert!(rest.quorum_call(&ECHO, text("fail:2")).all().await.is_ok());
    let error = configuration.quorum_call(&ECHO, text("x")).threshold(4).await.unwrap_err();
    assert_eq!((error.kind(), error.needed()), (QuorumErrorKind::Incomplete, 4));
    assert_eq!(configuration.pending(), 0);
}

#[tokio::test]
async fn a_deadline_ends_the_call_and_names_who_is_missing() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    let call = configuration.quorum_call(&ECHO, text("hang:3")).timeout(Duration::from_millis(200)).all();
    let error = within("deadline", call).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded);
    assert_eq!((error.replies(), error.nodes().len()), (2, 1));
    assert_eq!(error.nodes()[0].node(), 3);
    assert!(matches!(error.nodes()[0].kind(), NodeErrorKind::DeadlineExceeded));
    assert!(error.nodes()[0].is_ambiguous());
    assert_eq!(configuration.pending(), 0);
    // The remaining time had travelled with the request.
    let remaining = cluster.nodes[2].seen.last_remaining.lock().unwrap().unwrap();
    assert!(remaining <= Duration::from_millis(200) && remaining > Duration::ZERO, "{remaining:?}");
}

#[tokio::test]
async fn dropping_a_call_removes_it_and_tells_the_handler() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    configuration.quorum_call(&ECHO, text("warm up")).all().await.unwrap();
    let replies = configuration.quorum_call(&ECHO, text("hang")).send();
    eventually("started", || cluster.nodes.iter().all(|node| node.seen.texts.lock().unwrap().len() == 2))
        .await;
    assert_eq!(configuration.pending(), 1);
    assert_eq!(configuration.nodes()[0].pending(), 1);
    drop(replies);
    assert_eq!(configuration.pending(), 0);
    assert!(configuration.iter().all(|node| node.pending() == 0));
    eventually("told", || cluster.nodes.iter().all(|node| node.seen.cancelled.load(Ordering::SeqCst) == 1))
        .await;
}

#[tokio::test]
async fn errors_of_handlers() {
    let cluster = Cluster::start(1).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap();
    let code =
        async |call: gorums_core::Rpc<_, common::Text>| call.await.unwrap_err().status().unwrap().code();
    assert_eq!(code(node.rpc(&ECHO, text("fail"))).await, Code::FailedPrecondition);
    assert_eq!(code(node.rpc(&ECHO, text("panic"))).await, Code::Internal);
    assert_eq!(code(node.rpc(&UNKNOWN, text("x"))).await, Code::Unimplemented);
    assert_eq!(node.rpc(&ECHO, text("alive")).await.unwrap().text, "alive");
    assert!(node.last_error().is_some());
    assert!(node.latency().is_some());
}

#[tokio::test]
async fn metadata_reaches_the_handler() {
    let cluster = Cluster::start(1).await;
    let configuration = cluster.configuration();
    let mut metadata = MetadataMap::new();
    metadata.insert("x-trace", "abc".parse().unwrap());
    let reply = configuration.node(1).unwrap().rpc(&ECHO, text("meta")).metadata(metadata).await.unwrap();
    assert_eq!(reply.text, "abc");
}

#[tokio::test]
async fn one_way_calls_arrive_in_order() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    let node = configuration.node(2).unwrap();
    for i in 0..100 {
        match i % 4 {
            0 => configuration.multicast(&NOTE, number(i)).await.unwrap(),
            1 => configuration.multicast(&NOTE, number(i)).send().unwrap(),
            2 => node.unicast(&NOTE, number(i)).await.unwrap(),
            _ => node.unicast(&NOTE, number(i)).send().unwrap(),
        }
    }
    configuration.quorum_call(&ECHO, number(100)).all().await.unwrap();
    assert_eq!(cluster.seen(1), (0..=100).collect::<Vec<_>>());
    assert_eq!(cluster.seen(0), (0..=100).filter(|i| i % 4 < 2).collect::<Vec<_>>());
    assert_eq!(configuration.pending(), 0);
}

#[tokio::test]
async fn streaming_replies_end_with_the_handlers() {
    let cluster = Cluster::start(2).await;
    let configuration = cluster.configuration();
    let replies: Vec<_> = configuration.streaming_call(&COUNT, number(3)).send().collect().await;
    assert_eq!(replies.len(), 6);
    assert!(replies.iter().all(|reply| reply.result.is_ok()));
    let mut request = number(1);
    request.text = "fail".into();
    let replies: Vec<_> = configuration.streaming_call(&COUNT, request).send().collect().await;
    let failed = replies.iter().filter_map(|reply| reply.result.as_ref().err()).collect::<Vec<_>>();
    assert_eq!((replies.len(), failed.len()), (4, 2));
    assert!(failed.iter().all(|error| error.status().unwrap().code() == Code::Aborted));
    assert_eq!(configuration.pending(), 0);
}

#[tokio::test]
async fn a_correctable_call_rises_and_stops_early() {
    let cluster = Cluster::start(2).await;
    let configuration = cluster.configuration();
    let mut correctable = configuration.streaming_call(&COUNT, number(0)).no_timeout().correctable(5);
    let mut last = 0;
    for level in 1..=5 {
        assert!(correctable.wait_for(level).await.unwrap().number >= 1);
        assert!(correctable.level() >= level.max(last));
        last = correctable.level();
    }
    assert!(correctable.done().await.is_ok());
    assert!(correctable.is_done());
    assert_eq!(configuration.pending(), 0);
    // The handlers notice, and stop.
    let updates = || cluster.nodes.iter().map(|node| node.seen.updates.load(Ordering::SeqCst)).sum::<u64>();
    within("handlers stop", async {
        loop {
            let before = updates();
            tokio::time::sleep(Duration::from_millis(50)).await;
            if updates() == before {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_down_does_not_hold_up_a_majority() {
    let cluster = Cluster::start(2).await;
    let mut addresses: Vec<_> = cluster.addresses.iter().map(ToString::to_string).collect();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    addresses.push(free.to_string());
    let configuration = Configuration::builder().nodes(addresses).connect_lazy().unwrap();
    assert!(within("majority", configuration.quorum_call(&ECHO, text("x")).majority()).await.is_ok());
    let error = within("all", configuration.quorum_call(&ECHO, text("x")).all()).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
    let down = error.nodes().iter().find(|error| error.node() == 3).unwrap();
    assert!(matches!(down.kind(), NodeErrorKind::Unavailable), "{error}");
    assert!(!down.is_ambiguous() && error.is_transient());
    let error = Configuration::builder().nodes([free.to_string()]).connect().await.unwrap_err();
    assert!(error.to_string().contains(&free.to_string()), "{error}");
}

#[tokio::test]
async fn a_local_node_answers_in_process() {
    let cluster = Cluster::start(2).await;
    let local = common::Test::new(3);
    let configuration = Configuration::builder()
        .nodes(cluster.addresses.iter().map(ToString::to_string))
        .local_node(3, gorums_core::Server::builder().add_service(local.clone()))
        .connect_lazy()
        .unwrap();
    assert!(configuration.quorum_call(&ECHO, number(7)).all().await.is_ok());
    assert_eq!(*local.seen.numbers.lock().unwrap(), [7]);
    assert!(within("majority", configuration.quorum_call(&ECHO, text("hang:3")).majority()).await.is_ok());
    configuration.close().await;
    let error = configuration.quorum_call(&ECHO, text("x")).first().await.unwrap_err();
    assert!(matches!(error.nodes()[0].kind(), NodeErrorKind::Closed));
}

#[tokio::test]
async fn a_server_that_stops_ends_calls_as_connection_lost() {
    let cluster = Cluster::start(1).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap();
    let hanging = node.rpc(&ECHO, text("hang")).send();
    eventually("started", || !cluster.nodes[0].seen.texts.lock().unwrap().is_empty()).await;
    cluster.handles[0].abort().await;
    let error = within("lost", hanging).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
    assert!(error.is_ambiguous());
}

#[tokio::test]
async fn a_dead_node_does_not_keep_a_multicast_from_the_others() {
    let cluster = Cluster::start(4).await;
    cluster.handles[1].abort().await;
    let configuration = cluster.configuration();
    // Node 2 is known to be down; the others have not been dialled yet.
    configuration.node(2).unwrap().rpc(&ECHO, text("probe")).await.unwrap_err();
    let error =
        within("multicast", async { configuration.multicast(&NOTE, text("note")).await }).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::SendFailure);
    // The three others have taken the message, and only the dead one is named.
    assert_eq!((error.replies(), error.nodes().len()), (3, 1), "{error}");
    for index in [0, 2, 3] {
        let seen = &cluster.nodes[index].seen;
        eventually("noted", || seen.texts.lock().unwrap().iter().any(|text| text == "note")).await;
    }
}

#[tokio::test]
async fn options_and_metadata_of_a_configuration() {
    let cluster = Cluster::start(2).await;
    let mut metadata = MetadataMap::new();
    metadata.insert("x-client", "tester".parse().unwrap());
    let limits = gorums_core::QueueLimits { messages: 1, bytes: 1 << 20 };
    let configuration = Configuration::builder()
        .node_map([(7_u32, cluster.addresses[0].to_string()), (3, cluster.addresses[1].to_string())])
        .metadata(metadata)
        .queue_limits(limits)
        .connect()
        .await
        .unwrap();
    assert_eq!(configuration.node_ids().map(u32::from).collect::<Vec<_>>(), [7, 3]);
    assert_eq!(
        configuration.sorted_by(gorums_core::id).node_ids().map(u32::from).collect::<Vec<_>>(),
        [3, 7]
    );
    assert_eq!(configuration.only([3]).len(), 1);
    let reply = configuration.node(7).unwrap().rpc(&ECHO, text("connection-meta")).await.unwrap();
    assert_eq!(reply.text, "tester");
    let node = configuration.node(3).unwrap();
    let first = node.unicast(&NOTE, text("x")).send();
    let second = node.unicast(&NOTE, text("x")).send();
    assert!(first.is_ok() && second.is_err(), "the queue has room for one request");
}

#[test]
fn a_quorum_function_can_be_tested_by_itself() {
    let reply = |node, value| gorums_core::NodeReply {
        node: gorums_core::NodeId::new(node).unwrap(),
        result: Ok(number(value)),
    };
    let mut set = ReplySet::from_replies(3, [reply(1, 5), reply(3, 9)]);
    assert_eq!((set.size(), set.success_count(), set.outstanding()), (3, 2, 1));
    let taken = set.take_successes();
    assert_eq!(taken.iter().map(|(_, reply)| reply.number).max(), Some(9));
    assert_eq!(set.success_count(), 0);
}

#[tokio::test]
async fn a_server_whose_task_is_aborted_is_gone() {
    let server = gorums_core::Server::builder().add_service(common::Test::new(1));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().to_string();
    let serving = tokio::spawn(server.serve());
    let configuration = Configuration::builder().nodes([address]).connect().await.unwrap();
    let node = configuration.node(1).unwrap();
    let hanging = node.rpc(&ECHO, text("hang")).send();
    serving.abort();
    let error = within("gone", hanging).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
}
