//! A fake method without replies.

use std::fmt;
use std::sync::Arc;

use crate::method::Method;
use crate::server::context::ServerContext;
use crate::server::handler::Methods;
use crate::testing::mock::script::Script;

/// A fake unicast or multicast of one node: does what it is told, and remembers what it was told by others.
///
/// Clones are handles to the same method.
pub struct MockOneWay<Req: 'static> {
    inner: Arc<Inner<Req>>,
}

struct Inner<Req: 'static> {
    method: &'static Method<Req, ()>,
    script: Script<Req, ()>,
}

impl<Req: Clone + Send + Sync + 'static> MockOneWay<Req> {
    /// A method that only remembers.
    pub fn new(method: &'static Method<Req, ()>) -> Self {
        Self { inner: Arc::new(Inner { method, script: Script::new() }) }
    }

    /// Runs a closure for each request.
    pub fn does(&self, does: impl FnMut(Req) + Send + 'static) -> &Self {
        self.inner.script.answers(does);
        self
    }

    /// How many requests have come.
    pub fn calls(&self) -> usize {
        self.inner.script.calls()
    }

    /// The requests that have come, in order.
    pub fn requests(&self) -> Vec<Req> {
        self.inner.script.requests()
    }

    /// Waits until so many requests have come, from the first on: the only way to know, as the caller gets no reply.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn received(&self, calls: usize) {
        self.inner.script.received(calls).await;
    }

    /// Handles a request, for the service that the mock stands for.
    pub async fn handle(&self, context: &ServerContext, request: Req) {
        self.inner.handle(context, request).await;
    }

    /// Adds the method to those of a server.
    pub fn register(&self, methods: &mut Methods) {
        methods.one_way(self.inner.method, &self.inner, |inner, context, request| async move {
            inner.handle(&context, request).await;
        });
    }
}

impl<Req: Clone> Inner<Req> {
    async fn handle(&self, context: &ServerContext, request: Req) {
        self.script.answer(context, request, || (), || ()).await;
    }
}

impl<Req> Clone for MockOneWay<Req> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<Req> fmt::Debug for MockOneWay<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { method, script } = &*self.inner;
        f.debug_struct("MockOneWay").field("method", &method.name()).field("calls", &script.calls()).finish()
    }
}
