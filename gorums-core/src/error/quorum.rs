//! The error of a quorum call.

use std::error::Error;
use std::fmt;

use tonic::{Code, Status};

use crate::error::{ErrorClass, NodeError, NodeErrorKind, ambiguity};
use crate::quorum::Reason;

/// Why a quorum was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuorumErrorKind {
    /// So many nodes failed that the quorum cannot be reached any more, or never could.
    Incomplete,
    /// The deadline passed first.
    DeadlineExceeded,
    /// The call was cancelled first.
    Cancelled,
    /// A one-way call could not be handed over to as many nodes as were asked for.
    SendFailure,
}

impl QuorumErrorKind {
    /// How a call with these errors is to be reported, and what is to be said of nodes that have not answered.
    /// A quorum that is out of reach because nodes were too late was missed by its deadline, whichever end noticed. Not
    /// if it was a deadline of theirs: that is what the node answered, as any other status.
    pub(crate) fn given(self, errors: &[NodeError]) -> (Self, NodeErrorKind) {
        let late = |error: &NodeError| matches!(error.kind(), NodeErrorKind::DeadlineExceeded);
        if self == Self::DeadlineExceeded || errors.iter().any(late) {
            (Self::DeadlineExceeded, NodeErrorKind::DeadlineExceeded)
        } else {
            (self, NodeErrorKind::Cancelled)
        }
    }
}

/// Why a quorum call failed: what was needed, how far it came, and what happened on each node that did
/// not contribute.
#[derive(Clone, Debug)]
pub struct QuorumError {
    details: Box<Details>,
}

#[derive(Clone, Debug)]
struct Details {
    kind: QuorumErrorKind,
    method: &'static str,
    needed: usize,
    replies: usize,
    size: usize,
    nodes: Vec<NodeError>,
    reason: Option<Reason>,
}

impl QuorumError {
    pub(crate) fn new(
        kind: QuorumErrorKind,
        method: &'static str,
        (needed, replies, size): (usize, usize, usize),
        mut nodes: Vec<NodeError>,
    ) -> Self {
        nodes.sort_by_key(NodeError::node);
        Self { details: Box::new(Details { kind, method, needed, replies, size, nodes, reason: None }) }
    }

    pub(crate) fn because(mut self, reason: Option<Reason>) -> Self {
        self.details.reason = reason;
        self
    }

    /// Why the quorum was not reached.
    pub fn kind(&self) -> QuorumErrorKind {
        self.details.kind
    }

    /// Why a [quorum rule](crate::quorum::QuorumRule) found its result out of reach. Calls without a rule have none.
    pub fn reason(&self) -> Option<&Reason> {
        self.details.reason.as_ref()
    }

    /// The full name of the method that was called.
    pub fn method(&self) -> &'static str {
        self.details.method
    }

    /// How many nodes had to answer. For quorum functions and rules, which do not say, 0.
    pub fn needed(&self) -> usize {
        self.details.needed
    }

    /// How many nodes answered successfully; of a streaming call with a quorum function, how many replies there were.
    pub fn replies(&self) -> usize {
        self.details.replies
    }

    /// How many nodes the configuration has.
    pub fn size(&self) -> usize {
        self.details.size
    }

    /// What happened on each node that failed, [`NodeErrorKind::Skipped`] or [`NodeErrorKind::Filtered`] for those that
    /// the caller left out, and [`NodeErrorKind::Cancelled`] for those that had not answered
    /// when the call failed; by ascending node id.
    pub fn nodes(&self) -> &[NodeError] {
        &self.details.nodes
    }

    /// The error of the first node: that of a call to one node.
    pub(crate) fn into_first(mut self) -> Option<NodeError> {
        let nodes = &mut self.details.nodes;
        (!nodes.is_empty()).then(|| nodes.swap_remove(0))
    }

    /// What this means for the next attempt. A quorum that was out of reach has the class of the failures that would
    /// have to pass for it to be within reach again; a deadline that passed is transient. Where nobody says how many
    /// replies were needed, which are quorum functions and rules with a [`Reason`] of their own, it has the class of the
    /// worst failure: permanent before stepped down before transient.
    pub fn class(&self) -> ErrorClass {
        let Details { kind, needed, replies, nodes, reason, .. } = &*self.details;
        let of = |class| nodes.iter().filter(|error| error.class() == class).count();
        let open = nodes.iter().filter(|error| matches!(error.kind(), NodeErrorKind::Cancelled)).count();
        let (transient, stepped_down) = (of(ErrorClass::Transient), of(ErrorClass::SteppedDown));
        let possible = replies + open + transient;
        let left_out = nodes.iter().filter(|error| error.is_left_out()).count();
        let permanent = nodes.len() - open - left_out - transient - stepped_down;
        let told = reason.as_ref().and_then(Reason::class);
        match (kind, told) {
            (QuorumErrorKind::Cancelled, _) => ErrorClass::Permanent,
            (QuorumErrorKind::DeadlineExceeded, _) => ErrorClass::Transient,
            (_, Some(class)) => class,
            _ if *needed == 0 && permanent > 0 => ErrorClass::Permanent,
            _ if *needed == 0 && stepped_down > 0 => ErrorClass::SteppedDown,
            _ if transient > 0 && possible >= *needed => ErrorClass::Transient,
            _ if stepped_down > 0 && possible + stepped_down >= *needed => ErrorClass::SteppedDown,
            _ => ErrorClass::Permanent,
        }
    }

    /// Whether the same call may succeed later with no change by the caller.
    pub fn is_transient(&self) -> bool {
        self.class() == ErrorClass::Transient
    }

    /// Whether the request may have taken effect on a node that is counted as failed. On those that
    /// [replied](Self::replies) it has.
    pub fn is_ambiguous(&self) -> bool {
        self.details.nodes.iter().any(NodeError::is_ambiguous)
    }
}

impl fmt::Display for QuorumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { kind, method, needed, replies, size, nodes, reason } = &*self.details;
        let what = match kind {
            QuorumErrorKind::Incomplete => "quorum out of reach",
            QuorumErrorKind::DeadlineExceeded => "deadline passed before the quorum was reached",
            QuorumErrorKind::Cancelled => "cancelled before the quorum was reached",
            QuorumErrorKind::SendFailure => "not handed over to enough nodes",
        };
        write!(f, "{method}: {what}: {replies} of {size} nodes had succeeded")?;
        if *needed > 0 {
            write!(f, ", {needed} needed")?;
        }
        if let Some(reason) = reason {
            write!(f, "; {reason}")?;
        }
        for error in nodes {
            write!(f, "; {error}")?;
        }
        Ok(())
    }
}

impl Error for QuorumError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.details.nodes.first().map(|error| error as _)
    }
}

impl From<QuorumError> for Status {
    /// A handler that makes a quorum call can pass its failure on with `?`: with the status that all
    /// answering nodes agreed on, else with one for the kind of failure. If the request may have taken effect on any
    /// node, the status says so to its caller, whose error then [is ambiguous](NodeError::is_ambiguous) whatever its
    /// code.
    fn from(error: QuorumError) -> Self {
        let mut codes = error.nodes().iter().filter_map(|error| match error.kind() {
            NodeErrorKind::Status(status) => Some(status.code()),
            _ => None,
        });
        let code = match (error.kind(), codes.next()) {
            (QuorumErrorKind::DeadlineExceeded, _) => Code::DeadlineExceeded,
            (QuorumErrorKind::Cancelled, _) => Code::Cancelled,
            (_, Some(first)) if codes.all(|code| code == first) => first,
            (_, None) if !error.nodes().is_empty() && error.nodes().iter().all(NodeError::is_left_out) => {
                Code::Cancelled
            }
            _ => Code::Unavailable,
        };
        let may_have_run = error.replies() > 0 || error.is_ambiguous();
        ambiguity::of_nested_call(code, error.to_string(), may_have_run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;
    use crate::id::NodeId;

    fn node(id: u32, kind: NodeErrorKind) -> NodeError {
        Fault::sent(kind, None).at(NodeId::new(id).unwrap(), format!("host{id}:1").into())
    }

    #[test]
    fn names_every_node_in_order() {
        let nodes = vec![node(3, NodeErrorKind::DeadlineExceeded), node(1, NodeErrorKind::ConnectionLost)];
        let error = QuorumError::new(QuorumErrorKind::Incomplete, "p.S.M", (2, 1, 3), nodes);
        assert_eq!(
            error.to_string(),
            "p.S.M: quorum out of reach: 1 of 3 nodes had succeeded, 2 needed; node 1 (host1:1): the connection \
             broke after the request was sent, which may have taken effect; node 3 (host3:1): no reply before \
             the deadline"
        );
        assert!(error.is_transient());
        assert!(error.is_ambiguous());
    }

    #[test]
    fn nodes_that_stepped_down_class_the_quorum() {
        let not_leader = || NodeErrorKind::Status(Status::failed_precondition("not the leader"));
        let nodes = vec![node(1, not_leader()), node(2, not_leader()), node(3, NodeErrorKind::QueueFull)];
        let error = |needed| {
            QuorumError::new(QuorumErrorKind::Incomplete, "p.S.M", (needed, 0, 3), nodes.clone()).class()
        };
        assert_eq!([error(1), error(2)], [ErrorClass::Transient, ErrorClass::SteppedDown]);
        assert_eq!(error(4), ErrorClass::Permanent);
    }

    #[test]
    fn permanent_failures_that_rule_the_quorum_out_are_not_transient() {
        let refused = || NodeErrorKind::Status(Status::permission_denied("no"));
        let nodes = vec![node(1, refused()), node(2, refused()), node(3, NodeErrorKind::ConnectionLost)];
        let error = QuorumError::new(QuorumErrorKind::Incomplete, "p.S.M", (2, 0, 3), nodes);
        assert!(!error.is_transient());
        assert_eq!(Status::from(error).code(), Code::PermissionDenied);
    }
}
