//! Interceptors: code around the handlers of a server.
//!
//! After gRPC's interceptors and those of connect: a chain, each link of which gets the call and what comes after it.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::codec::Codec;
use crate::method::CallType;
use crate::payload::Payload;
use crate::server::context::{ServerContext, Turn};
use crate::server::handler::{Handler, Running, Start, put};
use crate::server::nested;
use crate::server::replier::{Replier, panic_text};

/// Code around the handlers of a server: it may look at a request and change it, refuse it or let it wait, and look at
/// what comes of it and change that.
///
/// Added with [`ServerBuilder::interceptor`](crate::ServerBuilder::interceptor); the one that was added first is the
/// outermost:
///
/// ```text
/// request ─▶ first ─▶ second ─▶ handler
///                                  │
/// reply  ◀── first ◀─ second ◀─────┘
/// ```
///
/// Functions and closures that take a [`ServerCall`] and a [`Next`] and return a future are interceptors:
///
/// ```
/// use gorums_core::{Next, Reply, Server, ServerCall, Status};
///
/// async fn log(call: ServerCall, next: Next) -> Result<Reply, Status> {
///     let method = call.method();
///     let result = next.run(call).await;
///     tracing::info!(method, ok = result.is_ok(), "handled");
///     result
/// }
///
/// let server = Server::builder().interceptor(log).interceptor(|mut call: ServerCall, next: Next| async move {
///     if call.metadata().get("token").is_none() {
///         return Err(Status::unauthenticated("a token is needed"));
///     }
///     call.metadata_mut().insert("checked", "yes".parse().map_err(|_| Status::internal("checked"))?);
///     next.run(call).await
/// });
/// ```
///
/// # Turns
///
/// The chain is a part of the handler as far as order is concerned: the next request of the same sender starts when the
/// outermost interceptor has returned, or the request was [released](ServerContext::release), by an interceptor or by
/// the handler. One that waits thus holds up this sender, and nobody else.
///
/// # What is intercepted
///
/// Every request that a handler would get, of all call types, from other processes and from this one. Not those that
/// no handler gets, as of methods that no service has. For a one-way call and for a streaming one the reply is empty:
/// it only tells how the handler ended. Updates of a streaming call are not intercepted.
///
/// # Panics
///
/// A panic is answered with the status `INTERNAL`, as one of a handler is; interceptors see that of a handler as such.
pub trait Interceptor: Send + Sync + 'static {
    /// Handles a call, most often by [`next.run(call)`](Next::run). If it returns without, neither the interceptors
    /// after it nor the handler run.
    ///
    /// # Errors
    ///
    /// Those of `next`, or a refusal. The caller gets them, unless the call is one-way.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped only when the server ends before it does.
    fn intercept(&self, call: ServerCall, next: Next) -> impl Future<Output = Result<Reply, Status>> + Send;
}

impl<F, Fut> Interceptor for F
where
    F: Fn(ServerCall, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply, Status>> + Send,
{
    fn intercept(&self, call: ServerCall, next: Next) -> impl Future<Output = Result<Reply, Status>> + Send {
        self(call, next)
    }
}

/// An interceptor, whatever its type.
pub(crate) trait AnyInterceptor: Send + Sync {
    fn intercept_boxed(&self, call: ServerCall, next: Next) -> BoxFuture<'_, Result<Reply, Status>>;
}

impl<I: Interceptor> AnyInterceptor for I {
    fn intercept_boxed(&self, call: ServerCall, next: Next) -> BoxFuture<'_, Result<Reply, Status>> {
        Box::pin(self.intercept(call, next))
    }
}

pub(crate) type Interceptors = Arc<[Box<dyn AnyInterceptor>]>;

/// What comes after an interceptor: the next one, or the handler.
pub struct Next {
    chain: Arc<Chain>,
    at: usize,
}

impl Next {
    /// Goes on with the call, and gives what came of it.
    ///
    /// # Errors
    ///
    /// What the interceptors after this one or the handler have refused the call with; `INVALID_ARGUMENT` for a request
    /// that cannot be decoded, and `INTERNAL` if the handler panicked.
    pub async fn run(self, call: ServerCall) -> Result<Reply, Status> {
        match self.chain.interceptors.get(self.at) {
            Some(interceptor) => {
                let next = Self { chain: self.chain.clone(), at: self.at + 1 };
                interceptor.intercept_boxed(call, next).await
            }
            None => self.chain.handle(call).await,
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.chain.interceptors.len() - self.at;
        f.debug_struct("Next").field("interceptors", &left).finish()
    }
}

/// A request on its way to its handler.
pub struct ServerCall {
    context: ServerContext,
    payload: Bytes,
    facts: Facts,
    replier: Replier,
}

impl ServerCall {
    /// The full name of the method, as `storage.Storage.ReadQC`.
    pub fn method(&self) -> &'static str {
        self.facts.method
    }

    /// How the method is called.
    pub fn call_type(&self) -> CallType {
        self.facts.call_type
    }

    /// What the handler will know of the request: who sent it, its deadline, who else is connected.
    pub fn context(&self) -> &ServerContext {
        &self.context
    }

    /// The turn of the request, to be released after its handler has returned.
    pub fn turn(&self) -> Turn {
        self.context.turn()
    }

    /// The metadata that came with the request, and what interceptors have added.
    pub fn metadata(&self) -> &MetadataMap {
        self.context.metadata()
    }

    /// The metadata, to change what the handler will see.
    pub fn metadata_mut(&mut self) -> &mut MetadataMap {
        self.context.metadata_mut()
    }

    /// Whether requests of this method are of type `T`.
    pub fn is<T: 'static>(&self) -> bool {
        self.facts.request.is::<T>()
    }

    /// The request, encoded.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The request. It is decoded each time.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it cannot be decoded, and `INTERNAL` if requests of this method are not of type `T`.
    pub fn message<T: 'static>(&self) -> Result<T, Status> {
        let codec = self.facts.request.codec::<T>("request", self.facts.method)?;
        (codec.open)(Payload::Encoded(self.payload.clone())).map_err(|error| {
            Status::invalid_argument(format!(
                "could not decode the request of {}: {error}",
                self.facts.method
            ))
        })
    }

    /// Replaces the request.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if requests of this method are not of type `T`, or this one cannot be encoded.
    pub fn set_message<T: 'static>(&mut self, message: &T) -> Result<(), Status> {
        self.payload = self.facts.request.encoded(message, "request", self.facts.method)?;
        Ok(())
    }

    /// A reply to this call, for an interceptor that answers instead of the handler. That of a one-way or of a streaming
    /// call is `()`.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if replies of this method are not of type `T`, or this one cannot be encoded.
    pub fn reply<T: 'static>(&self, message: &T) -> Result<Reply, Status> {
        let mut reply = Reply { payload: Bytes::new(), facts: self.facts };
        reply.set_message(message)?;
        Ok(reply)
    }
}

impl fmt::Debug for ServerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCall")
            .field("context", &self.context)
            .field("payload_len", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// A reply on its way to the caller: that of a handler which ended well. That of a one-way or of a streaming call is `()`.
pub struct Reply {
    payload: Bytes,
    facts: Facts,
}

impl Reply {
    /// Whether replies of this method are of type `T`.
    pub fn is<T: 'static>(&self) -> bool {
        self.facts.reply.is::<T>()
    }

    /// The reply, encoded.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The reply. It is decoded each time.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if replies of this method are not of type `T`.
    pub fn message<T: 'static>(&self) -> Result<T, Status> {
        let codec = self.facts.reply.codec::<T>("reply", self.facts.method)?;
        (codec.open)(Payload::Encoded(self.payload.clone())).map_err(|error| {
            Status::internal(format!("could not decode the reply of {}: {error}", self.facts.method))
        })
    }

    /// Replaces the reply.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if replies of this method are not of type `T`, or this one cannot be encoded.
    pub fn set_message<T: 'static>(&mut self, message: &T) -> Result<(), Status> {
        self.payload = self.facts.reply.encoded(message, "reply", self.facts.method)?;
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("method", &self.facts.method)
            .field("payload_len", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// What interceptors know of a method.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) method: &'static str,
    pub(crate) call_type: CallType,
    pub(crate) request: MessageType,
    pub(crate) reply: MessageType,
}

/// The type of a message: a payload of another type might be decoded all the same, into something else.
#[derive(Clone, Copy)]
pub(crate) struct MessageType {
    id: TypeId,
    name: &'static str,
    /// The codec of this type.
    codec: &'static (dyn Any + Send + Sync),
}

impl MessageType {
    pub(crate) fn of<T: 'static>(codec: &'static Codec<T>) -> Self {
        Self { id: TypeId::of::<T>(), name: type_name::<T>(), codec }
    }

    fn is<T: 'static>(self) -> bool {
        self.id == TypeId::of::<T>()
    }

    /// The codec, if messages are of this type.
    fn codec<T: 'static>(self, what: &str, method: &str) -> Result<&'static Codec<T>, Status> {
        self.codec.downcast_ref().ok_or_else(|| {
            let (name, other) = (self.name, type_name::<T>());
            Status::internal(format!("the {what} of {method} is a {name}, not a {other}"))
        })
    }

    fn encoded<T: 'static>(self, message: &T, what: &str, method: &str) -> Result<Bytes, Status> {
        self.codec(what, method)?
            .encoded(message)
            .map_err(|error| Status::internal(format!("could not encode the {what} of {method}: {error}")))
    }
}

/// The interceptors of a server and the handler of one method.
struct Chain {
    interceptors: Interceptors,
    facts: Facts,
    start: Start,
}

/// The same handler, with interceptors around it.
pub(crate) fn intercepted(handler: Handler, interceptors: Interceptors) -> Handler {
    handler.wrap(|facts, start| {
        let chain = Arc::new(Chain { interceptors, facts, start });
        Box::new(move |context, payload, replier, running, cx| {
            let request = context.request().clone();
            let payload = match payload.into_bytes() {
                Ok(payload) => payload,
                Err(error) => {
                    replier.refuse_undecodable(&error);
                    return Poll::Ready(());
                }
            };
            let handling = chain.clone().run(context, payload, replier);
            put(running, nested::scope(request, handling)).poll(cx)
        })
    })
}

impl Chain {
    async fn run(self: Arc<Self>, mut context: ServerContext, payload: Bytes, replier: Replier) {
        let _turn = context.hold_turn();
        let facts = self.facts;
        let call = ServerCall { context, payload, facts, replier: replier.clone() };
        let running = AssertUnwindSafe(Next { chain: self, at: 0 }.run(call));
        let result = running.catch_unwind().await.unwrap_or_else(|panic| {
            tracing::error!(method = facts.method, reason = panic_text(&*panic), "interceptor panicked");
            Err(Status::internal(format!("an interceptor of {} panicked", facts.method)))
        });
        match result {
            Ok(_) if facts.call_type == CallType::StreamingQuorumCall => replier.end(),
            Ok(reply) => replier.reply_encoded(reply.payload),
            Err(status) => replier.refuse(&status),
        }
    }

    async fn handle(&self, call: ServerCall) -> Result<Reply, Status> {
        let outcome = Arc::<Outcome>::default();
        let (payload, replier) = (Payload::Encoded(call.payload), call.replier.reporting_to(outcome.clone()));
        let (mut start, mut running) = (Some((call.context, payload, replier)), None::<Running>);
        poll_fn(|cx| match (start.take(), &mut running) {
            (Some((context, payload, replier)), running) => {
                (self.start)(context, payload, replier, running, cx)
            }
            (None, Some(running)) => running.poll(cx),
            (None, None) => Poll::Ready(()),
        })
        .await;
        // A one-way handler that ends well says nothing.
        let payload = outcome.get().cloned().unwrap_or_else(|| Ok(Bytes::new()))?;
        Ok(Reply { payload, facts: call.facts })
    }
}

/// What a handler replied, for the interceptors around it.
pub(crate) type Outcome = OnceLock<Result<Bytes, Status>>;
