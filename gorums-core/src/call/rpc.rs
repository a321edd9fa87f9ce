//! The call to one node.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::call::description::Description;
use crate::call::flight::Call;
use crate::call::intercept::{Received, call_interceptors};
use crate::call::options::{common_options, retry_option};
use crate::call::reach::Deadline;
use crate::error::{NodeError, NodeErrorKind};
use crate::method::Method;
use crate::node::Targets;
use crate::observe::CallOutcome;
use crate::router::entry::Look;

/// A call to one node, which replies once.
#[must_use = "a call does nothing until it is awaited"]
pub struct Rpc<Req: 'static, Resp: 'static> {
    description: Description<Req, Resp>,
}

impl<Req, Resp> Rpc<Req, Resp> {
    pub(crate) fn new(targets: Targets, method: &'static Method<Req, Resp>, request: Req) -> Self {
        Self { description: Description::new(targets, method, request) }
    }

    common_options!();
    retry_option!();
    call_interceptors!(Resp);

    /// Sends the request now: calls that one task sends reach the node in the order in which it sent them.
    pub fn send(self) -> RpcFuture<Resp> {
        let call = self.description.start_each();
        RpcFuture { deadline: Deadline::of(&call), call }
    }
}

impl<Req, Resp> IntoFuture for Rpc<Req, Resp> {
    type Output = Result<Resp, NodeError>;
    type IntoFuture = RpcFuture<Resp>;

    fn into_future(self) -> RpcFuture<Resp> {
        self.send()
    }
}

impl<Req: fmt::Debug, Resp> fmt::Debug for Rpc<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rpc").field(&self.description).finish()
    }
}

pin_project! {
    /// An rpc that was sent. Resolves to the node's reply.
    ///
    /// # Errors
    ///
    /// What happened instead of a reply, by [kind](NodeError::kind), and at the latest at the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the call up: it is removed everywhere, a request that was not sent is withdrawn,
    /// and a node that supports it is told.
    #[must_use = "dropping it gives the call up"]
    pub struct RpcFuture<Resp> {
        call: Call<Resp>,
        #[pin]
        deadline: Deadline,
    }
}

fn result<Resp>(received: Received<Resp>) -> Result<Resp, NodeError> {
    match received {
        Received::Given(result) => result,
        Received::LeftOut(error) => Err(error),
    }
}

fn outcome<Resp>(received: Option<&Received<Resp>>) -> CallOutcome {
    match received {
        Some(Received::Given(Ok(_))) => CallOutcome::Ok,
        Some(Received::Given(Err(error)) | Received::LeftOut(error)) => error.kind().into(),
        None => CallOutcome::Dropped,
    }
}

impl<Resp> Future for RpcFuture<Resp> {
    type Output = Result<Resp, NodeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (replies, overdue) = match this.call.look(cx.waker()) {
            Look::Replies(replies) => (replies, None),
            Look::Done => return Poll::Pending,
            Look::Wait => {
                let overdue = ready!(this.deadline.poll(cx));
                (this.call.close(), Some(overdue))
            }
        };
        if let Some(reply) = replies.into_iter().next() {
            let received = this.call.receive(reply);
            this.call.came_to(outcome(received.as_ref()));
            this.call.end();
            return received.map_or(Poll::Pending, |received| Poll::Ready(result(received)));
        }
        let overdue = overdue.map_or(NodeErrorKind::DeadlineExceeded, NodeErrorKind::from);
        let late = this.call.unsettled(&overdue);
        this.call.end();
        let late = late.into_iter().next().and_then(|(target, error)| this.call.pass(target, Err(error)));
        this.call.came_to(match &late {
            Some(Received::Given(Ok(_))) => CallOutcome::Ok,
            _ => (&overdue).into(),
        });
        late.map_or(Poll::Pending, |received| Poll::Ready(result(received)))
    }
}
