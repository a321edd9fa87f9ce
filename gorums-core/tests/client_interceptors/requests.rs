//! Requests for each node: mapped, skipped, with metadata.

use std::time::Duration;

use futures_util::StreamExt;
use gorums_core::{
    CallInterceptor, Decision, MetadataMap, Node, NodeErrorKind, NodeRequest, QuorumErrorKind,
    QuorumFunction, ReplySet, Status,
};

use crate::common::{
    COUNT, Cluster, ECHO, NOTE, OnConfiguration, OnNode, Text, eventually, number, text, within,
};
use crate::{TERMINALS, echo, finish, ids, three};

/// The text and the node's id.
fn named(request: &Text, node: &Node) -> Text {
    Text { text: format!("{}-{}", request.text, node.id()), number: request.number }
}

/// Nothing for these nodes.
fn skip<const N: usize>(ids: [u32; N]) -> impl FnMut(&Text, &Node) -> Option<Text> + Send + 'static {
    move |request, node| (!ids.contains(&node.id().get())).then(|| request.clone())
}

#[tokio::test]
async fn each_node_gets_its_own_request() {
    let (cluster, tests, configuration) = three().await;
    // In the order in which they were added.
    let call = echo(&configuration, "x")
        .map_request(|r, node| Some(named(r, node)))
        .map_request(|r, node| Some(named(r, node)));
    let mut replies: Vec<_> = call.send().map(|reply| reply.result.unwrap().text).collect().await;
    replies.sort();
    assert_eq!(replies, ["x-1-1", "x-2-2", "x-3-3"]);
    // Without a mapping, all get the same.
    echo(&configuration, "y").all().await.unwrap();
    for (test, id) in tests.iter().zip(1..) {
        assert_eq!(*test.seen.texts.lock().unwrap(), [format!("x-{id}-{id}"), "y".to_owned()]);
    }
    finish(cluster, configuration).await;
}

#[tokio::test]
async fn a_skipped_node_is_neither_a_success_nor_a_failure() {
    let (cluster, tests, configuration) = three().await;
    for (name, terminal) in TERMINALS {
        let call = || echo(&configuration, name).map_request(skip([2]));
        assert_eq!(terminal(call(), 2).await.unwrap().text, name);
        let error = within(name, terminal(call(), 3)).await.unwrap_err();
        assert_eq!(error.kind(), QuorumErrorKind::Incomplete, "{name}: {error}");
        let skipped = error.nodes().iter().find(|error| error.node() == 2).unwrap();
        assert!(matches!(skipped.kind(), NodeErrorKind::Skipped), "{name}: {skipped}");
        assert!(!skipped.is_transient() && !skipped.is_ambiguous() && skipped.status().is_none());
        // Nobody blames the node.
        assert_eq!(configuration.without_errors(&error).len(), 3, "{name}");
        assert!(configuration.nodes()[1].last_error().is_none());
    }
    assert!(tests[1].seen.texts.lock().unwrap().is_empty(), "nothing was sent");
    assert_eq!(configuration.nodes()[1].stats().queue.offered, 0);
    finish(cluster, configuration).await;
}

/// Decided at once, although a node hangs and the deadline is far.
#[tokio::test(start_paused = true)]
async fn a_quorum_that_skipped_nodes_rule_out_fails_at_once() {
    let (cluster, _, configuration) = three().await;
    for (name, terminal) in &TERMINALS[..2] {
        let start = tokio::time::Instant::now();
        let call = echo(&configuration, "hang").map_request(skip([1, 3])).timeout(Duration::from_secs(60));
        let error = terminal(call, 2).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::ZERO, "{name}");
        assert_eq!((error.kind(), error.needed(), error.replies()), (QuorumErrorKind::Incomplete, 2, 0));
        assert_eq!(ids(error.nodes()), [1, 2, 3]);
        assert!(matches!(error.nodes()[1].kind(), NodeErrorKind::Cancelled), "{name}: {error}");
        let error = terminal(echo(&configuration, "x").map_request(skip([1, 2, 3])), 1).await.unwrap_err();
        assert!(error.nodes().iter().all(|error| matches!(error.kind(), NodeErrorKind::Skipped)));
        assert!(!error.is_ambiguous() && !error.is_transient());
        assert_eq!(Status::from(error).code(), gorums_core::Code::Cancelled);
    }
    // Of a hanging correctable and of a quorum function that looks at what is outstanding, too.
    let call = || echo(&configuration, "hang").map_request(skip([1, 3])).timeout(Duration::from_secs(60));
    let start = tokio::time::Instant::now();
    assert!(call().correctable(2).done().await.is_err());
    assert!(call().quorum(TwoOrNone).await.is_err());
    assert_eq!(start.elapsed(), Duration::ZERO);
    finish(cluster, configuration).await;
}

struct TwoOrNone;

impl QuorumFunction<Text> for TwoOrNone {
    type Output = ();

    fn decide(&mut self, replies: &mut ReplySet<Text>) -> Decision<()> {
        assert!(replies.failures().is_empty());
        match replies.success_count() {
            2.. => Decision::Reached(()),
            successes if successes + replies.outstanding() < 2 => Decision::Impossible,
            _ => Decision::Pending,
        }
    }
}

#[tokio::test]
async fn quorum_functions_see_who_was_left_out() {
    let (cluster, _, configuration) = three().await;
    let call =
        echo(&configuration, "fail:3").map_request(skip([2])).quorum(|replies: &mut ReplySet<Text>| {
            let counts = (replies.success_count(), replies.failure_count(), replies.left_out().len());
            (replies.outstanding() == 0).then_some(counts)
        });
    assert_eq!(call.await.unwrap(), (1, 1, 1));
    // The stream has an item for each node.
    let call = echo(&configuration, "x").map_request(skip([2]));
    let skipped: Vec<_> = call.send().filter_map(async |reply| reply.result.err()).collect().await;
    assert_eq!(ids(&skipped), [2]);
    finish(cluster, configuration).await;
}

/// After `TestMulticastPerNode` of Go Gorums.
#[tokio::test]
async fn multicast_per_node() {
    const CALLS: u64 = 50;
    for size in [1, 3, 9] {
        for skipped in [vec![], vec![1], vec![2], vec![1, 2], vec![1, 2, 3]] {
            for waits in [false, true] {
                let cluster = Cluster::start(size).await;
                let configuration = cluster.configuration();
                configuration.wait_connected().await.unwrap();
                for n in 1..=CALLS {
                    let left_out = skipped.clone();
                    let call = configuration.multicast(&NOTE, number(n)).map_request(move |request, node| {
                        let id = node.id().get();
                        (!left_out.contains(&id)).then(|| number(request.number + u64::from(id)))
                    });
                    if waits { within("multicast", call).await.unwrap() } else { call.send().unwrap() }
                }
                for (index, id) in (0..).zip(1..=size) {
                    let calls = if skipped.contains(&(id as u32)) { 0 } else { CALLS };
                    let expected: Vec<_> = (1..=calls).map(|n| n + id).collect();
                    eventually("received", || cluster.seen(index).len() >= expected.len()).await;
                    assert_eq!(cluster.seen(index), expected);
                }
                configuration.close().await;
            }
        }
    }
}

/// A quorum that was chosen is not made smaller by skipping.
#[tokio::test]
async fn a_multicast_to_a_chosen_quorum_needs_it() {
    let (cluster, _, configuration) = three().await;
    let majority = configuration.majority();
    let call = |skipped: usize| {
        let ids: [u32; 2] = if skipped == 1 { [1, 1] } else { [1, 2] };
        majority.multicast(&NOTE, text("x")).map_request(skip(ids))
    };
    call(1).await.unwrap();
    call(1).send().unwrap();
    for error in [within("waits", call(2)).await.unwrap_err(), call(2).send().unwrap_err()] {
        assert_eq!(error.kind(), QuorumErrorKind::SendFailure);
        assert_eq!((error.needed(), error.replies()), (2, 1));
        assert_eq!(ids(error.nodes()), [1, 2]);
    }
    // And one that fails on a node that is not skipped has failed.
    configuration.nodes()[2].rpc(&ECHO, text("alive")).await.unwrap();
    finish(cluster, configuration).await;
}

#[tokio::test]
async fn requests_of_a_streaming_call() {
    let (cluster, _, configuration) = three().await;
    let call = configuration
        .streaming_call(&COUNT, number(0))
        .map_request(|_, node| (node.id() != 2).then(|| number(node.id().get().into())));
    let mut replies: Vec<_> = call
        .send()
        .map(|reply| (reply.node.get(), reply.result.map(|reply| reply.number).ok()))
        .collect()
        .await;
    replies.sort_unstable();
    assert_eq!(replies, [(1, Some(1)), (2, None), (3, Some(1)), (3, Some(2)), (3, Some(3))]);
    finish(cluster, configuration).await;
}

/// Metadata, message and skipping in one interceptor, after others.
struct Shares;

impl CallInterceptor<Text, Text> for Shares {
    fn request(&mut self, request: &mut NodeRequest<'_, Text>) {
        assert_eq!(request.message().text, "meta");
        let trace = format!("{}/{}", request.node().id(), request.metadata_mut().len());
        request.metadata_mut().insert("x-trace", trace.parse().unwrap());
        if request.node().id() == 3 {
            request.skip();
        }
    }
}

#[tokio::test]
async fn each_node_gets_its_own_metadata() {
    let (cluster, _, configuration) = three().await;
    let mut metadata = MetadataMap::new();
    metadata.insert("x-other", "1".parse().unwrap());
    let call = echo(&configuration, "x")
        .map_request(|_, _| Some(text("meta")))
        .intercept(Shares)
        .map_metadata(|metadata, node| {
            assert_ne!(node.id(), 3, "was skipped before");
            metadata.insert("x-more", "1".parse().unwrap());
        })
        .metadata(metadata);
    let mut texts: Vec<_> =
        call.send().filter_map(async |reply| Some(reply.result.ok()?.text)).collect().await;
    texts.sort();
    assert_eq!(texts, ["1/1", "2/1"]);
    let reply = configuration.nodes()[0].rpc(&ECHO, text("meta")).map_metadata(|metadata, _| {
        metadata.insert("x-trace", "mapped".parse().unwrap());
    });
    assert_eq!(reply.await.unwrap().text, "mapped");
    finish(cluster, configuration).await;
}

/// A mapping that panics leaves nothing behind.
#[tokio::test]
async fn a_panic_of_a_mapping_is_the_callers() {
    let (cluster, tests, configuration) = three().await;
    let call = echo(&configuration, "x").map_request(|_, node| {
        assert_ne!(node.id(), 2, "told to panic");
        None
    });
    assert!(tokio::spawn(call.all()).await.unwrap_err().is_panic());
    assert!(tests.iter().all(|test| test.seen.texts.lock().unwrap().is_empty()));
    finish(cluster, configuration).await;
}

#[tokio::test]
async fn an_rpc_that_is_skipped() {
    let (cluster, tests, configuration) = three().await;
    let error = configuration.nodes()[0].rpc(&ECHO, text("x")).map_request(|_, _| None).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Skipped), "{error}");
    assert_eq!(Status::from(error).code(), gorums_core::Code::Cancelled);
    assert!(tests[0].seen.texts.lock().unwrap().is_empty());
    finish(cluster, configuration).await;
}
