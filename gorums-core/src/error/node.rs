//! The error of one node.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tonic::{Code, Status};

use crate::error::{ErrorClass, ambiguity};
use crate::id::NodeId;
use crate::node::Node;

/// The cause behind a fault, shared by all the calls that it ended.
pub(crate) type Source = Arc<dyn Error + Send + Sync>;

/// What happened to a call on one node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NodeErrorKind {
    /// The node answered with an error: its handler said no, or it does not know the method.
    Status(Status),
    /// There is no connection, and the request was never sent.
    Unavailable,
    /// The connection broke after the request had been sent: whether it took effect is unknown.
    ConnectionLost,
    /// The deadline passed before a reply arrived.
    DeadlineExceeded,
    /// The call ended before this node replied: it was given up, or others had decided it.
    Cancelled,
    /// The queue to this node was full, and the request was not taken.
    QueueFull,
    /// The request could not be encoded, and was never sent. Only of messages that are plain serde types.
    Encode,
    /// The reply could not be decoded.
    Decode,
    /// The caller did not take the replies of a streaming call in time, and its mailbox is full.
    Overrun,
    /// The node was closed, with its configuration or with the process.
    Closed,
    /// The caller left this node out: the request mapping of the call had no request for it. Neither a success nor a
    /// failure.
    Skipped,
    /// The node replied, and an interceptor of the call left the reply out. Neither a success nor a failure.
    Filtered,
}

impl fmt::Display for NodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                write!(f, "the node answered {:?}: {}", status.code(), status.message())
            }
            Self::Unavailable => {
                f.write_str("no connection, never sent; is the node up and its address right?")
            }
            Self::ConnectionLost => {
                f.write_str("the connection broke after the request was sent, which may have taken effect")
            }
            Self::DeadlineExceeded => f.write_str("no reply before the deadline"),
            Self::Cancelled => f.write_str("not waited for any longer"),
            Self::QueueFull => f.write_str("its queue is full: slow down, or raise the queue's limits"),
            Self::Encode => f.write_str("the request could not be encoded, never sent"),
            Self::Decode => f.write_str("its reply could not be decoded; do both ends use the same schema?"),
            Self::Overrun => f.write_str("the replies were not taken in time"),
            Self::Closed => f.write_str("the node was closed"),
            Self::Skipped => f.write_str("skipped: the call had no request for it"),
            Self::Filtered => f.write_str("its reply was filtered out by the caller"),
        }
    }
}

/// A fault before it is known whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: NodeErrorKind,
    pub(crate) source: Option<Source>,
    /// The request may have reached the node.
    pub(crate) sent: bool,
    /// The handler ran and replied, and the caller did not accept the reply.
    pub(crate) answered: bool,
    /// An earlier attempt of the call may have taken effect at the node.
    pub(crate) earlier: bool,
}

impl Fault {
    /// A fault of a request that never left.
    pub(crate) fn unsent(kind: NodeErrorKind, source: Option<Source>) -> Self {
        Self { kind, source, sent: false, answered: false, earlier: false }
    }

    /// A fault of a request that may have reached the node.
    pub(crate) fn sent(kind: NodeErrorKind, source: Option<Source>) -> Self {
        Self { kind, source, sent: true, answered: false, earlier: false }
    }

    /// A fault of a request that was handled well.
    pub(crate) fn answered(kind: NodeErrorKind) -> Self {
        Self { kind, source: None, sent: true, answered: true, earlier: false }
    }

    /// The request may have taken effect.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.earlier || self.sent && (self.answered || self.kind.may_have_run())
    }

    pub(crate) fn of(self, node: &Node) -> NodeError {
        self.at(node.id(), node.channel().address().clone())
    }

    pub(crate) fn at(self, node: NodeId, address: Arc<str>) -> NodeError {
        NodeError { node, address, fault: Box::new(self) }
    }
}

/// Why a call did not succeed on one node.
#[derive(Clone)]
pub struct NodeError {
    node: NodeId,
    address: Arc<str>,
    fault: Box<Fault>,
}

impl NodeError {
    /// An error of a node, for an interceptor of a call that turns a reply or another error into it.
    pub fn from_status(node: &Node, status: Status) -> Self {
        Fault::sent(NodeErrorKind::Status(status), None).of(node)
    }

    /// The same error, in place of a reply.
    pub(crate) fn of_answer(mut self) -> Self {
        self.fault.answered = true;
        self.fault.sent = true;
        self
    }

    /// Whether the caller left the node or its reply out: neither a success nor a failure.
    pub(crate) fn is_left_out(&self) -> bool {
        matches!(self.fault.kind, NodeErrorKind::Skipped | NodeErrorKind::Filtered)
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The node's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What happened.
    pub fn kind(&self) -> &NodeErrorKind {
        &self.fault.kind
    }

    /// The status that the node answered with, if that is what failed the call.
    pub fn status(&self) -> Option<&Status> {
        match &self.fault.kind {
            NodeErrorKind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// What this means for the next attempt.
    pub fn class(&self) -> ErrorClass {
        self.fault.kind.class()
    }

    /// Whether the same call may succeed later with no change by the caller.
    pub fn is_transient(&self) -> bool {
        self.fault.kind.is_transient()
    }

    /// Whether the request may have taken effect although the call failed, at the last attempt or at an earlier one. If not, it
    /// is safe to send it again whatever it does.
    ///
    /// A node that answered with a status has done nothing, unless the code leaves that open (`UNKNOWN`, `INTERNAL`,
    /// `DEADLINE_EXCEEDED`, `CANCELLED`, `DATA_LOSS`), or its handler passed on an error that was ambiguous.
    pub fn is_ambiguous(&self) -> bool {
        self.fault.is_ambiguous()
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} ({}): {}", self.node, self.address, self.fault.kind)?;
        if let Some(source) = &self.fault.source {
            write!(f, " ({source})")?;
        }
        if self.fault.earlier { f.write_str("; an earlier attempt may have taken effect") } else { Ok(()) }
    }
}

impl fmt::Debug for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeError")
            .field("node", &self.node)
            .field("address", &self.address)
            .field("kind", &self.fault.kind)
            .field("source", &self.fault.source)
            .finish()
    }
}

impl Error for NodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match (&self.fault.source, &self.fault.kind) {
            (Some(source), _) => Some(&**source),
            (None, NodeErrorKind::Status(status)) => Some(status),
            (None, _) => None,
        }
    }
}

impl From<NodeError> for Status {
    /// A handler that calls other nodes can pass their errors on with `?`. If the nested call may have taken effect,
    /// the status says so to its caller, whose error then [is ambiguous](NodeError::is_ambiguous) whatever its code.
    fn from(error: NodeError) -> Self {
        let code = match &error.fault.kind {
            NodeErrorKind::Status(status) => status.code(),
            NodeErrorKind::Unavailable | NodeErrorKind::ConnectionLost => Code::Unavailable,
            NodeErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
            NodeErrorKind::Cancelled
            | NodeErrorKind::Closed
            | NodeErrorKind::Skipped
            | NodeErrorKind::Filtered => Code::Cancelled,
            NodeErrorKind::QueueFull | NodeErrorKind::Overrun => Code::ResourceExhausted,
            NodeErrorKind::Encode | NodeErrorKind::Decode => Code::Internal,
        };
        ambiguity::of_nested_call(code, error.to_string(), error.is_ambiguous())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(fault: Fault) -> NodeError {
        fault.at(NodeId::new(2).unwrap(), "10.0.0.2:80".into())
    }

    #[test]
    fn says_which_node_what_and_why() {
        let cause: Source = Arc::new(std::io::Error::other("connection refused"));
        let error = error(Fault::unsent(NodeErrorKind::Unavailable, Some(cause)));
        assert_eq!(
            error.to_string(),
            "node 2 (10.0.0.2:80): no connection, never sent; is the node up and its address right? \
             (connection refused)"
        );
        assert!(error.source().is_some());
        assert_eq!(Status::from(error).code(), Code::Unavailable);
    }

    #[test]
    fn what_was_never_sent_is_never_ambiguous() {
        assert!(!error(Fault::unsent(NodeErrorKind::DeadlineExceeded, None)).is_ambiguous());
        assert!(error(Fault::sent(NodeErrorKind::DeadlineExceeded, None)).is_ambiguous());
        assert!(error(Fault::sent(NodeErrorKind::ConnectionLost, None)).is_ambiguous());
        assert!(!error(Fault::sent(NodeErrorKind::Status(Status::not_found("")), None)).is_ambiguous());
    }
}
