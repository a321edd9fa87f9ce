//! The staged quorum call: the fastest quorum first, the others when that is too slow or fails.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::call::decide::Decide;
use crate::call::description::Description;
use crate::call::intercept::call_interceptors;
use crate::call::options::common_options;
use crate::call::reach::{Counted, Reach};
use crate::call::replies::Replies;
use crate::call::reply_set::{QuorumFunction, ReachWith};
use crate::call::stage::Stage;
use crate::call::staged::stages::Sent;
pub(crate) use crate::call::staged::stages::{NeverAsked, Staged};
use crate::call::tally::Quorum;
use crate::configuration::{Decided, Undecided};
use crate::error::{QuorumError, QuorumErrorKind};
use crate::quorum::QuorumRule;

mod stages;

/// A quorum call that asks the fastest nodes first, and the others only if those are too slow or fail.
///
/// ```no_run
/// # use std::time::Duration;
/// # use gorums_core::{QuorumCall, QuorumError, Stage};
/// # async fn run(read: QuorumCall<(), u64>, again: QuorumCall<(), u64>) -> Result<(), QuorumError> {
/// let newest = read.staged(Stage::adaptive()).majority().await?;
/// let newest = again.staged(Stage::after(Duration::from_millis(5))).majority().await?;
/// # Ok(()) }
/// ```
///
/// The call is exactly as safe as the plain one: its quorum is counted over all nodes of the configuration, needs as many
/// replies, and fails for the same reasons, with an error that names every node.
///
/// - The first [`Stage`] goes to as many of the fastest nodes as the quorum needs. While enough of them answer in time,
///   the other nodes never see the request, nor is a connection made to them.
/// - For each node that fails, the next fastest is asked at once. When every node that was asked has answered, and a quorum
///   function still needs more, the rest are asked at once.
/// - After the delay, all others are asked. They get the time that is left until the deadline of the call, not all of it.
///
/// It is meant for reads, and for other work that is idempotent and need not reach all nodes. It saves requests, and
/// avoids nodes that are slow at the moment, at the price of waiting for the delay when one of the fastest nodes is slow
/// for once. Two things differ from other calls:
///
/// - *Order*: the request is not sent to all nodes at once. At each node it takes its place among the other calls when it
///   is sent to that node, which may be after calls that were started later.
/// - *Reach*: when the quorum is reached, requests that wait to be sent are withdrawn. Nodes to which it was sent go on with
///   it; what they answer late still counts as their latency.
///
/// Nodes that were not asked when the call failed are named in its error as [`NodeErrorKind::Cancelled`], with a source
/// that says so; they are never ambiguous.
///
/// [`NodeErrorKind::Cancelled`]: crate::NodeErrorKind::Cancelled
#[must_use = "a call does nothing until a terminal such as `majority()` is awaited"]
pub struct StagedCall<Req: 'static, Resp: 'static, Q = Undecided> {
    description: Description<Req, Resp>,
    quorum: Q,
    stage: Stage,
}

impl<Req, Resp, Q> StagedCall<Req, Resp, Q> {
    pub(crate) fn new(description: Description<Req, Resp>, quorum: Q, stage: Stage) -> Self {
        Self { description, quorum, stage }
    }

    common_options!();
    call_interceptors!(Resp);

    /// Waits for the first successful reply.
    pub fn first(self) -> StagedFuture<Req, Resp> {
        self.reach(Quorum::First)
    }

    /// Waits for successful replies of more than half of the nodes.
    pub fn majority(self) -> StagedFuture<Req, Resp> {
        self.reach(Quorum::Majority)
    }

    /// Waits for successful replies of every node: all of them are in the first stage.
    pub fn all(self) -> StagedFuture<Req, Resp> {
        self.reach(Quorum::All)
    }

    /// Waits for successful replies of `replies` nodes.
    pub fn threshold(self, replies: usize) -> StagedFuture<Req, Resp> {
        self.reach(Quorum::Threshold(replies))
    }

    fn reach(self, quorum: Quorum) -> StagedFuture<Req, Resp> {
        StagedFuture { state: State::Described { call: Some((self.description, self.stage, quorum)) } }
    }

    /// Waits until a quorum rule has decided. It does not tell how many replies it needs: give the [size](Stage::size) of
    /// the first stage, unless more than half of the nodes is right.
    pub fn decide<R: QuorumRule<Resp>>(self, rule: R) -> StagedDecideFuture<Req, Resp, R> {
        StagedDecideFuture { state: State::Described { call: Some((self.description, self.stage, rule)) } }
    }

    /// Waits until a quorum function has decided. It does not tell how many replies it needs: give the
    /// [size](Stage::size) of the first stage, unless more than half of the nodes is right.
    pub fn quorum<F: QuorumFunction<Resp>>(self, function: F) -> StagedFunctionFuture<Req, Resp, F> {
        let call = Some((self.description, self.stage, function));
        StagedFunctionFuture { state: State::Described { call } }
    }
}

impl<Req, Resp> IntoFuture for StagedCall<Req, Resp, Decided> {
    type Output = Result<Resp, QuorumError>;
    type IntoFuture = StagedFuture<Req, Resp>;

    /// Waits for the quorum that was chosen on the configuration.
    fn into_future(self) -> StagedFuture<Req, Resp> {
        let Decided(quorum) = self.quorum;
        self.reach(quorum)
    }
}

impl<Req: fmt::Debug, Resp, Q> fmt::Debug for StagedCall<Req, Resp, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedCall")
            .field("description", &self.description)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<Req: 'static, Resp: 'static, T, R> {
        Described { call: Option<(Description<Req, Resp>, Stage, T)> },
        Sent { #[pin] sent: Sent<Req, Resp, R> },
    }
}

impl<Req, Resp, T, R: Staged<Resp = Resp>> State<Req, Resp, T, R> {
    /// Starts the call when it is first polled, and then waits for it.
    fn poll_with(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        start: impl FnOnce(Description<Req, Resp>, Stage, T) -> Sent<Req, Resp, R>,
    ) -> Poll<R::Output> {
        if let StateProjection::Described { call } = self.as_mut().project() {
            let Some((description, stage, terminal)) = call.take() else { return Poll::Pending };
            let sent = start(description, stage, terminal);
            self.set(Self::Sent { sent });
        }
        match self.project() {
            StateProjection::Sent { sent } => sent.poll(cx),
            StateProjection::Described { .. } => Poll::Pending,
        }
    }
}

pin_project! {
    /// A [staged](StagedCall) call that is sent when it is first polled, and resolves when its quorum has replied: to the
    /// first reply that arrived.
    ///
    /// # Errors
    ///
    /// As those of [`QuorumFuture`](crate::QuorumFuture).
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the call up, in whichever stage: it is removed everywhere, requests that were not sent are
    /// withdrawn, and nodes that have it and support that are told. Later stages are sent only while it is polled.
    #[must_use = "futures do nothing unless awaited"]
    pub struct StagedFuture<Req: 'static, Resp: 'static> {
        #[pin]
        state: State<Req, Resp, Quorum, Reach<Resp>>,
    }
}

impl<Req, Resp> Future for StagedFuture<Req, Resp> {
    type Output = Result<Resp, QuorumError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll_with(cx, |description, stage, quorum| {
            let size = description.size();
            let width = stage.width(quorum.needed(size), size);
            description.start_staged(stage, width, |call| {
                let progress = Counted::new(quorum, &call);
                Reach::new(call, progress, QuorumErrorKind::Incomplete)
            })
        })
    }
}

pin_project! {
    /// A [staged](StagedCall) call with a quorum function, sent when it is first polled.
    ///
    /// # Errors
    ///
    /// As those of [`QuorumFunctionFuture`](crate::QuorumFunctionFuture).
    ///
    /// # Cancel safety
    ///
    /// As that of [`StagedFuture`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct StagedFunctionFuture<Req: 'static, Resp: 'static, F> {
        #[pin]
        state: State<Req, Resp, F, ReachWith<Resp, F>>,
    }
}

impl<Req, Resp, F: QuorumFunction<Resp>> Future for StagedFunctionFuture<Req, Resp, F> {
    type Output = Result<F::Output, QuorumError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll_with(cx, |description, stage, function| {
            let width = stage.width_of_function(description.size());
            description.start_staged(stage, width, |call| Replies::new(call).quorum(function))
        })
    }
}

pin_project! {
    /// A [staged](StagedCall) call with a quorum rule, sent when it is first polled.
    ///
    /// # Errors
    ///
    /// As those of [`Decide`].
    ///
    /// # Cancel safety
    ///
    /// As that of [`StagedFuture`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct StagedDecideFuture<Req: 'static, Resp: 'static, R> {
        #[pin]
        state: State<Req, Resp, R, Decide<Resp, R>>,
    }
}

impl<Req, Resp, R: QuorumRule<Resp>> Future for StagedDecideFuture<Req, Resp, R> {
    type Output = Result<R::Output, QuorumError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll_with(cx, |description, stage, rule| {
            let width = stage.width_of_function(description.size());
            description.start_staged(stage, width, |call| Replies::new(call).decide(rule))
        })
    }
}
