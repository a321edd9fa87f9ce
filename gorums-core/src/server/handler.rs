//! The methods of a server, by name, and the reply of each handler.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use pin_project_lite::pin_project;
use tokio_util::sync::ReusableBoxFuture;
use tonic::Status;

use crate::id::MessageId;
use crate::method::{CallType, MessageError, Method};
use crate::payload::Payload;
use crate::server::active::Active;
use crate::server::context::ServerContext;
use crate::server::dispatch::MAX_REPLY_BYTES;
use crate::server::interceptor::{AnyInterceptor, Facts, Interceptor, MessageType, Outcome, intercepted};
use crate::server::nested;
use crate::server::session::Session;
use crate::wire::{self, RpcStatus};

/// A handler at work, in memory that is used again for the next one of the same size. It replies by itself.
pub(crate) type Running = ReusableBoxFuture<'static, ()>;

/// Starts a handler and puts it there, unless the request has found its answer without.
pub(crate) type Start =
    Box<dyn Fn(ServerContext, Payload, Replier, &mut Option<Running>) -> bool + Send + Sync>;

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

    /// Starts the handler and puts it into `running`. False if the request was answered without it.
    pub(crate) fn start(
        &self,
        context: ServerContext,
        payload: Payload,
        replier: Replier,
        running: &mut Option<Running>,
    ) -> bool {
        (self.start)(context, payload, replier, running)
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
            let updates = Updates { method, replier: replier.to_caller(), response: PhantomData };
            handle(service, context, request, updates)
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
        let reply = if streaming { MessageType::of::<()>() } else { MessageType::of::<Resp>() };
        let facts = Facts { method: name, call_type, request: MessageType::of::<Req>(), reply };
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
    Box::new(move |context, payload, replier, running| {
        let handling = catch_unwind(AssertUnwindSafe(|| {
            let request = (method.request.open)(payload)?;
            Ok(replier.within(|| handle(service.clone(), context, request, &replier)))
        }));
        match handling {
            Ok(Ok(handler)) => {
                let handling = Handling::Running { handler, replier, method, answer };
                match running {
                    Some(running) => running.set(handling),
                    None => *running = Some(ReusableBoxFuture::new(handling)),
                }
                return true;
            }
            Ok(Err(error)) => refuse_undecodable(&replier, &error),
            Err(panic) => replier.panicked(&*panic),
        }
        false
    })
}

fn refuse_undecodable(replier: &Replier, error: &MessageError) {
    let reason = format!("could not decode the request of {}: {error}", replier.method());
    replier.refuse_always(&Status::invalid_argument(reason));
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

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The way back to the caller of one request.
#[derive(Clone)]
pub(crate) struct Replier {
    request: Arc<Active>,
    /// Interceptors want to see the reply first.
    outcome: Option<Arc<Outcome>>,
}

impl Replier {
    pub(crate) fn new(request: Arc<Active>) -> Self {
        Self { request, outcome: None }
    }

    /// A way back that ends at the interceptors.
    pub(crate) fn reporting_to(&self, outcome: Arc<Outcome>) -> Self {
        Self { outcome: Some(outcome), ..self.clone() }
    }

    /// The way back that passes the interceptors by.
    fn to_caller(&self) -> Self {
        Self { outcome: None, ..self.clone() }
    }

    /// Handles the request while `run` runs. Interceptors run within the request themselves, and so do handlers in them.
    fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        if self.outcome.is_some() { run() } else { nested::within(&self.request, run) }
    }

    fn session(&self) -> &Session {
        self.request.session()
    }

    fn id(&self) -> MessageId {
        self.request.facts().id
    }

    fn method(&self) -> &'static str {
        self.request.facts().method
    }

    fn is_one_way(&self) -> bool {
        self.request.facts().one_way
    }

    fn reply<Req, Resp>(&self, method: &'static Method<Req, Resp>, response: Resp) -> bool {
        let codec = &method.response;
        if let Some(outcome) = &self.outcome {
            return outcome.set(Ok(codec.encoded(&response))).is_ok();
        }
        let len = (codec.len)(&response);
        if self.session().is_local() {
            return self.fits(len) && self.session().reply_local(self.id(), (codec.keep)(response, codec));
        }
        self.send(len, |buf| (codec.encode)(&response, buf))
    }

    /// Sends a reply that interceptors have seen.
    pub(crate) fn reply_encoded(&self, payload: Bytes) {
        if self.is_one_way() {
            return;
        }
        if self.session().is_local() {
            if self.fits(payload.len()) {
                self.session().reply_local(self.id(), Payload::Encoded(payload));
            }
        } else {
            self.send(payload.len(), |buf| buf.extend_from_slice(&payload));
        }
    }

    fn send(&self, len: usize, encode: impl FnOnce(&mut BytesMut)) -> bool {
        !self.fits(len) || self.session().reply(self.id(), self.method(), len, encode)
    }

    /// Whether a reply is as short as it has to be. If not, the caller gets an error instead.
    fn fits(&self, len: usize) -> bool {
        let limit = self.session().max_message_size();
        let fits = len + wire::overhead(self.method()) <= limit;
        if !fits {
            let reason = format!("a reply of {len} bytes is longer than the limit of {limit}");
            self.refuse(&Status::resource_exhausted(reason));
        }
        fits
    }

    pub(crate) fn end(&self) {
        if self.outcome.is_none() {
            self.session().reply_end(self.id(), self.method());
        }
    }

    /// Answers with an error, unless the caller expects no answer.
    pub(crate) fn refuse(&self, status: &Status) {
        match &self.outcome {
            // The first answer counts.
            Some(outcome) => drop(outcome.set(Err(status.clone()))),
            None if self.is_one_way() => {}
            None => self.session().reply_status(self.id(), self.method(), &RpcStatus::from_status(status)),
        }
    }

    /// Answers with an error also to a one-way message, as Go Gorums does to one that it cannot decode.
    fn refuse_always(&self, status: &Status) {
        self.refuse(status);
        if self.is_one_way() {
            self.session().reply_status(self.id(), self.method(), &RpcStatus::from_status(status));
        }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) {
        let method = self.method();
        tracing::error!(method, reason = panic_text(panic), "handler panicked");
        self.refuse(&Status::internal(format!("the handler of {method} panicked")));
    }
}

/// The replies of one request to a streaming method: a handler may send any number.
///
/// The stream of replies ends when the handler returns.
pub struct Updates<Resp: 'static> {
    method: &'static dyn Encodes<Resp>,
    replier: Replier,
    response: PhantomData<fn(Resp)>,
}

/// A method, without its request type.
trait Encodes<Resp>: Send + Sync {
    fn reply(&'static self, replier: &Replier, response: Resp) -> bool;
}

impl<Req, Resp> Encodes<Resp> for Method<Req, Resp> {
    fn reply(&'static self, replier: &Replier, response: Resp) -> bool {
        replier.reply(self, response)
    }
}

impl<Resp> Updates<Resp> {
    /// Sends one reply; waits while a megabyte of replies on this stream has not been written.
    ///
    /// # Errors
    ///
    /// `Cancelled` once the caller has gone; the handler should return.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped has either sent the reply or not.
    pub async fn send(&mut self, response: Resp) -> Result<(), Status> {
        let gone = || Status::cancelled("the caller has gone");
        let (session, id) = (self.replier.session(), self.replier.id());
        if !session.room_for_reply(MAX_REPLY_BYTES).await || session.is_cancelled(id) {
            return Err(gone());
        }
        if self.method.reply(&self.replier, response) { Ok(()) } else { Err(gone()) }
    }
}

impl<Resp> fmt::Debug for Updates<Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").field("method", &self.replier.method()).finish_non_exhaustive()
    }
}
