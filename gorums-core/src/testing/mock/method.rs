//! A fake method with one reply.

use std::fmt;
use std::sync::Arc;

use tonic::Status;

use crate::method::Method;
use crate::server::context::ServerContext;
use crate::server::handler::Methods;
use crate::testing::mock::script::{Hold, Script};

/// A fake rpc or quorum call of one node: answers as it is told, and remembers what it was asked.
///
/// What it was told [in turn](Self::in_turn) or to [hold](Self::hold) is for one request each, in the order in which it
/// was told; all others get what it was told last by [`replies`](Self::replies), [`answers`](Self::answers),
/// [`fails`](Self::fails) or [`hangs`](Self::hangs). Before that it answers `UNIMPLEMENTED`.
///
/// Clones are handles to the same method.
pub struct MockMethod<Req: 'static, Resp: 'static> {
    inner: Arc<Inner<Req, Resp>>,
}

struct Inner<Req: 'static, Resp: 'static> {
    method: &'static Method<Req, Resp>,
    script: Script<Req, Result<Resp, Status>>,
}

impl<Req, Resp> MockMethod<Req, Resp>
where
    Req: Clone + Send + Sync + 'static,
    Resp: Send + Sync + 'static,
{
    /// A method that was not told what to answer.
    pub fn new(method: &'static Method<Req, Resp>) -> Self {
        Self { inner: Arc::new(Inner { method, script: Script::new() }) }
    }

    /// Answers with what a closure says.
    pub fn answers(&self, answers: impl FnMut(Req) -> Result<Resp, Status> + Send + 'static) -> &Self {
        self.inner.script.answers(answers);
        self
    }

    /// Always replies this.
    pub fn replies(&self, reply: Resp) -> &Self
    where
        Resp: Clone,
    {
        self.answers(move |_| Ok(reply.clone()))
    }

    /// Always fails with this.
    pub fn fails(&self, status: Status) -> &Self {
        self.answers(move |_| Err(status.clone()))
    }

    /// Never answers. Requests that come later are answered all the same, if they are told to be.
    pub fn hangs(&self) -> &Self {
        self.inner.script.hangs();
        self
    }

    /// Answers the next requests with these, one each.
    pub fn in_turn(&self, answers: impl IntoIterator<Item = Result<Resp, Status>>) -> &Self {
        self.inner.script.in_turn(answers);
        self
    }

    /// Holds the next request back until it is [released](Held::release): so a test decides in which order replies come.
    /// Requests that come later do not wait for it.
    pub fn hold(&self) -> Held<Req, Resp> {
        Held(self.inner.script.hold())
    }

    /// How many requests have come.
    pub fn calls(&self) -> usize {
        self.inner.script.calls()
    }

    /// The requests that have come, in order.
    pub fn requests(&self) -> Vec<Req> {
        self.inner.script.requests()
    }

    /// Waits until so many requests have come, from the first on.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn received(&self, calls: usize) {
        self.inner.script.received(calls).await;
    }

    /// Handles a request, for the service that the mock stands for.
    ///
    /// # Errors
    ///
    /// Those that it was told to answer with; `UNIMPLEMENTED` if it was told nothing, and `CANCELLED` if the caller or the
    /// test has gone.
    pub async fn handle(&self, context: &ServerContext, request: Req) -> Result<Resp, Status> {
        self.inner.handle(context, request).await
    }

    /// Adds the method to those of a server.
    pub fn register(&self, methods: &mut Methods) {
        methods.two_way(self.inner.method, &self.inner, |inner, context, request| async move {
            inner.handle(&context, request).await
        });
    }
}

impl<Req: Clone, Resp> Inner<Req, Resp> {
    async fn handle(&self, context: &ServerContext, request: Req) -> Result<Resp, Status> {
        let untold = || Err(untold(self.method.name()));
        tokio::select! {
            biased;
            answer = self.script.answer(context, request, untold, || Err(dropped())) => answer,
            () = context.cancelled() => Err(Status::cancelled("the caller has gone")),
        }
    }
}

/// A request that is held back until it is released.
///
/// If it is dropped instead, the request fails with the status `CANCELLED`.
#[must_use = "dropping it fails the request"]
pub struct Held<Req, Resp>(Hold<Req, Result<Resp, Status>>);

impl<Req, Resp> Held<Req, Resp> {
    /// Answers the request, or will answer it when it comes.
    ///
    /// On a current-thread runtime the replies of several nodes arrive in the order in which they were released.
    pub fn release(self, answer: Result<Resp, Status>) {
        // Nobody waits any more if the caller has gone.
        let _ = self.0.answer.send(answer);
    }

    /// Resolves when nobody waits for the answer any more: the caller has given the call up, or the node was stopped.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn given_up(&mut self) {
        self.0.answer.closed().await;
    }

    /// Waits for the request. May be asked once.
    ///
    /// # Panics
    ///
    /// If it will never come: the node is gone, or this was asked before.
    pub async fn request(&mut self) -> Req {
        (&mut self.0.request).await.unwrap_or_else(|_| panic!("the request will never come"))
    }
}

pub(super) fn untold(method: &str) -> Status {
    Status::unimplemented(format!("the mock of {method} was not told what to answer"))
}

pub(super) fn dropped() -> Status {
    Status::cancelled("the test has dropped what held this call")
}

impl<Req, Resp> Clone for MockMethod<Req, Resp> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<Req, Resp> fmt::Debug for MockMethod<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { method, script } = &*self.inner;
        f.debug_struct("MockMethod").field("method", &method.name()).field("calls", &script.calls()).finish()
    }
}

impl<Req, Resp> fmt::Debug for Held<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}
