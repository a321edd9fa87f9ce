//! Nodes that fail transiently are asked again, where that is safe.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gorums_core::quorum::majority;
use gorums_core::{
    Backoff, Code, Configuration, NodeError, NodeErrorKind, QuorumCall, QuorumErrorKind, ReplySet, Retry,
    Server, Status,
};

use super::*;
use crate::common::{OnConfiguration, OnNode, text};

type Terminal = fn(QuorumCall<Text, Text>) -> BoxFuture<'static, bool>;

/// Every way to wait for two replies of three.
const TERMINALS: [(&str, Terminal); 6] = [
    ("majority", |call| async { call.majority().await.is_ok() }.boxed()),
    ("sent, majority", |call| async { call.send().majority().await.is_ok() }.boxed()),
    ("rule", |call| async { call.decide(majority()).await.is_ok() }.boxed()),
    ("function", |call| {
        let two = |replies: &mut ReplySet<Text>| (replies.success_count() == 2).then_some(());
        async move { call.quorum(two).await.is_ok() }.boxed()
    }),
    ("correctable", |call| async { call.correctable(2).done().await.is_ok() }.boxed()),
    ("read", |call| async { call.send().first_n(2).await.len() == 2 }.boxed()),
];

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_made_good_whatever_waits_for_the_call() {
    for (name, terminal) in TERMINALS {
        let (mut cluster, nodes) = flaky(3).await;
        let configuration = cluster.configuration();
        for node in &nodes[1..] {
            node.fail(2, Status::unavailable("starting"));
        }
        let call = || configuration.quorum_call(&ECHO, text("x"));
        assert!(!terminal(call()).await, "{name}: two of three have failed");
        assert!(terminal(call().retry(Retry::up_to(2))).await, "{name}: their third time is a success");
        assert_eq!(nodes[0].times_asked(), 2, "{name}: who has replied is not asked again");
        let times = asked(&nodes[1..]);
        assert!(times.contains(&3) && times.iter().all(|&times| times <= 3), "{name}: {times:?}");
        assert_eq!(configuration.pending(), 0, "{name}");
        drop(configuration);
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_rpc_is_retried_until_its_attempts_are_used_up() {
    let (mut cluster, nodes) = flaky(1).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap();
    nodes[0].fail(3, Status::unavailable("starting"));
    let error = node.rpc(&ECHO, text("x")).retry(Retry::up_to(3)).await.unwrap_err();
    assert_eq!(error.status().unwrap().message(), "starting");
    assert_eq!(nodes[0].times_asked(), 3);
    nodes[0].fail(2, Status::unavailable("starting"));
    assert!(node.rpc(&ECHO, text("x")).retry(Retry::up_to(3)).await.is_ok());
    assert_eq!(nodes[0].times_asked(), 6);
    // One attempt is what there is without any retry.
    nodes[0].fail(1, Status::unavailable("starting"));
    assert!(node.rpc(&ECHO, text("x")).retry(Retry::up_to(1)).await.is_err());
    drop(configuration);
    cluster.finish().await;
}

/// G5: what may have taken effect is repeated only if the method is idempotent.
#[tokio::test(start_paused = true)]
async fn what_may_have_run_is_asked_again_only_if_that_is_safe() {
    let (mut cluster, nodes) = flaky(1).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap().clone();
    let call = tokio::spawn(node.rpc(&ECHO, text("hang")).retry(Retry::up_to(5)).send());
    while nodes[0].times_asked() == 0 {
        tokio::task::yield_now().await;
    }
    cluster.faults(1).reset();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
    assert!(error.is_transient() && error.is_ambiguous());
    assert_eq!(nodes[0].times_asked(), 1);
    // A node that does not know is asked again for a method that bears it, and not for another one.
    for (method, times) in [(&ECHO, 1), (&SAFE, 2)] {
        let before = nodes[0].times_asked();
        nodes[0].fail(1, Status::deadline_exceeded("the node behind me is slow"));
        let result = node.rpc(method, text("x")).retry(Retry::up_to(2)).await;
        assert_eq!((result.is_ok(), nodes[0].times_asked() - before), (times == 2, times), "{method:?}");
    }
    drop((configuration, node));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_will_fail_again_is_not_asked_again() {
    let (mut cluster, nodes) = flaky(3).await;
    let configuration = cluster.configuration();
    for node in &nodes {
        node.fail(1, Status::invalid_argument("never"));
    }
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::up_to(5));
    let error = call.majority().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
    assert_eq!(asked(&nodes), [1, 1, 1]);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn each_node_gets_its_own_request_again() {
    let (mut cluster, nodes) = flaky(3).await;
    let configuration = cluster.configuration();
    for node in &nodes {
        node.fail(1, Status::unavailable("starting"));
    }
    let call = configuration
        .quorum_call(&ECHO, text("share"))
        .retry(Retry::up_to(2))
        .map_request(|request, node| match node.id().get() {
            1 => Some(request.clone()),
            2 => Some(text("another share")),
            _ => None,
        })
        .map_metadata(|metadata, node| {
            if node.id() == 2 {
                metadata.insert("tenant", "two".parse().unwrap());
            }
        });
    assert!(call.threshold(2).await.is_ok());
    assert_eq!(*nodes[0].asked.lock().unwrap(), ["share", "share"]);
    assert_eq!(*nodes[1].asked.lock().unwrap(), ["another share of two", "another share of two"]);
    assert_eq!(nodes[2].times_asked(), 0);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_of_this_process_is_asked_again() {
    let own = Flaky { id: 1, ..Flaky::default() };
    own.fail(2, Status::unavailable("starting"));
    let services = Server::builder().add_service(own.clone());
    let configuration = Configuration::builder().local_node(1, services).connect_lazy().unwrap();
    let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::up_to(3));
    assert_eq!(call.all().await.unwrap().number, 1);
    assert_eq!(own.times_asked(), 3);
    configuration.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_waits_are_those_of_the_back_off() {
    let (mut cluster, nodes) = flaky(1).await;
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    let backoff = Backoff { initial: 100 * MS, max: 200 * MS };
    nodes[0].fail(9, Status::unavailable("starting"));
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        nodes[0].fail(9, Status::unavailable("starting"));
        let start = tokio::time::Instant::now();
        let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::up_to(4).backoff(backoff));
        assert!(call.all().await.is_err());
        longest = longest.max(start.elapsed());
    }
    // Up to 100, 200 and 200 ms, evenly drawn; timers round up to a millisecond.
    assert!(longest <= 505 * MS && longest > 250 * MS, "{longest:?}");
    drop(configuration);
    cluster.finish().await;
}

/// G5: what an earlier attempt may have done is not forgotten, whatever the last one says.
#[tokio::test(start_paused = true)]
async fn an_error_stays_ambiguous() {
    let (mut cluster, nodes) = flaky(1).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap().clone();
    node.rpc(&SAFE, text("warm up")).await.unwrap();
    let call = tokio::spawn(node.rpc(&SAFE, text("hang")).retry(Retry::up_to(3)).send());
    while nodes[0].times_asked() == 1 {
        tokio::task::yield_now().await;
    }
    cluster.kill(1).await;
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
    assert!(error.is_ambiguous() && error.to_string().contains("an earlier attempt may have"), "{error}");
    drop((configuration, node));
    cluster.finish().await;
}

/// G5: a node that has answered is not asked again by what the connection remembers.
#[tokio::test(start_paused = true)]
async fn answered_attempts_are_not_sent_again_after_a_reconnect() {
    let (mut cluster, nodes) = flaky(1).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap().clone();
    nodes[0].fail(3, Status::resource_exhausted("busy"));
    let slow = Backoff { initial: 10 * MS, max: 10 * MS };
    let call = tokio::spawn(node.rpc(&SAFE, text("then hang")).retry(Retry::up_to(5).backoff(slow)).send());
    while nodes[0].times_asked() < 4 {
        tokio::time::sleep(MS).await;
    }
    // The fourth attempt is out, and the connection breaks.
    cluster.faults(1).reset();
    while nodes[0].times_asked() < 5 {
        tokio::time::sleep(MS).await;
    }
    tokio::time::sleep(MS).await;
    nodes[0].gate.notify_waiters();
    assert!(call.await.unwrap().is_ok());
    tokio::time::sleep(SECOND).await;
    assert_eq!(nodes[0].times_asked(), 5, "three failures, one that was lost, and one that was sent for it");
    drop((configuration, node));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_caller_may_pick_the_errors() {
    let (mut cluster, nodes) = flaky(1).await;
    let configuration = cluster.configuration();
    let busy =
        |error: &NodeError| error.status().is_some_and(|status| status.code() == Code::ResourceExhausted);
    for (status, times) in [(Status::resource_exhausted("busy"), 2), (Status::unavailable("starting"), 1)] {
        let before = nodes[0].times_asked();
        nodes[0].fail(1, status);
        let call = configuration.quorum_call(&ECHO, text("x")).retry(Retry::up_to(2).only(busy));
        assert_eq!(call.all().await.is_ok(), times == 2);
        assert_eq!(nodes[0].times_asked() - before, times);
    }
    drop(configuration);
    cluster.finish().await;
}
