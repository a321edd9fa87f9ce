//! Options of a call, of a configuration, and of the builder.

use gorums_core::{CallOptions, MetadataMap, NodeErrorKind, QuorumErrorKind, Retry, Status};
use tokio::time::Instant;

use super::*;
use crate::common::{OnConfiguration, OnNode, text};

#[tokio::test(start_paused = true)]
async fn the_nearest_that_says_something_is_what_holds() {
    let (mut cluster, nodes) = flaky(3).await;
    let base = CallOptions::new().timeout(3 * SECOND).retry(Retry::up_to(2));
    let configuration = cluster.configure(|builder| builder.call_options(base)).unwrap();
    let hurried = configuration.with_options(CallOptions::new().timeout(2 * SECOND));
    configuration.wait_connected().await.unwrap();
    let took = async |call: gorums_core::QuorumCall<Text, Text>| {
        let start = Instant::now();
        let error = call.majority().await.unwrap_err();
        assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded);
        start.elapsed().as_secs()
    };
    assert_eq!(took(configuration.quorum_call(&ECHO, text("hang"))).await, 3);
    assert_eq!(took(hurried.quorum_call(&ECHO, text("hang"))).await, 2);
    assert_eq!(took(hurried.take(2).quorum_call(&ECHO, text("hang"))).await, 2);
    assert_eq!(took(hurried.quorum_call(&ECHO, text("hang")).timeout(SECOND)).await, 1);
    let both = CallOptions::new().timeout(SECOND);
    assert_eq!(took(hurried.quorum_call(&ECHO, text("hang")).timeout(4 * SECOND).options(both)).await, 1);
    // Rpcs have those of the builder, and what a configuration does not say is theirs too.
    for node in &nodes {
        node.fail(1, Status::unavailable("starting"));
    }
    assert!(configuration.node(1).unwrap().rpc(&ECHO, text("x")).await.is_ok());
    assert!(hurried.quorum_call(&ECHO, text("x")).all().await.is_ok());
    assert_eq!(hurried, configuration);
    drop((configuration, hurried));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn metadata_of_a_configuration_reaches_the_handlers() {
    let (mut cluster, nodes) = flaky(1).await;
    let mut tenant = MetadataMap::new();
    tenant.insert("tenant", "a".parse().unwrap());
    let configuration = cluster.configuration();
    let of_a = configuration.with_options(CallOptions::new().metadata(tenant.clone()));
    tenant.insert("tenant", "b".parse().unwrap());
    assert!(configuration.quorum_call(&ECHO, text("x")).all().await.is_ok());
    assert!(of_a.quorum_call(&ECHO, text("x")).all().await.is_ok());
    assert!(of_a.quorum_call(&ECHO, text("x")).metadata(tenant).all().await.is_ok());
    assert_eq!(*nodes[0].asked.lock().unwrap(), ["x", "x of a", "x of b"]);
    drop((configuration, of_a));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_configuration_may_wait_for_nodes_that_are_down() {
    let (mut cluster, _) = flaky(1).await;
    let patient = CallOptions::new().wait_for_ready(true).timeout(60 * SECOND);
    let configuration = cluster.configuration();
    cluster.stop(1).await;
    let error = configuration.wait_connected().await.unwrap_err();
    let known = || configuration.quorum_call(&ECHO, text("x")).all();
    while !matches!(known().await.unwrap_err().nodes()[0].kind(), NodeErrorKind::Unavailable) {}
    let call = configuration.with_options(patient).quorum_call(&ECHO, text("x"));
    let call = tokio::spawn(async move { call.all().await });
    tokio::time::sleep(SECOND).await;
    cluster.start(1).await;
    assert!(call.await.unwrap().is_ok(), "{error}");
    drop(configuration);
    cluster.finish().await;
}

/// A handler whose own deadline has passed answers so. The call's has not, and is not what failed it.
#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_handler_is_not_that_of_the_call() {
    let (mut cluster, nodes) = flaky(3).await;
    let configuration = cluster.configuration();
    nodes[0].fail(1, Status::deadline_exceeded("further down"));
    nodes[1].fail(1, Status::permission_denied("no"));
    let error = configuration.quorum_call(&ECHO, text("x")).timeout(60 * SECOND).all().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete, "{error}");
    drop(configuration);
    cluster.finish().await;
}
