//! The methods of a server, by name, and how their handlers are started.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio_util::sync::ReusableBoxFuture;
use tonic::Status;

use crate::codec::NOTHING;
use crate::method::{CallType, Method};
use crate::payload::Payload;
use crate::server::context::ServerContext;
use crate::server::interceptor::{AnyInterceptor, Facts, Interceptor, MessageType, intercepted};
use crate::server::replier::{Replier, Updates};

/// A handler at work, in memory that is used again for the next one of the same size. It replies by itself.
pub(crate) type Running = ReusableBoxFuture<'static, ()>;

/// Starts a handler and polls it once, in this memory. It stays there if it has not finished.
pub(crate) type Start = Box<
    dyn Fn(ServerContext, Payload, Replier, &mut Option<Running>, &mut Context<'_>) -> Poll<()> + Send + Sync,
>;

/// One method of a server.
pub(crate) struct Handler {
    facts: Facts,
    idempotent: bool,
    start: Start,
}

impl Handler {
    pub(crate) fn name(&self) -> &'static str {
        self.facts.method
    }

    pub(crate) fn is_one_way(&self) -> bool {
        self.facts.call_type.is_one_way()
    }

    /// Whether the caller sends a request again that was lost with its stream.
    pub(crate) fn is_sent_again(&self) -> bool {
        self.idempotent && self.facts.call_type != CallType::StreamingQuorumCall
    }

    /// Starts the handler and polls it once. If it has not finished, it goes on with the next poll of `running`. To be
    /// called [while](crate::server::nested::lend) the request is handled.
    pub(crate) fn start(
        &self,
        context: ServerContext,
        payload: Payload,
        replier: Replier,
        running: &mut Option<Running>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        (self.start)(context, payload, replier, running, cx)
    }

    /// The same method, started in another way.
    pub(crate) fn wrap(self, wrap: impl FnOnce(Facts, Start) -> Start) -> Self {
        Self { start: wrap(self.facts, self.start), ..self }
    }
}

/// A service that a [`Server`](crate::Server) can offer. Implemented by generated code.
pub trait Service: Sized {
    /// The full name, as `storage.Storage`.
    const NAME: &'static str;

    /// Adds the service's methods.
    fn register(self, methods: &mut Methods);
}

/// The methods that a server knows, by their full names.
///
/// A method that is added twice belongs to the service that was added last.
#[derive(Default)]
pub struct Methods {
    table: Vec<Handler>,
    places: HashMap<&'static str, usize>,
    interceptors: Vec<Box<dyn AnyInterceptor>>,
}

impl Methods {
    pub(crate) fn get(&self, name: &str) -> Option<&Handler> {
        self.find(name).map(|place| self.handler(place))
    }

    /// Whether there are methods of a service.
    #[cfg(feature = "health")]
    pub(crate) fn has_service(&self, name: &str) -> bool {
        self.places.keys().any(|method| method.rsplit_once('.').is_some_and(|(service, _)| service == name))
    }

    /// The place of a method.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    pub(crate) fn handler(&self, place: usize) -> &Handler {
        &self.table[place]
    }

    pub(crate) fn add_interceptor(&mut self, interceptor: impl Interceptor) {
        self.interceptors.push(Box::new(interceptor));
    }

    /// Puts the interceptors around all methods, whichever was added first. Without any, methods are started as they are.
    pub(crate) fn finish(mut self) -> Arc<Self> {
        if !self.interceptors.is_empty() {
            let interceptors = Arc::from(std::mem::take(&mut self.interceptors));
            let wrap = |handler| intercepted(handler, Arc::clone(&interceptors));
            self.table = self.table.into_iter().map(wrap).collect();
        }
        Arc::new(self)
    }

    /// Adds a method with one reply to each request.
    pub fn two_way<S, Req, Resp, F, Fut>(
        &mut self,
        method: &'static Method<Req, Resp>,
        service: &Arc<S>,
        handle: F,
    ) where
        S: Send + Sync + 'static,
        Req: Send + 'static,
        Resp: Send + 'static,
        F: Fn(Arc<S>, ServerContext, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, Status>> + Send + 'static,
    {
        self.add(method, service, handle, |replier, method, result| match result {
            Ok(response) => drop(replier.reply(method, response)),
            Err(status) => replier.refuse(&status),
        });
    }

    /// Adds a method without replies.
    pub fn one_way<S, Req, F, Fut>(&mut self, method: &'static Method<Req, ()>, service: &Arc<S>, handle: F)
    where
        S: Send + Sync + 'static,
        Req: Send + 'static,
        F: Fn(Arc<S>, ServerContext, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.add(method, service, handle, |_, _, ()| ());
    }

    /// Adds a method with any number of replies to each request.
    pub fn streaming<S, Req, Resp, F, Fut>(
        &mut self,
        method: &'static Method<Req, Resp>,
        service: &Arc<S>,
        handle: F,
    ) where
        S: Send + Sync + 'static,
        Req: Send + 'static,
        Resp: Send + 'static,
        F: Fn(Arc<S>, ServerContext, Req, Updates<Resp>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let handle = move |service, context, request, replier: &Replier| {
            handle(service, context, request, Updates::new(method, replier))
        };
        let answer: Answer<Req, Resp, _> = |replier, _, result| match result {
            Ok(()) => replier.end(),
            Err(status) => replier.refuse(&status),
        };
        self.insert(method, start(method, service, handle, answer));
    }

    fn add<S, Req, Resp, F, Fut>(
        &mut self,
        method: &'static Method<Req, Resp>,
        service: &Arc<S>,
        handle: F,
        answer: Answer<Req, Resp, Fut::Output>,
    ) where
        S: Send + Sync + 'static,
        Req: Send + 'static,
        Resp: 'static,
        F: Fn(Arc<S>, ServerContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
    {
        let handle = move |service, context, request, _: &Replier| handle(service, context, request);
        self.insert(method, start(method, service, handle, answer));
    }

    fn insert<Req, Resp>(&mut self, method: &'static Method<Req, Resp>, start: Start) {
        let (name, call_type, idempotent) = (method.name(), method.call_type(), method.is_idempotent());
        let streaming = call_type == CallType::StreamingQuorumCall;
        let reply = if streaming { MessageType::of(&NOTHING) } else { MessageType::of(&method.response) };
        let facts = Facts { method: name, call_type, request: MessageType::of(&method.request), reply };
        let handler = Handler { facts, idempotent, start };
        match self.places.entry(name) {
            Entry::Occupied(place) => self.table[*place.get()] = handler,
            Entry::Vacant(place) => {
                place.insert(self.table.len());
                self.table.push(handler);
            }
        }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.places.keys()).finish()
    }
}

/// Answers with what a handler returned.
type Answer<Req, Resp, Output> = fn(&Replier, &'static Method<Req, Resp>, Output);

/// Decodes the request, and starts its handler.
fn start<S, Req, Resp, F, Fut>(
    method: &'static Method<Req, Resp>,
    service: &Arc<S>,
    handle: F,
    answer: Answer<Req, Resp, Fut::Output>,
) -> Start
where
    S: Send + Sync + 'static,
    Req: Send + 'static,
    Resp: 'static,
    F: Fn(Arc<S>, ServerContext, Req, &Replier) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
{
    let service = service.clone();
    Box::new(move |context, payload, replier, running, cx| {
        let handling = catch_unwind(AssertUnwindSafe(|| {
            let request = (method.request.open)(payload)?;
            Ok(handle(service.clone(), context, request, &replier))
        }));
        match handling {
            Ok(Ok(handler)) => {
                let handling = Handling::Running { handler, replier, method, answer };
                return put(running, handling).poll(cx);
            }
            Ok(Err(error)) => replier.refuse_undecodable(&error),
            Err(panic) => replier.panicked(&*panic),
        }
        Poll::Ready(())
    })
}

/// Puts a handler where the one before it has been.
pub(crate) fn put(
    place: &mut Option<Running>,
    handling: impl Future<Output = ()> + Send + 'static,
) -> &mut Running {
    match place {
        Some(running) => {
            running.set(handling);
            running
        }
        None => place.insert(ReusableBoxFuture::new(handling)),
    }
}

pin_project! {
    /// A handler at work, and what answers for it.
    #[project = HandlingProjection]
    enum Handling<Req: 'static, Resp: 'static, Fut: Future> {
        Running {
            #[pin]
            handler: Fut,
            replier: Replier,
            method: &'static Method<Req, Resp>,
            answer: Answer<Req, Resp, Fut::Output>,
        },
        /// It holds nothing any more: its turn, and the memory of its request.
        Done,
    }
}

impl<Req, Resp, Fut: Future> Future for Handling<Req, Resp, Fut> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let HandlingProjection::Running { handler, replier, method, answer } = self.as_mut().project() else {
            return Poll::Ready(());
        };
        let poll = || replier.within(|| handler.poll(cx));
        let polled = catch_unwind(AssertUnwindSafe(|| poll().map(|output| answer(replier, method, output))));
        match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(panic) => replier.panicked(&*panic),
        }
        self.set(Self::Done);
        Poll::Ready(())
    }
}
