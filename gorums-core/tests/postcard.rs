//! Messages that are plain serde types: every call type, and everything that can be wrong with a message.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod common;
#[path = "postcard/service.rs"]
mod service;
#[path = "postcard/wrong.rs"]
mod wrong;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{OnConfiguration, OnNode};
use futures_util::StreamExt;
use gorums_core::testing::Cluster;
use gorums_core::{Code, Configuration, Next, NodeId, Server, ServerCall, Stage};
use service::{ECHO, Entry, Kind, NOTE, RPC, TELL, Tests, WATCH, entry};

/// Nodes on a network in memory, and one in this process.
async fn nodes() -> (Cluster, Configuration, Vec<Tests>) {
    let tests: Vec<_> = (0..3).map(|_| Tests::default()).collect();
    let nodes = tests.clone();
    let server = move |id: NodeId| Server::builder().add_service(nodes[id.get() as usize - 1].clone());
    let mut cluster = Cluster::in_memory(2, server).await;
    let own = Server::builder().add_service(tests[2].clone());
    let configuration = cluster.configure(|builder| builder.local_node(3, own)).unwrap();
    (cluster, configuration, tests)
}

#[tokio::test(start_paused = true)]
async fn every_call_type() {
    let (cluster, configuration, tests) = nodes().await;
    let all = configuration.quorum_call(&ECHO, entry("all")).send();
    let replies: Vec<_> = all.map(|reply| reply.result.unwrap()).collect().await;
    assert_eq!(replies, vec![entry("all"); 3]);
    let staged = configuration.quorum_call(&ECHO, entry("stage")).staged(Stage::after(Duration::ZERO));
    assert_eq!(staged.all().await.unwrap(), entry("stage"));
    for node in configuration.nodes() {
        assert_eq!(node.rpc(&RPC, entry("rpc")).await.unwrap(), entry("rpc"));
        node.unicast(&TELL, entry("one")).await.unwrap();
        // In order: when this one is answered, that one was handled.
        node.rpc(&RPC, entry("rpc")).await.unwrap();
    }
    configuration.multicast(&NOTE, entry("each")).await.unwrap();
    configuration.quorum_call(&ECHO, entry("all")).all().await.unwrap();
    for tests in &tests {
        assert_eq!(*tests.told.lock().unwrap(), [entry("one"), entry("each")]);
    }
    let updates = configuration.streaming_call(&WATCH, entry("w")).send();
    let updates: Vec<_> = updates.map(|reply| reply.result.unwrap()).collect().await;
    let mut numbers: Vec<_> = updates.into_iter().map(|update| update.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    drop(configuration);
    cluster.finish().await;
}

/// What is on the wire is what the documentation of postcard says, in the envelope of every other method.
#[tokio::test(start_paused = true)]
async fn the_payload_is_plain_postcard() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let server = move |_| {
        let keep = keep.clone();
        let look = move |call: ServerCall, next: Next| {
            keep.lock().unwrap().push(call.payload().clone());
            next.run(call)
        };
        Server::builder().add_service(Tests::default()).interceptor(look)
    };
    let mut cluster = Cluster::in_memory(1, server).await;
    let configuration = cluster.configuration();
    let entry = Entry { kind: Kind::Named("n".to_owned()), tags: BTreeMap::from([(1, None)]), ..entry("k") };
    configuration.quorum_call(&ECHO, entry).all().await.unwrap();
    // A string, a varint, a variant with a string, a map of one.
    assert_eq!(*seen.lock().unwrap(), [&[1, b'k', 0, 1, 1, b'n', 1, 1, 0][..]]);
    drop(configuration);
    cluster.finish().await;
}

/// Interceptors of a server read and write messages by their types, whatever they are encoded with.
#[tokio::test(start_paused = true)]
async fn interceptors_see_the_messages() {
    let server = |_| {
        let change = async |mut call: ServerCall, next: Next| {
            let request: Entry = call.message()?;
            assert_eq!(call.message::<u64>().unwrap_err().code(), Code::Internal);
            call.set_message(&Entry { number: request.number + 1, ..request })?;
            let mut reply = next.run(call).await?;
            let seen: Entry = reply.message()?;
            reply.set_message(&Entry { number: seen.number * 10, ..seen })?;
            Ok(reply)
        };
        let change = move |call: ServerCall, next: Next| change(call, next);
        Server::builder().add_service(Tests::default()).interceptor(change)
    };
    let own = server(NodeId::new(2).unwrap());
    let mut cluster = Cluster::in_memory(1, server).await;
    let configuration = cluster.configure(|builder| builder.local_node(2, own)).unwrap();
    let replies = configuration.quorum_call(&ECHO, entry("k")).send();
    let numbers: Vec<_> = replies.map(|reply| reply.result.unwrap().number).collect().await;
    assert_eq!(numbers, [10, 10]);
    drop(configuration);
    cluster.finish().await;
}
