//! The way back to the caller of a request: its reply, its replies, or why there is none.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tonic::Status;

use crate::codec::MessageError;
use crate::id::MessageId;
use crate::method::Method;
use crate::payload::Payload;
use crate::server::active::Active;
use crate::server::dispatch::MAX_REPLY_BYTES;
use crate::server::interceptor::Outcome;
use crate::server::nested;
use crate::server::session::Session;
use crate::wire::{self, RpcStatus};

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
    pub(crate) fn to_caller(&self) -> Self {
        Self { outcome: None, ..self.clone() }
    }

    /// Handles the request while `run` runs.
    pub(crate) fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        nested::within(&self.request, run)
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

    pub(crate) fn reply<Req, Resp>(&self, method: &'static Method<Req, Resp>, response: Resp) -> bool {
        let codec = &method.response;
        if let Some(outcome) = &self.outcome {
            let encoded = codec.encoded(&response).map_err(|error| self.unencodable(&error));
            return outcome.set(encoded).is_ok();
        }
        if self.session().is_local() {
            return match codec.len(&response) {
                Ok(len) => {
                    self.fits(len) && self.session().reply_local(self.id(), (codec.keep)(response, codec))
                }
                Err(error) => self.refuse_reply(&error),
            };
        }
        match codec.prepare(&response) {
            Ok(reply) => self.send(reply.len(), |buf| reply.write(buf)),
            Err(error) => self.refuse_reply(&error),
        }
    }

    /// The caller gets an error in place of a reply that cannot be encoded. It is still there.
    #[cold]
    fn refuse_reply(&self, error: &MessageError) -> bool {
        self.refuse(&self.unencodable(error));
        true
    }

    #[cold]
    fn unencodable(&self, error: &MessageError) -> Status {
        let method = self.method();
        tracing::error!(method, %error, "a reply cannot be encoded");
        Status::internal(format!("could not encode the reply of {method}: {error}"))
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
            let reason = format!(
                "the handler has run, and its reply of {len} bytes is longer than the limit of {limit}: raise \
                 `max_message_size` on both ends"
            );
            // Not a code that says that nothing was done.
            self.refuse(&Status::internal(reason));
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

    /// Answers a request that could not be decoded.
    pub(crate) fn refuse_undecodable(&self, error: &MessageError) {
        let reason = format!("could not decode the request of {}: {error}", self.method());
        self.refuse_always(&Status::invalid_argument(reason));
    }

    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) {
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
    pub(crate) fn new<Req>(method: &'static Method<Req, Resp>, replier: &Replier) -> Self
    where
        Req: 'static,
    {
        Self { method, replier: replier.to_caller(), response: PhantomData }
    }

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
        let (session, facts) = (self.replier.session(), self.replier.request.facts());
        if !session.room_for_reply(MAX_REPLY_BYTES).await || session.is_cancelled(facts.id, facts.turn) {
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

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
