//! The methods of a server, by name, and the reply of each handler.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tonic::Status;

use crate::id::MessageId;
use crate::method::{CallType, Method};
use crate::server::context::ServerContext;
use crate::server::dispatch::MAX_REPLY_BYTES;
use crate::server::interceptor::{AnyInterceptor, Facts, Interceptor, MessageType, Outcome, intercepted};
use crate::server::session::Session;
use crate::wire::{self, RpcStatus};

/// A handler at work. It replies by itself.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) type Start = Box<dyn Fn(ServerContext, Bytes, Replier) -> Running + Send + Sync>;

/// One method of a server.
pub(crate) struct Handler {
    name: &'static str,
    call_type: CallType,
    idempotent: bool,
    facts: Facts,
    start: Start,
}

impl Handler {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_one_way(&self) -> bool {
        self.call_type.is_one_way()
    }

    /// Whether the caller sends a request again that was lost with its stream.
    pub(crate) fn is_sent_again(&self) -> bool {
        self.idempotent && self.call_type != CallType::StreamingQuorumCall
    }

    pub(crate) fn start(&self, context: ServerContext, payload: Bytes, replier: Replier) -> Running {
        (self.start)(context, payload, replier)
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
    table: HashMap<&'static str, Handler>,
    interceptors: Vec<Box<dyn AnyInterceptor>>,
}

impl Methods {
    pub(crate) fn get(&self, name: &str) -> Option<&Handler> {
        self.table.get(name)
    }

    pub(crate) fn add_interceptor(&mut self, interceptor: impl Interceptor) {
        self.interceptors.push(Box::new(interceptor));
    }

    /// Puts the interceptors around all methods, whichever was added first. Without any, methods are started as they are.
    pub(crate) fn finish(mut self) -> Arc<Self> {
        if !self.interceptors.is_empty() {
            let interceptors = Arc::from(std::mem::take(&mut self.interceptors));
            let wrap = |(name, handler)| (name, intercepted(handler, Arc::clone(&interceptors)));
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
        self.add(method, service, handle, move |handling, replier| async move {
            match handling.await {
                Ok(response) => {
                    replier.reply(method, &response);
                }
                Err(status) => replier.refuse(&status),
            }
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
        self.add(method, service, handle, |handling, _| handling);
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
        let start = start(method, service, move |service, context, request, replier| {
            let updates = Updates { method, replier: replier.to_caller(), response: PhantomData };
            let handling = handle(service, context, request, updates);
            async move {
                match handling.await {
                    Ok(()) => replier.end(),
                    Err(status) => replier.refuse(&status),
                }
            }
        });
        self.insert(method, start);
    }

    fn add<S, Req, Resp, F, Fut, G, Done>(
        &mut self,
        method: &'static Method<Req, Resp>,
        service: &Arc<S>,
        handle: F,
        finish: G,
    ) where
        S: Send + Sync + 'static,
        Req: Send + 'static,
        Resp: 'static,
        F: Fn(Arc<S>, ServerContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        G: Fn(Fut, Replier) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let start = start(method, service, move |service, context, request, replier| {
            finish(handle(service, context, request), replier)
        });
        self.insert(method, start);
    }

    fn insert<Req, Resp>(&mut self, method: &'static Method<Req, Resp>, start: Start) {
        let (name, call_type, idempotent) = (method.name(), method.call_type(), method.is_idempotent());
        let streaming = call_type == CallType::StreamingQuorumCall;
        let reply = if streaming { MessageType::of::<()>() } else { MessageType::of::<Resp>() };
        let facts = Facts { method: name, call_type, request: MessageType::of::<Req>(), reply };
        let handler = Handler { name, call_type, idempotent, facts, start };
        self.table.insert(method.name(), handler);
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table.keys()).finish()
    }
}

/// Decodes the request, runs the handler, and answers for it if it panics.
fn start<S, Req, Resp, F, Fut>(method: &'static Method<Req, Resp>, service: &Arc<S>, handle: F) -> Start
where
    S: Send + Sync + 'static,
    Req: Send + 'static,
    Resp: 'static,
    F: Fn(Arc<S>, ServerContext, Req, Replier) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let service = service.clone();
    let handle = Arc::new(handle);
    Box::new(move |context, payload, replier| {
        let (service, handle) = (service.clone(), handle.clone());
        let current = context.current(!method.call_type().is_one_way());
        Box::pin(current.scope(async move {
            let on_panic = replier.clone();
            let handling = AssertUnwindSafe(async move {
                match (method.request.decode)(payload) {
                    Ok(request) => handle(service, context, request, replier).await,
                    Err(error) => {
                        let reason = format!("could not decode the request of {}: {error}", method.name());
                        replier.refuse_always(&Status::invalid_argument(reason));
                    }
                }
            });
            if let Err(panic) = handling.catch_unwind().await {
                let reason = panic_text(&*panic);
                tracing::error!(method = method.name(), reason, "handler panicked");
                on_panic.refuse(&Status::internal(format!("the handler of {} panicked", method.name())));
            }
        }))
    })
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The way back to the caller of one request.
#[derive(Clone)]
pub(crate) struct Replier {
    session: Arc<Session>,
    id: MessageId,
    method: &'static str,
    one_way: bool,
    /// Interceptors want to see the reply first.
    outcome: Option<Arc<Outcome>>,
}

impl Replier {
    pub(crate) fn new(session: Arc<Session>, id: MessageId, handler: &Handler) -> Self {
        Self { session, id, method: handler.name, one_way: handler.is_one_way(), outcome: None }
    }

    /// A way back that ends at the interceptors.
    pub(crate) fn reporting_to(&self, outcome: Arc<Outcome>) -> Self {
        Self { outcome: Some(outcome), ..self.clone() }
    }

    /// The way back that passes the interceptors by.
    fn to_caller(&self) -> Self {
        Self { outcome: None, ..self.clone() }
    }

    fn reply<Req, Resp>(&self, method: &Method<Req, Resp>, response: &Resp) -> bool {
        let len = (method.response.len)(response);
        if let Some(outcome) = &self.outcome {
            let mut payload = BytesMut::with_capacity(len);
            (method.response.encode)(response, &mut payload);
            return outcome.set(Ok(payload.freeze())).is_ok();
        }
        self.send(len, |buf| (method.response.encode)(response, buf))
    }

    /// Sends a reply that interceptors have seen.
    pub(crate) fn reply_encoded(&self, payload: &Bytes) {
        if !self.one_way {
            self.send(payload.len(), |buf| buf.extend_from_slice(payload));
        }
    }

    fn send(&self, len: usize, encode: impl FnOnce(&mut BytesMut)) -> bool {
        let limit = self.session.max_message_size();
        if len + wire::overhead(self.method) > limit {
            let reason = format!("a reply of {len} bytes is longer than the limit of {limit}");
            self.refuse(&Status::resource_exhausted(reason));
            return true;
        }
        self.session.reply(self.id, self.method, len, encode)
    }

    pub(crate) fn end(&self) {
        if self.outcome.is_none() {
            self.session.reply_end(self.id, self.method);
        }
    }

    /// Answers with an error, unless the caller expects no answer.
    pub(crate) fn refuse(&self, status: &Status) {
        match &self.outcome {
            // The first answer counts.
            Some(outcome) => drop(outcome.set(Err(status.clone()))),
            None if self.one_way => {}
            None => self.session.reply_status(self.id, self.method, &RpcStatus::from_status(status)),
        }
    }

    /// Answers with an error also to a one-way message, as Go Gorums does to one that it cannot decode.
    fn refuse_always(&self, status: &Status) {
        self.refuse(status);
        if self.one_way {
            self.session.reply_status(self.id, self.method, &RpcStatus::from_status(status));
        }
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
    fn reply(&self, replier: &Replier, response: &Resp) -> bool;
}

impl<Req, Resp> Encodes<Resp> for Method<Req, Resp> {
    fn reply(&self, replier: &Replier, response: &Resp) -> bool {
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
        let Replier { session, id, .. } = &self.replier;
        if !session.room_for_reply(MAX_REPLY_BYTES).await || session.is_cancelled(*id) {
            return Err(gone());
        }
        if self.method.reply(&self.replier, &response) { Ok(()) } else { Err(gone()) }
    }
}

impl<Resp> fmt::Debug for Updates<Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").field("method", &self.replier.method).finish_non_exhaustive()
    }
}
