//! Routes what arrives on a stream: replies to the calls that this end made, requests to its handlers.

pub(crate) mod entry;
pub(crate) mod pending;

use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use crate::channel::Channel;
use crate::error::{Fault, NodeErrorKind};
use crate::id::{Initiator, MessageId};
use crate::router::entry::Incoming;
use crate::server::dispatch::{Dispatcher, MAX_REPLY_BYTES};
use crate::server::waiting::{Content, Request};
use crate::transport::announces;
use crate::wire::{self, DecodeError, Envelope};

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
    pub(crate) fn route(&mut self, message: Bytes, now: Instant) -> Result<(), DecodeError> {
        let limit = self.channel.pool().options().transport.max_metadata_size;
        if wire::metadata_exceeds(&message, limit) {
            return self.refuse_metadata(&message, limit);
        }
        let size = wire::PREFIX + message.len();
        let raw = self.is_crowded().then(|| message.clone());
        let envelope = Envelope::from_message(message)?;
        let id = MessageId::from_wire(envelope.message_seq_no);
        if id.initiator() == self.own {
            self.reply(id, envelope, now);
            self.waste(size);
        } else if &*envelope.method == wire::CANCEL.as_bytes() {
            if let Some(dispatcher) = &mut self.dispatcher {
                dispatcher.cancel(id);
            }
            self.waste(size);
        } else if let Some(dispatcher) = &mut self.dispatcher {
            let content = raw.map_or_else(|| Content::Decoded(envelope), Content::Raw);
            dispatcher.push(Request { id, content, size, received: now });
        } else if self.channel.reply_bytes() < MAX_REPLY_BYTES {
            let status = wire::no_handler(envelope.method_name());
            self.channel.reply(|buf| wire::encode_status(buf, id.to_wire(), envelope.method_name(), &status));
        }
        Ok(())
    }

    /// Refuses a message with more metadata than this end accepts.
    fn refuse_metadata(&mut self, message: &[u8], limit: usize) -> Result<(), DecodeError> {
        let head = Envelope::from_message(wire::head(message))?;
        let id = MessageId::from_wire(head.message_seq_no);
        if id.initiator() == self.own {
            return Err(DecodeError::Metadata { limit });
        }
        if self.channel.reply_bytes() < MAX_REPLY_BYTES {
            let reason = format!("the metadata of the request is larger than the limit of {limit} bytes");
            let status = wire::RpcStatus::from_status(&tonic::Status::resource_exhausted(reason));
            self.channel.reply(|buf| wire::encode_status(buf, id.to_wire(), head.method_name(), &status));
        }
        Ok(())
    }

    /// So many bytes have come that are none of a request, maybe together with some that wait.
    fn waste(&mut self, bytes: usize) {
        if let Some(dispatcher) = &mut self.dispatcher {
            dispatcher.waste(bytes);
        }
    }

    fn reply(&self, id: MessageId, envelope: Envelope, now: Instant) {
        let incoming = match envelope.status {
            None => Incoming::Reply(envelope.payload),
            Some(status) if status.code == 0 => Incoming::End,
            Some(status) => Incoming::Failure(Fault::sent(NodeErrorKind::Status(status.to_status()), None)),
        };
        let pending = self.channel.pool().pending();
        if !pending.deliver(id, self.channel.ordinal(), incoming, now) {
            let counters = self.channel.counters();
            counters.late_reply();
            if let Some(started) = pending.started(id, self.channel.ordinal()) {
                counters.replied_after(now - started);
            }
        }
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

    /// Starts the requests whose turn it is. True if there was one.
    pub(crate) fn start_requests(&mut self, cx: &mut Context<'_>) -> bool {
        self.dispatcher.as_mut().is_some_and(|dispatcher| dispatcher.start(cx))
    }

    /// The size of the requests that wait for their turn.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.dispatcher.as_ref().map_or(0, Dispatcher::waiting_bytes)
    }

    fn is_crowded(&self) -> bool {
        self.dispatcher.as_ref().is_some_and(Dispatcher::is_crowded)
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
