//! What nodes are told, and what is kept about them, when a staged call ends.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::BytesMut;
use futures_util::FutureExt;
use prost::Message;
use tokio::time::advance;

use super::*;
use crate::channel::queue::Queue;
use crate::codec::Encoding;
use crate::configuration::{Configuration, QuorumTarget};
use crate::id::MessageId;
use crate::method::{CallType, Method};
use crate::node::Node;
use crate::payload::Payload;
use crate::router::entry::Incoming;
use crate::wire;

const ASK: Method<String, String> = Method::prost("test.Ask", CallType::QuorumCall);
const MS: Duration = Duration::from_millis(1);

/// Hands what waits for the nodes to a connection. Gives the nodes that got something, and the id.
fn hand_over(nodes: &Configuration) -> (Vec<u32>, Option<MessageId>) {
    let (mut got, mut id) = (Vec::new(), None);
    for node in nodes {
        if let Some(request) = node.channel().with_queue(Queue::pop) {
            assert!(nodes.pool().pending().sent(request.id, node.channel().ordinal(), 1));
            got.push(node.id().get());
            id = Some(request.id);
        }
    }
    (got, id)
}

fn call(nodes: &Configuration) -> crate::call::StagedFuture<String, String> {
    QuorumTarget::quorum_call(nodes, &ASK, "ask".to_owned()).staged(Stage::after(10 * MS)).first()
}

#[tokio::test(start_paused = true)]
async fn only_nodes_that_have_the_request_are_told_that_it_was_given_up() {
    let nodes = Node::detached(3);
    nodes.iter().for_each(|node| node.channel().set_hears_cancel());
    let mut call = Box::pin(call(&nodes));
    assert!(call.as_mut().now_or_never().is_none());
    assert_eq!(hand_over(&nodes).0, [1]);
    drop(call);
    let told: Vec<_> = nodes.iter().map(|node| node.channel().reply_bytes() > 0).collect();
    assert_eq!(told, [true, false, false]);
    assert_eq!(nodes.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_after_the_call_is_measured_from_when_its_node_was_asked() {
    let nodes = Node::detached(3);
    let start = Instant::now();
    let mut call = Box::pin(call(&nodes));
    assert!(call.as_mut().now_or_never().is_none());
    advance(10 * MS).await;
    assert!(call.as_mut().now_or_never().is_none());
    let (got, id) = hand_over(&nodes);
    assert_eq!(got, [1, 2, 3]);
    advance(5 * MS).await;
    drop(call);
    let asked = |node: &Node| {
        let (id, reply) = (id.unwrap(), Incoming::Reply(Payload::default()));
        let late = nodes.pool().pending().deliver(id, node.channel().ordinal(), reply, Instant::now());
        late.unwrap_err().asked.unwrap() - start
    };
    let asked: Vec<_> = nodes.iter().map(asked).collect();
    assert_eq!(asked, [Duration::ZERO, 10 * MS, 10 * MS]);
    let latencies: Vec<_> = nodes.iter().map(|node| node.latency().unwrap()).collect();
    assert_eq!(latencies, [15 * MS, 5 * MS, 5 * MS], "as long as they were waited for");
}

static ENCODED: AtomicUsize = AtomicUsize::new(0);

/// Counts how often a request is encoded.
const COUNTED: Method<String, String> = {
    let mut method = ASK;
    let encode = |message: &String, buf: &mut BytesMut| {
        ENCODED.fetch_add(1, SeqCst);
        let _ = message.encode(buf);
    };
    method.request.encoding = Encoding::Measured { len: String::encoded_len, encode };
    method
};

#[tokio::test(start_paused = true)]
async fn the_message_is_encoded_once_and_the_head_says_how_much_time_is_left() {
    let nodes = Node::detached(3);
    let call = QuorumTarget::quorum_call(&nodes, &COUNTED, "ask".to_owned()).timeout(1_000 * MS);
    let mut call = Box::pin(call.staged(Stage::after(10 * MS)).first());
    assert!(call.as_mut().now_or_never().is_none());
    advance(10 * MS).await;
    assert!(call.as_mut().now_or_never().is_none());
    for (node, left) in nodes.iter().zip([1_000, 990, 990]) {
        let request = node.channel().with_queue(Queue::pop).unwrap();
        let Body::Short(message) = request.body else { panic!("a node elsewhere gets an encoded request") };
        let envelope = wire::Envelope::from_message(message.freeze().slice(wire::PREFIX..)).unwrap();
        assert_eq!(envelope.timeout(), Some(left * MS));
        assert_eq!(envelope.payload, "ask".to_owned().encode_to_vec());
        assert_eq!(envelope.method_name(), "test.Ask");
    }
    assert_eq!(ENCODED.load(SeqCst), 1);
}
