//! Each of these was wrong once, in calls and in the local node.
#![allow(clippy::unwrap_used, clippy::wildcard_imports, missing_docs)]

mod common;
use common::*;
use gorums_core::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_local_handler_hears_that_its_caller_has_gone() {
    let test = Test::new(1);
    let configuration = Configuration::builder()
        .local_node(1_u32, Server::builder().add_service(test.clone()))
        .connect_lazy()
        .unwrap();
    let call = configuration.nodes()[0].rpc(&ECHO, text("hang")).timeout(Duration::from_secs(3600)).send();
    soon("seen", 5000 * MS, || test.seen.texts.lock().unwrap().len() == 1).await;
    drop(call);
    soon("the handler is told", Duration::from_secs(3), || test.seen.cancelled.load(Ordering::SeqCst) == 1)
        .await;
}

#[tokio::test]
async fn dropping_a_local_node_ends_its_handlers() {
    let test = Test::new(1);
    let seen = Arc::downgrade(&test.seen);
    let configuration = Configuration::builder()
        .drain_timeout(50 * MS)
        .local_node(1_u32, Server::builder().add_service(test.clone()))
        .connect_lazy()
        .unwrap();
    let _ = configuration.nodes()[0].rpc(&ECHO, text("sleep:3600000")).timeout(50 * MS).send().await;
    assert_eq!(test.seen.texts.lock().unwrap().len(), 1);
    drop(test);
    drop(configuration);
    soon("everything is gone", Duration::from_secs(3), || seen.strong_count() == 0).await;
}

#[tokio::test]
async fn a_correctable_that_reached_its_level_leaves_the_slower_nodes_alone() {
    let cluster = Cluster::start(2).await;
    let often = Backoff { initial: 5 * MS, max: 5 * MS };
    let configuration = Configuration::builder()
        .nodes(cluster.addresses.iter().map(ToString::to_string).chain(["127.0.0.1:9".into()]))
        .backoff(often)
        .connect_lazy()
        .unwrap();
    configuration.quorum_call(&ECHO, text("x")).wait_for_ready(true).majority().await.unwrap();
    assert_eq!(configuration.nodes()[2].stats().queue.queued, 1);
    let mut c = configuration.quorum_call(&ECHO, text("x")).wait_for_ready(true).correctable(2);
    c.done().await.unwrap();
    assert_eq!(configuration.nodes()[2].stats().queue.queued, 2, "withdrawn from the third node");
}

/// G3: its request was dropped after a day in the queue, and nobody told the caller, who has no deadline.
#[tokio::test(start_paused = true)]
async fn a_call_without_a_deadline_waits_for_its_node_for_as_long_as_it_takes() {
    let server = |_| Server::builder().add_service(Test::new(1));
    let mut cluster = gorums_core::testing::Cluster::in_memory(1, server).await;
    let hour = Duration::from_secs(3600);
    let configuration =
        cluster.configure(|builder| builder.backoff(Backoff { initial: hour, max: hour })).unwrap();
    cluster.stop(1).await;
    let call = configuration.streaming_call(&COUNT, number(3)).no_timeout().wait_for_ready(true);
    let replies = call.send();
    tokio::time::sleep(25 * hour).await;
    cluster.start(1).await;
    let replies = tokio::time::timeout(2 * hour, futures_util::StreamExt::collect::<Vec<_>>(replies));
    let replies = replies.await.expect("the call neither goes on nor fails");
    assert!(replies.len() == 3 && replies.iter().all(|reply| reply.result.is_ok()));
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test]
async fn a_correctable_out_of_reach_is_done() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    let mut c = configuration.quorum_call(&ECHO, text("hang:3")).correctable(4);
    tokio::time::timeout(1000 * MS, c.done()).await.expect("4 of 3 nodes can never reply").unwrap_err();
}

#[tokio::test]
async fn updates_of_a_long_watch_are_no_latency() {
    let cluster = Cluster::start(1).await;
    let configuration = cluster.configuration();
    configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
    let mut replies = configuration
        .streaming_call(&COUNT, number(0))
        .no_timeout()
        .mailbox(1, MailboxOverflow::KeepNewest)
        .send();
    let start = Instant::now();
    while start.elapsed() < 1000 * MS {
        replies.next().await.unwrap().result.unwrap();
    }
    let latency = configuration.nodes()[0].latency().unwrap();
    assert!(latency < 200 * MS, "{latency:?}");
}

#[test]
fn many_metadata_entries() {
    use gorums_core::wire::{Entry, Envelope};
    let entries: Vec<Entry> =
        (0..40_000).map(|n| Entry { key: format!("k{n}").into(), value: "v".into() }).collect();
    let _ = Envelope::metadata(&entries);
}

#[tokio::test]
async fn empty_configuration() {
    let cluster = Cluster::start(1).await;
    let none = cluster.configuration().take(0);
    assert!(none.multicast(&NOTE, text("x")).await.is_err());
    assert!(none.multicast(&NOTE, text("x")).send().is_err(), "send() on no nodes is a success");
}

/// Gives up at the first failure.
struct Unforgiving;

impl QuorumFunction<Text> for Unforgiving {
    type Output = ();

    fn decide(&mut self, replies: &mut ReplySet<Text>) -> Decision<()> {
        if replies.failures().is_empty() { Decision::Pending } else { Decision::Impossible }
    }
}

/// Only the first of the nodes that were late was named: the failures of the others had arrived with it.
#[tokio::test]
async fn every_node_that_was_late_is_named() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    let call = || configuration.quorum_call(&ECHO, text("hang")).timeout(50 * MS);
    let error = call().correctable(3).done().await.unwrap_err();
    assert_eq!((error.nodes().len(), error.replies()), (3, 0), "{error}");
    let error = call().quorum(Unforgiving).await.unwrap_err();
    assert_eq!((error.nodes().len(), error.replies()), (3, 0), "{error}");
}

/// Nodes that had not answered when a correctable call was out of reach were not named.
#[tokio::test]
async fn nodes_that_a_correctable_call_did_not_wait_for_are_named() {
    let cluster = Cluster::start(3).await;
    let configuration = cluster.configuration();
    let error = configuration.quorum_call(&ECHO, text("fail:1")).correctable(3).done().await.unwrap_err();
    assert_eq!(error.nodes().len() + error.replies(), 3, "{error}");
}

/// G3: the nodes say that the deadline has passed, and the caller comes to look only then.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_nodes_noticed_first_is_a_deadline_all_the_same() {
    let (mut cluster, _) = faulty(Transport::Memory, 3).await;
    let configuration = cluster.configuration();
    let first = configuration.quorum_call(&ECHO, text("sleep:1000")).send();
    let (node, limit) = (configuration.node(1).unwrap(), 900 * MS);
    let rpc = node.rpc(&ECHO, text("x")).timeout(limit).send();
    let majority = configuration.quorum_call(&ECHO, text("x")).timeout(limit).send();
    let custom = configuration.quorum_call(&ECHO, text("x")).timeout(limit).send();
    tokio::time::sleep(1_100 * MS).await;
    let error = rpc.await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::DeadlineExceeded), "{error}");
    let error = majority.majority().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded, "{error}");
    let never = |_: &mut ReplySet<Text>| None::<Text>;
    let error = custom.quorum(never).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded, "{error}");
    first.all().await.unwrap();
    drop(configuration);
    cluster.finish().await;
}
