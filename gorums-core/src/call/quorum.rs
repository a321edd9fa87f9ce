//! The quorum call.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::call::correctable::Correctable;
use crate::call::decide::DecideFuture;
use crate::call::description::Description;
use crate::call::intercept::call_interceptors;
use crate::call::options::{common_options, retry_option};
use crate::call::reach::{Counted, Reach};
use crate::call::replies::Replies;
use crate::call::reply_set::{QuorumFunction, ReachWith};
use crate::call::stage::Stage;
use crate::call::staged::StagedCall;
use crate::call::tally::{Quorum, Tally};
use crate::configuration::{Decided, Undecided};
use crate::error::{QuorumError, QuorumErrorKind};
use crate::method::Method;
use crate::node::Targets;
use crate::quorum::QuorumRule;

/// A call to all nodes of a configuration that goes on when enough of them have answered.
///
/// It is only described until a terminal is awaited or `send` is called. When the quorum is reached, nodes
/// that have not answered still get and handle the request, until its deadline; nobody waits for them.
#[must_use = "a call does nothing until a terminal such as `majority()` is awaited, or `send()` is called"]
pub struct QuorumCall<Req: 'static, Resp: 'static, Q = Undecided> {
    description: Description<Req, Resp>,
    quorum: Q,
}

impl<Req, Resp, Q> QuorumCall<Req, Resp, Q> {
    pub(crate) fn new(targets: Targets, method: &'static Method<Req, Resp>, request: Req, quorum: Q) -> Self {
        Self { description: Description::new(targets, method, request), quorum }
    }

    common_options!();
    retry_option!();
    call_interceptors!(Resp);

    /// Waits for the first successful reply.
    pub fn first(self) -> QuorumFuture<Req, Resp> {
        self.reach(Quorum::First)
    }

    /// Waits for successful replies of more than half of the nodes.
    pub fn majority(self) -> QuorumFuture<Req, Resp> {
        self.reach(Quorum::Majority)
    }

    /// Waits for successful replies of every node.
    pub fn all(self) -> QuorumFuture<Req, Resp> {
        self.reach(Quorum::All)
    }

    /// Waits for successful replies of `replies` nodes.
    pub fn threshold(self, replies: usize) -> QuorumFuture<Req, Resp> {
        self.reach(Quorum::Threshold(replies))
    }

    fn reach(self, quorum: Quorum) -> QuorumFuture<Req, Resp> {
        QuorumFuture { state: State::Described { call: Some((self.description, quorum)) } }
    }

    /// Waits until a quorum rule has decided: one of those in [`quorum`](crate::quorum), or a protocol's own.
    pub fn decide<R: QuorumRule<Resp>>(self, rule: R) -> DecideFuture<Req, Resp, R> {
        DecideFuture::new(self.description, rule)
    }

    /// Waits until a quorum function has decided, which sees all replies so far each time.
    pub fn quorum<F: QuorumFunction<Resp>>(self, function: F) -> QuorumFunctionFuture<Req, Resp, F> {
        QuorumFunctionFuture { described: Some((self.description, function)), sent: None }
    }

    /// Asks a quorum of the fastest nodes first, and the others after a delay, or as soon as one of those has failed. See
    /// [`StagedCall`] for what it is good for.
    pub fn staged(self, stage: Stage) -> StagedCall<Req, Resp, Q> {
        StagedCall::new(self.description, self.quorum, stage)
    }

    /// Sends the request now: calls that one task sends reach each node in the order in which it sent them.
    /// The replies can be read, or a terminal be used on them, later.
    pub fn send(self) -> Replies<Resp> {
        Replies::new(self.description.start_each())
    }

    /// Sends the request now, and watches the reply improve, up to `level` replies.
    pub fn correctable(self, level: usize) -> Correctable<Resp> {
        self.send().correctable(level)
    }
}

impl<Req, Resp> IntoFuture for QuorumCall<Req, Resp, Decided> {
    type Output = Result<Resp, QuorumError>;
    type IntoFuture = QuorumFuture<Req, Resp>;

    /// Waits for the quorum that was chosen on the configuration.
    fn into_future(self) -> QuorumFuture<Req, Resp> {
        let Decided(quorum) = self.quorum;
        self.reach(quorum)
    }
}

impl<Req: fmt::Debug, Resp, Q> fmt::Debug for QuorumCall<Req, Resp, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QuorumCall").field(&self.description).finish()
    }
}

pin_project! {
    /// A quorum call that is sent when it is first polled, and resolves when its quorum has replied: to the
    /// first reply that arrived.
    ///
    /// # Errors
    ///
    /// [`QuorumErrorKind::Incomplete`] as soon as so many nodes have failed that the quorum is out of reach,
    /// and [`QuorumErrorKind::DeadlineExceeded`] at the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the call up: it is removed everywhere, requests that were not sent are withdrawn,
    /// and nodes that support it are told.
    #[must_use = "futures do nothing unless awaited"]
    pub struct QuorumFuture<Req: 'static, Resp: 'static> {
        #[pin]
        state: State<Req, Resp>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<Req: 'static, Resp: 'static> {
        Described { call: Option<(Description<Req, Resp>, Quorum)> },
        Sent { #[pin] reach: Reach<Resp> },
    }
}

impl<Req, Resp> Future for QuorumFuture<Req, Resp> {
    type Output = Result<Resp, QuorumError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Sent { reach } => return reach.poll(cx),
                StateProjection::Described { call } => {
                    let Some((description, quorum)) = call.take() else { return Poll::Pending };
                    let call = description.start_counted_for(quorum);
                    let progress = Counted::new(quorum, &call);
                    let reach = Reach::new(call, progress, QuorumErrorKind::Incomplete);
                    state.set(State::Sent { reach });
                }
            }
        }
    }
}

impl<Req, Resp> Description<Req, Resp> {
    fn start_counted_for(self, quorum: Quorum) -> crate::call::flight::Call<Resp> {
        let tally = Tally::new(quorum, self.size());
        self.start_counted(tally)
    }
}

/// A quorum call with a quorum function, sent when it is first polled.
///
/// # Errors
///
/// [`QuorumErrorKind::Incomplete`] when the function finds the result out of reach, or every node has answered
/// and it still needs more; [`QuorumErrorKind::DeadlineExceeded`] at the deadline.
///
/// # Cancel safety
///
/// As that of [`QuorumFuture`].
#[must_use = "futures do nothing unless awaited"]
pub struct QuorumFunctionFuture<Req: 'static, Resp: 'static, F> {
    described: Option<(Description<Req, Resp>, F)>,
    sent: Option<ReachWith<Resp, F>>,
}

impl<Req, Resp, F> Unpin for QuorumFunctionFuture<Req, Resp, F> {}

impl<Req, Resp, F: QuorumFunction<Resp>> Future for QuorumFunctionFuture<Req, Resp, F> {
    type Output = Result<F::Output, QuorumError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some((description, function)) = self.described.take() {
            self.sent = Some(Replies::new(description.start_each()).quorum(function));
        }
        match &mut self.sent {
            Some(sent) => Pin::new(sent).poll(cx),
            None => Poll::Pending,
        }
    }
}
