//! Routes what arrives on a stream: replies to the calls that this end made, requests to its handlers.

pub(crate) mod entry;
pub(crate) mod pending;

use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;
use tonic::Status;

use crate::channel::Channel;
use crate::error::{Fault, NodeErrorKind};
use crate::id::{Initiator, MessageId};
use crate::payload::Payload;
use crate::router::entry::Incoming;
use crate::router::pending::Late;
use crate::server::dispatch::{Dispatcher, MAX_REPLY_BYTES};
use crate::server::waiting::{Content, Request};
use crate::transport::announces;
use crate::wire::{self, DecodeError, FrameError, Message};

/// Routes the messages of one stream by who started the call: the high bit of the id tells.
///
/// A reply goes into the mailbox of its call and never waits for the caller. A request joins those that wait
/// for their turn.
pub(crate) struct MessageRouter {
    channel: Arc<Channel>,
    /// Which end of the stream this is.
    own: Initiator,
    /// Absent on a stream whose peer may not call back.
    dispatcher: Option<Dispatcher>,
}

impl MessageRouter {
    pub(crate) fn new(channel: Arc<Channel>, own: Initiator, dispatcher: Option<Dispatcher>) -> Self {
        Self { channel, own, dispatcher }
    }

    /// Routes one message. An error means that the peer does not speak the protocol.
    pub(crate) fn route(
        &mut self,
        message: Bytes,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<(), DecodeError> {
        let size = wire::PREFIX + message.len();
        let message = Message::parse(message)?;
        let id = MessageId::from_wire(message.id());
        let limit = self.channel.pool().options().transport.max_metadata_size;
        if message.metadata_size() > limit {
            return self.refuse_metadata(id, &message, limit);
        }
        if id.initiator() == self.own {
            self.reply(id, message, now);
            self.waste(size);
        } else if message.method_bytes() == wire::CANCEL.as_bytes() {
            if let Some(dispatcher) = &mut self.dispatcher {
                dispatcher.cancel(id);
            }
            self.waste(size);
        } else if let Some(dispatcher) = &mut self.dispatcher {
            dispatcher.push(Request { id, content: Content::Received(message), size, received: now }, cx);
        } else if self.channel.reply_bytes() < MAX_REPLY_BYTES {
            let status = wire::no_handler(message.method());
            self.channel.reply(|buf| wire::encode_status(buf, id.to_wire(), message.method(), &status));
        }
        Ok(())
    }

    /// A message is skipped, as it is longer than this end accepts: it fails the call that it belongs to, and no other.
    pub(crate) fn too_long(
        &mut self,
        head: &[u8],
        error: FrameError,
        now: Instant,
    ) -> Result<(), FrameError> {
        let id = MessageId::from_wire(Message::id_of_head(head).ok_or(error)?);
        let peer = self.channel.address();
        tracing::debug!(%peer, %error, "skipped a message");
        if id.initiator() == self.own {
            let failure = Incoming::Failure(Fault::sent(NodeErrorKind::Decode, Some(Arc::new(error))));
            if self.deliver(id, failure, now) {
                // A node that streams its replies need not go on.
                self.channel.give_up(id, true);
            }
        } else if self.channel.reply_bytes() < MAX_REPLY_BYTES {
            let status = wire::RpcStatus::from_status(&Status::out_of_range(error.to_string()));
            self.channel.reply(|buf| wire::encode_status(buf, id.to_wire(), "", &status));
        }
        Ok(())
    }

    /// Refuses a message with more metadata than this end accepts.
    fn refuse_metadata(&self, id: MessageId, message: &Message, limit: usize) -> Result<(), DecodeError> {
        if id.initiator() == self.own {
            return Err(DecodeError::Metadata { limit });
        }
        if self.channel.reply_bytes() < MAX_REPLY_BYTES {
            let reason = format!("the metadata of the request is larger than the limit of {limit} bytes");
            let status = wire::RpcStatus::from_status(&Status::out_of_range(reason));
            self.channel.reply(|buf| wire::encode_status(buf, id.to_wire(), message.method(), &status));
        }
        Ok(())
    }

    /// So many bytes have come that are none of a request, maybe together with some that wait.
    pub(crate) fn waste(&mut self, bytes: usize) {
        if let Some(dispatcher) = &mut self.dispatcher {
            dispatcher.waste(bytes);
        }
    }

    fn reply(&self, id: MessageId, message: Message, now: Instant) {
        let incoming = if message.has_status() {
            message.into_status().map_or(Incoming::End, |status| wire::incoming_status(&status))
        } else {
            Incoming::Reply(Payload::Encoded(message.into_payload()))
        };
        self.deliver(id, incoming, now);
    }

    /// False if nobody waits for it.
    fn deliver(&self, id: MessageId, incoming: Incoming, now: Instant) -> bool {
        let pending = self.channel.pool().pending();
        let delivered = pending.deliver(id, self.channel.ordinal(), incoming, now);
        if let Err(Late { asked }) = &delivered {
            let counters = self.channel.counters();
            counters.late_reply();
            if let Some(asked) = asked {
                counters.replied_after(now - *asked);
            }
        }
        delivered.is_ok()
    }

    /// The peer has told what it understands.
    pub(crate) fn announced(&self, headers: &HeaderMap) {
        if announces(headers, wire::FEATURE_CANCEL) {
            self.channel.set_hears_cancel();
        }
        if let Some(dispatcher) = &self.dispatcher
            && announces(headers, wire::FEATURE_END)
        {
            dispatcher.set_hears_end();
        }
    }

    /// Whether the peer may call.
    pub(crate) fn serves(&self) -> bool {
        self.dispatcher.is_some()
    }

    /// Messages are about to be [routed](Self::route). To be followed by [`start_requests`](Self::start_requests).
    pub(crate) fn begin(&self) {
        if let Some(dispatcher) = &self.dispatcher {
            dispatcher.begin();
        }
    }

    /// Starts the requests whose turn it is.
    pub(crate) fn start_requests(&mut self, cx: &mut Context<'_>) {
        if let Some(dispatcher) = &mut self.dispatcher {
            dispatcher.start(cx);
        }
    }

    /// Whether it is the turn of a request.
    pub(crate) fn may_start(&self) -> bool {
        self.dispatcher.as_ref().is_some_and(Dispatcher::may_start)
    }

    /// The size of the requests that wait for their turn.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.dispatcher.as_ref().map_or(0, Dispatcher::waiting_bytes)
    }

    /// No request waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.dispatcher.as_ref().is_none_or(Dispatcher::is_idle)
    }

    /// Whether the peer dialled.
    pub(crate) fn serves_accepted_stream(&self) -> bool {
        self.own == Initiator::Server
    }

    /// The stream has ended: what was asked on it and still matters goes on without it.
    pub(crate) fn detach(self) -> Option<Dispatcher> {
        self.dispatcher
    }
}
