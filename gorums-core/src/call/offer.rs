//! Offering requests to nodes.

use tokio::time::Instant;
use tonic::Status;

use crate::channel::queue::Outgoing;
use crate::error::{Fault, NodeErrorKind};
use crate::id::MessageId;
use crate::node::Node;
use crate::wire;

/// Offers a request to one node.
pub(super) fn offer(node: &Node, request: &mut Outgoing, now: Instant) -> Result<(), Fault> {
    let limit = node.channel().pool().options().transport.max_message_size;
    match too_long(request.len() - wire::PREFIX, limit) {
        Some(fault) => Err(fault),
        None => node.channel().offer(request, now),
    }
}

/// Offers a request to one node, for which a caller waits.
pub(super) fn offer_or_fail(node: &Node, request: &mut Outgoing, now: Instant) {
    if let Err(fault) = offer(node, request, now) {
        fail(node, request.id, fault);
    }
}

/// The call failed at a node before the request was sent.
pub(super) fn fail(node: &Node, id: MessageId, fault: Fault) {
    node.channel().pool().pending().fail(id, node.channel().ordinal(), fault);
}

fn too_long(len: usize, limit: usize) -> Option<Fault> {
    (len > limit).then(|| {
        let reason = format!(
            "a request of {len} bytes is longer than the limit of {limit}: raise `max_message_size` on both ends"
        );
        Fault::unsent(NodeErrorKind::Status(Status::out_of_range(reason)), None)
    })
}
