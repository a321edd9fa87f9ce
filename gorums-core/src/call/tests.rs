//! I6: a caller looks at its mailbox before it looks at the clock.
//!
//! After `TestRouterDeliverPendingPrefersDeliveryWhenCanceledAndReplyChanReady` of Go Gorums. The clock is paused, so that
//! a reply comes for sure after the deadline and before its caller looks.

use std::time::Duration;

use futures_util::FutureExt;
use prost::Message;
use tokio::time::{Instant, advance};

use crate::channel::queue::Queue;
use crate::configuration::{Configuration, NodeTarget, QuorumTarget};
use crate::error::{NodeErrorKind, QuorumErrorKind};
use crate::id::MessageId;
use crate::method::{CallType, Method};
use crate::node::Node;
use crate::payload::Payload;
use crate::router::entry::Incoming;

const ASK: Method<String, String> = Method::prost("test.Ask", CallType::QuorumCall);
const WATCH: Method<String, String> = Method::prost("test.Watch", CallType::StreamingQuorumCall);

const SECOND: Duration = Duration::from_secs(1);

/// Hands the request that waits for each node to a connection.
fn hand_over(nodes: &Configuration) -> MessageId {
    let mut ids = nodes.iter().filter_map(|node| {
        let request = node.channel().with_queue(Queue::pop)?;
        assert!(nodes.pool().pending().sent(request.id, node.channel().ordinal(), 1));
        Some(request.id)
    });
    let id = ids.next().unwrap();
    assert!(ids.all(|other| other == id));
    id
}

fn deliver(node: &Node, id: MessageId, reply: &str) {
    let reply = Incoming::Reply(Payload::Encoded(reply.to_owned().encode_to_vec().into()));
    let pending = node.channel().pool().pending();
    assert!(pending.deliver(id, node.channel().ordinal(), reply, Instant::now()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_rpc_gets_a_reply_that_comes_after_its_deadline() {
    let nodes = Node::detached(1);
    for looks_before in [false, true] {
        let call = NodeTarget::rpc(&nodes.nodes()[0], &ASK, String::new()).timeout(SECOND).send();
        let mut call = Box::pin(call);
        let id = hand_over(&nodes);
        if looks_before {
            assert!(call.as_mut().now_or_never().is_none());
        }
        advance(2 * SECOND).await;
        deliver(&nodes.nodes()[0], id, "late");
        assert_eq!(call.now_or_never().unwrap().unwrap(), "late");
    }
    let call = NodeTarget::rpc(&nodes.nodes()[0], &ASK, String::new()).timeout(SECOND).send();
    hand_over(&nodes);
    advance(2 * SECOND).await;
    let error = call.now_or_never().unwrap().unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::DeadlineExceeded), "{error}");
    assert_eq!(nodes.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_quorum_call_gets_a_quorum_that_comes_after_its_deadline() {
    let nodes = Node::detached(3);
    for replies in [1, 2] {
        let call = QuorumTarget::quorum_call(&nodes, &ASK, String::new()).timeout(SECOND).majority();
        let mut call = Box::pin(call);
        assert!(call.as_mut().now_or_never().is_none());
        let id = hand_over(&nodes);
        advance(2 * SECOND).await;
        nodes.iter().take(replies).for_each(|node| deliver(node, id, "late"));
        match call.now_or_never().unwrap() {
            Ok(reply) => assert_eq!((replies, reply.as_str()), (2, "late")),
            Err(error) => {
                let (kind, came) = (error.kind(), error.replies());
                assert_eq!((replies, kind, came), (1, QuorumErrorKind::DeadlineExceeded, 1), "{error}");
            }
        }
    }
    assert_eq!(nodes.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_replies_yields_those_that_came_and_then_the_deadline() {
    let nodes = Node::detached(1);
    let mut call = QuorumTarget::streaming_call(&nodes, &WATCH, String::new()).timeout(SECOND).send();
    let id = hand_over(&nodes);
    advance(2 * SECOND).await;
    deliver(&nodes.nodes()[0], id, "one");
    deliver(&nodes.nodes()[0], id, "two");
    for expected in ["one", "two"] {
        let reply = call.next().now_or_never().unwrap().unwrap();
        assert_eq!(reply.result.unwrap(), expected);
    }
    let error = call.next().now_or_never().unwrap().unwrap().result.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::DeadlineExceeded), "{error}");
    assert!(call.next().now_or_never().unwrap().is_none());
    assert_eq!(nodes.pending(), 0);
}
