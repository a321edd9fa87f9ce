//! Replies that are looked at, changed and left out, with every terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use gorums_core::{
    CallInterceptor, Code, ErrorClass, Node, NodeError, NodeErrorKind, QuorumErrorKind, ReplySet, Status,
};

use crate::common::{COUNT, ECHO, OnConfiguration, OnNode, Text, number, text, within};
use crate::{Log, TERMINALS, echo, finish, ids, node, three};

type Reply = Result<Text, NodeError>;

/// A reply of this node becomes an error.
fn reject(id: u32, status: Status) -> impl FnMut(Reply, &Node) -> Reply + Send + 'static {
    move |reply, node| {
        if node.id() == id { reply.and(Err(NodeError::from_status(node, status.clone()))) } else { reply }
    }
}

fn recover(reply: Reply, node: &Node) -> Reply {
    reply.or(Ok(Text { text: "recovered".into(), number: node.id().get().into() }))
}

/// After `TestCustomLoggingInterceptor` and `TestInterceptorChaining` of Go Gorums.
#[tokio::test]
async fn replies_are_seen_in_the_order_of_the_chain() {
    let (cluster, _, configuration) = three().await;
    for (name, terminal) in TERMINALS {
        let log = Log::<String>::default();
        let notes = |who: &'static str| {
            let log = log.clone();
            move |reply: &Reply, node: &Node| {
                let text = reply.as_ref().map_or("error", |reply| &reply.text);
                log.lock().unwrap().push(format!("{who} {} {text}", node.id()));
            }
        };
        let call = echo(&configuration, "fail:2")
            .inspect_replies(notes("a"))
            .map_reply(|reply, _| reply.map(|reply| Text { text: reply.text + "!", ..reply }))
            .inspect_replies(notes("b"))
            .map_reply(recover)
            .map_reply(|reply, _| reply.map(|reply| Text { text: reply.text + "?", ..reply }));
        let reply = terminal(call, 3).await.unwrap();
        assert!(reply.text == "fail:2!?" || reply.text == "recovered?", "{name}: {reply:?}");
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 6, "{name}: each once");
        for pair in log.chunks(2) {
            let id = &pair[0][2..3];
            let expected = match id {
                "2" => ["a 2 error".to_owned(), "b 2 error".to_owned()],
                id => [format!("a {id} fail:2"), format!("b {id} fail:2!")],
            };
            assert_eq!(*pair, expected, "{name}");
        }
    }
    finish(cluster, configuration).await;
}

/// After `TestCustomInterceptorWithMapRequest` of Go Gorums.
#[tokio::test]
async fn with_a_mapping_of_requests() {
    struct Counting(Arc<AtomicUsize>);
    impl CallInterceptor<Text, Text> for Counting {
        fn reply(&mut self, _: &Node, reply: Reply) -> Option<Reply> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Some(reply)
        }
    }
    let (cluster, _, configuration) = three().await;
    let count = Arc::default();
    let call = echo(&configuration, "x")
        .intercept(Counting(Arc::clone(&count)))
        .map_request(|request: &Text, _| Some(request.clone()));
    assert_eq!(call.all().await.unwrap().text, "x");
    assert_eq!(count.load(Ordering::SeqCst), 3);
    // Skipped nodes are seen as well.
    let call = echo(&configuration, "x").intercept(Counting(Arc::clone(&count))).map_request(|_, _| None);
    assert!(call.all().await.is_err());
    assert!(count.load(Ordering::SeqCst) > 3);
    finish(cluster, configuration).await;
}

#[tokio::test]
async fn a_reply_can_become_a_failure() {
    let (cluster, _, configuration) = three().await;
    for (name, terminal) in TERMINALS {
        let call = || echo(&configuration, "x").map_reply(reject(2, Status::failed_precondition("untrue")));
        let reply = terminal(call(), 2).await.unwrap();
        assert_ne!(reply.number, 2, "{name}");
        let error = within(name, terminal(call(), 3)).await.unwrap_err();
        assert_eq!(error.kind(), QuorumErrorKind::Incomplete, "{name}: {error}");
        let rejected = error.nodes().iter().find(|error| error.node() == 2).unwrap();
        assert_eq!(rejected.status().unwrap().code(), Code::FailedPrecondition);
        assert_eq!(rejected.class(), ErrorClass::SteppedDown);
        assert!(rejected.is_ambiguous(), "{name}: the handler did what was asked");
        assert_eq!(configuration.without_errors(&error).len(), 2, "{name}");
    }
    let rpc = configuration.nodes()[1].rpc(&ECHO, text("x")).map_reply(reject(2, Status::aborted("untrue")));
    let error = rpc.await.unwrap_err();
    assert!(error.is_transient() && error.is_ambiguous(), "{error}");
    // An error that becomes another one is as ambiguous as that is.
    let rpc = configuration.nodes()[1]
        .rpc(&ECHO, text("fail"))
        .map_reply(|reply, node| reply.or(Err(NodeError::from_status(node, Status::not_found("x")))));
    assert!(!rpc.await.unwrap_err().is_ambiguous());
    finish(cluster, configuration).await;
}

#[tokio::test]
async fn a_failure_can_become_a_reply() {
    let (cluster, _, configuration) = three().await;
    for (name, terminal) in TERMINALS {
        let call = || echo(&configuration, "fail").map_reply(recover);
        assert_eq!(terminal(call(), 3).await.unwrap().text, "recovered", "{name}");
    }
    let rpc = configuration.nodes()[1].rpc(&ECHO, text("fail")).map_reply(recover);
    assert_eq!(rpc.await.unwrap().number, 2);
    // A node that is skipped may be stood in for.
    let call = echo(&configuration, "x").map_request(|_, _| None).map_reply(recover);
    assert_eq!(call.all().await.unwrap().text, "recovered");
    finish(cluster, configuration).await;
}

/// The deadline of a node that hangs is a failure like any other.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_late_can_be_stood_in_for() {
    let (cluster, _, configuration) = three().await;
    for (name, terminal) in TERMINALS {
        // The correctable and the quorum function are told by the stream, too.
        let call = || echo(&configuration, "hang:3").timeout(Duration::from_secs(1));
        let reply = terminal(call().map_reply(recover), 3).await;
        assert!(reply.is_ok(), "{name}: {reply:?}");
        let error = terminal(call().inspect_replies(|_, _| ()), 3).await.unwrap_err();
        assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded, "{name}: {error}");
        assert_eq!((ids(error.nodes()), error.replies()), (vec![3], 2), "{name}: each node once");
        let error = terminal(call().filter_replies(|reply, _| reply.is_ok()), 3).await.unwrap_err();
        assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded, "{name}: {error}");
        assert_eq!(ids(error.nodes()), [3], "{name}: {error}");
    }
    let rpc = || configuration.nodes()[2].rpc(&ECHO, text("hang")).timeout(Duration::from_secs(1));
    assert_eq!(rpc().map_reply(recover).await.unwrap().text, "recovered");
    let error = rpc().filter_replies(|_, _| false).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::DeadlineExceeded), "{error}");
    finish(cluster, configuration).await;
}

/// After `TestCustomFilterInterceptor` of Go Gorums.
#[tokio::test]
async fn replies_that_are_filtered_out_do_not_count() {
    let (cluster, _, configuration) = three().await;
    for (name, terminal) in TERMINALS {
        let call = |keep: u64| {
            echo(&configuration, "x").filter_replies(move |reply, node| {
                assert_eq!(reply.as_ref().unwrap().number, u64::from(node.id().get()));
                reply.as_ref().unwrap().number >= keep
            })
        };
        assert!(terminal(call(2), 2).await.unwrap().number >= 2, "{name}");
        assert_eq!(terminal(call(3), 1).await.unwrap().number, 3, "{name}");
        // Out of reach at once, not at the deadline.
        let error = within(name, terminal(call(2).timeout(Duration::from_secs(3600)), 3)).await.unwrap_err();
        assert_eq!(error.kind(), QuorumErrorKind::Incomplete, "{name}: {error}");
        let filtered = error.nodes().iter().find(|error| error.node() == 1).unwrap();
        assert!(matches!(filtered.kind(), NodeErrorKind::Filtered), "{name}: {filtered}");
        assert!(filtered.is_ambiguous() && !filtered.is_transient(), "{name}");
        assert_eq!(configuration.without_errors(&error).len(), 3, "{name}");
        // A failure that is filtered out is still named.
        let call = echo(&configuration, "fail:2").filter_replies(|reply, _| reply.is_ok());
        let error = within(name, terminal(call, 3)).await.unwrap_err();
        let failed = error.nodes().iter().find(|error| error.node() == 2).unwrap();
        assert_eq!(failed.status().unwrap().code(), Code::FailedPrecondition, "{name}");
    }
    let read: Vec<_> =
        echo(&configuration, "fail:2").filter_replies(|reply, _| reply.is_ok()).send().collect().await;
    assert_eq!(read.len(), 2);
    assert!(read.iter().all(|reply| reply.node != node(2)));
    let left_out = echo(&configuration, "x").filter_replies(|_, node| node.id() != 1).quorum(
        |replies: &mut ReplySet<Text>| {
            let counts = (replies.success_count(), replies.failure_count());
            (replies.outstanding() == 0).then(|| (counts, ids(replies.left_out())))
        },
    );
    assert_eq!(left_out.await.unwrap(), ((2, 0), vec![1]));
    let rpc = configuration.nodes()[0].rpc(&ECHO, text("x")).filter_replies(|_, _| false);
    assert!(matches!(rpc.await.unwrap_err().kind(), NodeErrorKind::Filtered));
    finish(cluster, configuration).await;
}

/// A call whose raw failures rule the quorum out goes on, as they may not be failures, and waits for nodes that are slow.
#[tokio::test(start_paused = true)]
async fn what_counts_is_what_comes_out_however_late() {
    let (cluster, _, configuration) = three().await;
    for (name, terminal) in TERMINALS {
        let call = || {
            echo(&configuration, "x").map_request(|_, node| match node.id().get() {
                id @ 1..=2 => Some(text(&format!("fail:{id}"))),
                _ => Some(text("sleep:500")),
            })
        };
        let reply = terminal(call().map_reply(recover), 3).await;
        assert!(reply.is_ok(), "{name}: {reply:?}");
        // And one whose raw successes are enough, too.
        let call = echo(&configuration, "x")
            .map_request(|_, node| Some(text(if node.id() == 3 { "sleep:500" } else { "x" })))
            .filter_replies(|_, node| node.id() == 3);
        assert_eq!(terminal(call, 1).await.unwrap().number, 3, "{name}");
    }
    finish(cluster, configuration).await;
}

#[tokio::test(start_paused = true)]
async fn replies_of_a_streaming_call() {
    let (cluster, _, configuration) = three().await;
    let call = || configuration.streaming_call(&COUNT, number(6));
    let even = |reply: &Reply, _: &Node| reply.as_ref().is_ok_and(|reply| reply.number % 2 == 0);
    let numbers: Vec<_> = call()
        .filter_replies(even)
        .map_reply(|reply, _| reply.map(|reply| number(reply.number * 10)))
        .send()
        .map(|reply| reply.result.unwrap().number)
        .collect()
        .await;
    assert_eq!(numbers.len(), 9);
    assert_eq!(numbers.iter().sum::<u64>(), 3 * (20 + 40 + 60));
    // The first that comes out counts.
    let first = call().filter_replies(even).send().all().await.unwrap();
    assert_eq!(first.number % 2, 0);
    // Of a correctable, every reply is seen, and what is filtered out is no level.
    let seen = Log::<u64>::default();
    let log = seen.clone();
    let mut correctable = call()
        .inspect_replies(move |reply, _| log.lock().unwrap().extend(reply.as_ref().map(|reply| reply.number)))
        .filter_replies(even)
        .correctable(9);
    // They all wait to be looked at.
    tokio::time::sleep(Duration::from_secs(1)).await;
    within("level", correctable.done()).await.unwrap();
    assert_eq!(correctable.level(), 9);
    assert!(seen.lock().unwrap().len() > 9);
    let mut correctable = call().filter_replies(even).correctable(10);
    assert!(within("level", correctable.done()).await.is_err());
    assert_eq!(correctable.level(), 9);
    finish(cluster, configuration).await;
}

/// Calls and replies stay what they were for those who send or share them.
#[test]
fn calls_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<gorums_core::QuorumCall<Text, Text>>();
    check::<gorums_core::Replies<Text>>();
    check::<gorums_core::RpcFuture<Text>>();
    check::<gorums_core::Correctable<Text>>();
    check::<gorums_core::Multicast<Text>>();
}
