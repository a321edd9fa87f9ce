//! One call, as those who watch it see it: a span with an event for each node, and metrics when it ends.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{Level, Span, field};

use crate::error::{NodeError, NodeErrorKind, QuorumErrorKind};
use crate::method::{CallType, Method};
use crate::node::{Node, Targets};

/// The target of the spans of calls, and of their events.
const TARGET: &str = "gorums::call";

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    Ok,
    /// Its replies were read to their end by the caller, who knows best what that means.
    Ended,
    /// The caller gave it up.
    Dropped,
    Incomplete,
    DeadlineExceeded,
    Cancelled,
    SendFailure,
    /// A node answered with an error.
    Status,
    Unavailable,
    ConnectionLost,
    QueueFull,
    Decode,
    Encode,
    Overrun,
    Closed,
    /// The caller left the only node out.
    LeftOut,
}

impl CallOutcome {
    #[cfg(feature = "metrics")]
    pub(crate) const COUNT: usize = Self::LeftOut as usize + 1;

    /// The name in spans and metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Ended => "ended",
            Self::Dropped => "dropped",
            Self::Incomplete => "incomplete",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::SendFailure => "send_failure",
            Self::Status => "status",
            Self::Unavailable => "unavailable",
            Self::ConnectionLost => "connection_lost",
            Self::QueueFull => "queue_full",
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::Overrun => "overrun",
            Self::Closed => "closed",
            Self::LeftOut => "left_out",
        }
    }
}

impl From<QuorumErrorKind> for CallOutcome {
    fn from(kind: QuorumErrorKind) -> Self {
        match kind {
            QuorumErrorKind::Incomplete => Self::Incomplete,
            QuorumErrorKind::DeadlineExceeded => Self::DeadlineExceeded,
            QuorumErrorKind::Cancelled => Self::Cancelled,
            QuorumErrorKind::SendFailure => Self::SendFailure,
        }
    }
}

impl From<&NodeErrorKind> for CallOutcome {
    fn from(kind: &NodeErrorKind) -> Self {
        match kind {
            NodeErrorKind::Status(_) => Self::Status,
            NodeErrorKind::Unavailable => Self::Unavailable,
            NodeErrorKind::ConnectionLost => Self::ConnectionLost,
            NodeErrorKind::DeadlineExceeded => Self::DeadlineExceeded,
            NodeErrorKind::Cancelled => Self::Cancelled,
            NodeErrorKind::QueueFull => Self::QueueFull,
            NodeErrorKind::Decode => Self::Decode,
            NodeErrorKind::Encode => Self::Encode,
            NodeErrorKind::Overrun => Self::Overrun,
            NodeErrorKind::Closed => Self::Closed,
            NodeErrorKind::Skipped | NodeErrorKind::Filtered => Self::LeftOut,
        }
    }
}

/// The name of a call type in spans and metrics.
pub(crate) fn type_label(call_type: CallType) -> &'static str {
    match call_type {
        CallType::Rpc => "rpc",
        CallType::Unicast => "unicast",
        CallType::Multicast => "multicast",
        CallType::QuorumCall => "quorum_call",
        CallType::StreamingQuorumCall => "streaming_quorum_call",
    }
}

/// A call that somebody watches.
pub(crate) struct Observed {
    span: Span,
    started: Instant,
    replies: u64,
    failures: u64,
    has_ended: bool,
    #[cfg(feature = "metrics")]
    metrics: Option<std::sync::Arc<crate::observe::metrics::MethodMetrics>>,
}

impl Observed {
    /// Begins to watch a call, if anybody wants to know of it.
    pub(crate) fn of<Req, Resp>(targets: &Targets, method: &Method<Req, Resp>) -> Option<Box<Self>> {
        let traced = tracing::enabled!(target: TARGET, Level::DEBUG);
        #[cfg(feature = "metrics")]
        let traced =
            traced || targets.iter().next().is_some_and(|node| node.channel().pool().metrics().is_some());
        traced.then(|| Box::new(Self::new(targets, method.name(), method.call_type())))
    }

    #[cold]
    fn new(targets: &Targets, method: &'static str, call_type: CallType) -> Self {
        let (service, name) = method.rsplit_once('.').unwrap_or(("", method));
        let span = tracing::debug_span!(
            target: TARGET,
            "call",
            otel.name = method,
            otel.kind = "client",
            rpc.system = "gorums",
            rpc.service = service,
            rpc.method = name,
            r#type = type_label(call_type),
            nodes = targets.len(),
            replies = field::Empty,
            failures = field::Empty,
            outcome = field::Empty,
            otel.status_code = field::Empty,
        );
        Self {
            span,
            started: Instant::now(),
            replies: 0,
            failures: 0,
            has_ended: false,
            #[cfg(feature = "metrics")]
            metrics: targets.iter().next().and_then(|node| {
                node.channel().pool().metrics().map(|metrics| metrics.method(method, call_type))
            }),
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The caller has taken the reply of a node.
    pub(crate) fn reply(&mut self, node: &Node, error: Option<&NodeError>) {
        let (id, after) = (node.id().get(), self.started.elapsed());
        if let Some(error) = error {
            self.failures += 1;
            tracing::debug!(target: TARGET, parent: &self.span, node = id, ?after, %error, "failed");
        } else {
            self.replies += 1;
            tracing::debug!(target: TARGET, parent: &self.span, node = id, ?after, "replied");
        }
    }

    /// A node has failed, and is asked again after this time.
    pub(crate) fn retried(&self, error: &NodeError, after: Duration) {
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            metrics.retried();
        }
        let node = error.node().get();
        tracing::debug!(target: TARGET, parent: &self.span, node, ?after, %error, "failed, asked again");
    }

    /// A one-way call for which nobody waits was queued, but for these nodes: for enough of them or not.
    pub(crate) fn queued(&mut self, errors: &[NodeError], is_enough: bool) {
        for error in errors {
            tracing::debug!(target: TARGET, parent: &self.span, node = error.node().get(), %error, "not queued");
        }
        self.ended(if is_enough { CallOutcome::Ok } else { CallOutcome::SendFailure });
    }

    /// The call has ended.
    pub(crate) fn ended(&mut self, outcome: CallOutcome) {
        self.has_ended = true;
        self.span.record("replies", self.replies);
        self.span.record("failures", self.failures);
        self.span.record("outcome", outcome.label());
        let status = if matches!(outcome, CallOutcome::Ok | CallOutcome::Ended) { "OK" } else { "ERROR" };
        self.span.record("otel.status_code", status);
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            metrics.ended(outcome, self.started.elapsed());
        }
    }
}

impl Drop for Observed {
    /// Whoever waited for room for a one-way call has given it up.
    fn drop(&mut self) {
        if !self.has_ended {
            self.ended(CallOutcome::Dropped);
        }
    }
}
