//! Messages that are too long for the other end cost their own call, and nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{ECHO, NOTE, OnNode, SAFE, Test, text};
use gorums_core::testing::Cluster;
use gorums_core::{Code, MetadataMap, NodeErrorKind, Server};

const KIB: usize = 1 << 10;

#[tokio::test(start_paused = true)]
async fn a_request_that_the_node_does_not_take() {
    let test = Test::new(1);
    let seen = test.seen.clone();
    let server = move |_| Server::builder().max_message_size(KIB).add_service(test.clone());
    let mut cluster = Cluster::in_memory(1, server).await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap();
    let other = node.rpc(&ECHO, text("release-sleep:500")).send();
    for method in [&ECHO, &SAFE] {
        let error =
            node.rpc(method, text(&"x".repeat(2 * KIB))).timeout(Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.status().unwrap().code(), Code::OutOfRange, "{error}");
        assert!(error.to_string().contains("longer than the limit of 1024"), "{error}");
        assert!(!error.is_ambiguous() && !error.is_transient());
    }
    node.unicast(&NOTE, text(&"x".repeat(2 * KIB))).await.unwrap();
    assert!(node.rpc(&ECHO, text("x")).await.is_ok());
    assert!(other.await.is_ok(), "no other call is touched");
    assert_eq!(node.stats().connections, 1);
    assert_eq!(*seen.texts.lock().unwrap(), ["release-sleep:500", "x"]);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_the_caller_does_not_take() {
    let mut cluster = Cluster::in_memory(1, |_| Server::builder().add_service(Test::new(1))).await;
    let mut long = MetadataMap::new();
    long.insert("x-client", "x".repeat(2 * KIB).parse().unwrap());
    let small = cluster.configure(|builder| builder.max_message_size(KIB).metadata(long)).unwrap();
    let node = small.node(1).unwrap();
    let other = node.rpc(&ECHO, text("release-sleep:500")).send();
    for method in [&ECHO, &SAFE] {
        let error = node.rpc(method, text("connection-meta")).await.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::Decode) && error.is_ambiguous(), "{error}");
        assert!(error.to_string().contains("longer than the limit of 1024"), "{error}");
    }
    assert!(node.rpc(&ECHO, text("x")).await.is_ok());
    assert!(other.await.is_ok(), "no other call is touched");
    assert_eq!((node.stats().connections, small.pending()), (1, 0));
    drop(small);
    cluster.finish().await;
}
