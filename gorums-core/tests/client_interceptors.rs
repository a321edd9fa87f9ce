//! Interceptors of calls: requests for each node, and replies that are changed, looked at or left out.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "client_interceptors/metadata.rs"]
mod metadata;
#[path = "client_interceptors/replies.rs"]
mod replies;
#[path = "client_interceptors/requests.rs"]
mod requests;

use std::sync::{Arc, Mutex};

use common::{ECHO, OnConfiguration, Test, Text, Transport, faulty};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gorums_core::testing::Cluster;
use gorums_core::{Configuration, NodeError, NodeId, QuorumCall, QuorumError, ReplySet};

/// Three nodes in memory, connected.
async fn three() -> (Cluster, Vec<Test>, Configuration) {
    let (mut cluster, tests) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    (cluster, tests, configuration)
}

async fn finish(cluster: Cluster, configuration: Configuration) {
    assert_eq!(configuration.pending(), 0);
    assert!(configuration.iter().all(|node| node.pending() == 0));
    drop(configuration);
    cluster.finish().await;
}

/// What an interceptor has noted.
type Log<T> = Arc<Mutex<Vec<T>>>;

fn ids<'a>(errors: impl IntoIterator<Item = &'a NodeError>) -> Vec<u32> {
    errors.into_iter().map(|error| error.node().get()).collect()
}

type Call = QuorumCall<Text, Text>;
type Terminal = fn(Call, usize) -> BoxFuture<'static, Result<Text, QuorumError>>;

/// Every way to wait for a number of replies.
const TERMINALS: [(&str, Terminal); 6] = [
    ("threshold", |call, count| call.threshold(count).boxed()),
    ("sent, threshold", |call, count| call.send().threshold(count).boxed()),
    ("quorum function", |call, count| call.quorum(any(count)).boxed()),
    ("sent, quorum function", |call, count| call.send().quorum(any(count)).boxed()),
    ("correctable", |call, count| async move { call.correctable(count).done().await.cloned() }.boxed()),
    ("read", |call, count| read(call, count).boxed()),
];

fn any(count: usize) -> impl FnMut(&mut ReplySet<Text>) -> Option<Text> {
    move |replies| {
        let done = replies.success_count() >= count;
        if done { replies.take_successes().pop().map(|(_, reply)| reply) } else { None }
    }
}

/// Reads a reply, and then waits for the quorum.
async fn read(call: Call, count: usize) -> Result<Text, QuorumError> {
    let mut replies = call.send();
    match replies.next().await.map(|reply| reply.result) {
        Some(Ok(reply)) if count == 1 => Ok(reply),
        _ => replies.threshold(count).await,
    }
}

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

/// The call of a test.
fn echo(configuration: &Configuration, text: &str) -> Call {
    configuration.quorum_call(&ECHO, common::text(text))
}
