//! A fake method with any number of replies.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::Status;

use crate::method::Method;
use crate::server::context::ServerContext;
use crate::server::handler::Methods;
use crate::server::replier::Updates;
use crate::testing::mock::method::{dropped, untold};
use crate::testing::mock::script::Script;

/// A fake streaming quorum call of one node: replies as it is told, and remembers what it was asked.
///
/// What is told by [`in_turn`](Self::in_turn) and [`hold`](Self::hold) is for one request each, as with a
/// [`MockMethod`](super::MockMethod).
///
/// Clones are handles to the same method.
pub struct MockStream<Req: 'static, Resp: 'static> {
    inner: Arc<Inner<Req, Resp>>,
}

struct Inner<Req: 'static, Resp: 'static> {
    method: &'static Method<Req, Resp>,
    script: Script<Req, Feed<Resp>>,
}

/// Where replies come from.
enum Feed<Resp> {
    Given(Result<Vec<Resp>, Status>),
    Held(mpsc::UnboundedReceiver<Step<Resp>>),
}

/// What a stream does next.
enum Step<Resp> {
    Reply(Resp),
    End(Result<(), Status>),
}

impl<Req, Resp> MockStream<Req, Resp>
where
    Req: Clone + Send + Sync + 'static,
    Resp: Send + Sync + 'static,
{
    /// A method that was not told what to answer.
    pub fn new(method: &'static Method<Req, Resp>) -> Self {
        Self { inner: Arc::new(Inner { method, script: Script::new() }) }
    }

    /// Answers with the replies that a closure gives, and the end.
    pub fn answers(
        &self,
        mut answers: impl FnMut(Req) -> Result<Vec<Resp>, Status> + Send + 'static,
    ) -> &Self {
        self.inner.script.answers(move |request| Feed::Given(answers(request)));
        self
    }

    /// Always answers with these replies, and the end.
    pub fn replies(&self, replies: impl IntoIterator<Item = Resp>) -> &Self
    where
        Resp: Clone,
    {
        let replies: Vec<_> = replies.into_iter().collect();
        self.answers(move |_| Ok(replies.clone()))
    }

    /// Always fails with this, without a reply.
    pub fn fails(&self, status: Status) -> &Self {
        self.answers(move |_| Err(status.clone()))
    }

    /// Never replies, and never ends.
    pub fn hangs(&self) -> &Self {
        self.inner.script.hangs();
        self
    }

    /// Answers the next requests with these, one each: some replies and the end, or an error.
    pub fn in_turn(&self, answers: impl IntoIterator<Item = Result<Vec<Resp>, Status>>) -> &Self {
        self.inner.script.in_turn(answers.into_iter().map(Feed::Given));
        self
    }

    /// Holds the replies to the next request in a hand of the test, which sends them one by one.
    pub fn hold(&self) -> HeldStream<Resp> {
        let (steps, held) = mpsc::unbounded_channel();
        self.inner.script.in_turn([Feed::Held(held)]);
        HeldStream { steps }
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
    /// As those of [`MockMethod::handle`](super::MockMethod::handle).
    pub async fn handle(
        &self,
        context: &ServerContext,
        request: Req,
        updates: Updates<Resp>,
    ) -> Result<(), Status> {
        self.inner.handle(context, request, updates).await
    }

    /// Adds the method to those of a server.
    pub fn register(&self, methods: &mut Methods) {
        methods.streaming(self.inner.method, &self.inner, |inner, context, request, updates| async move {
            inner.handle(&context, request, updates).await
        });
    }
}

impl<Req: Clone, Resp> Inner<Req, Resp> {
    async fn handle(
        &self,
        context: &ServerContext,
        request: Req,
        updates: Updates<Resp>,
    ) -> Result<(), Status> {
        tokio::select! {
            biased;
            ended = self.feed(context, request, updates) => ended,
            () = context.cancelled() => Err(Status::cancelled("the caller has gone")),
        }
    }

    async fn feed(
        &self,
        context: &ServerContext,
        request: Req,
        mut updates: Updates<Resp>,
    ) -> Result<(), Status> {
        let untold = || Feed::Given(Err(untold(self.method.name())));
        let dropped_feed = || Feed::Given(Err(dropped()));
        match self.script.answer(context, request, untold, dropped_feed).await {
            Feed::Given(replies) => {
                for reply in replies? {
                    updates.send(reply).await?;
                }
                Ok(())
            }
            Feed::Held(mut steps) => {
                context.release();
                loop {
                    match steps.recv().await {
                        Some(Step::Reply(reply)) => updates.send(reply).await?,
                        Some(Step::End(end)) => return end,
                        None => return Err(dropped()),
                    }
                }
            }
        }
    }
}

/// The replies to one request of a fake streaming call, in the hand of a test.
///
/// If it is dropped, the stream fails with the status `CANCELLED`.
#[must_use = "dropping it fails the request"]
pub struct HeldStream<Resp> {
    steps: mpsc::UnboundedSender<Step<Resp>>,
}

impl<Resp> HeldStream<Resp> {
    /// Sends a reply, or will send it when the request comes.
    pub fn send(&self, reply: Resp) {
        self.step(Step::Reply(reply));
    }

    /// Ends the stream in order.
    pub fn end(self) {
        self.step(Step::End(Ok(())));
    }

    /// Ends the stream with an error.
    pub fn fail(self, status: Status) {
        self.step(Step::End(Err(status)));
    }

    fn step(&self, step: Step<Resp>) {
        // Nobody listens any more if the caller has gone.
        let _ = self.steps.send(step);
    }
}

impl<Req, Resp> Clone for MockStream<Req, Resp> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<Req, Resp> fmt::Debug for MockStream<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { method, script } = &*self.inner;
        f.debug_struct("MockStream").field("method", &method.name()).field("calls", &script.calls()).finish()
    }
}

impl<Resp> fmt::Debug for HeldStream<Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldStream").finish_non_exhaustive()
    }
}
