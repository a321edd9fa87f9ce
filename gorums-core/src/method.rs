//! The static facts of a method: its name, its call type, and how its messages are encoded.

use std::fmt;

use bytes::BytesMut;
use prost::Message;

use crate::payload::{Payload, Typed};

/// How a method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallType {
    /// One node, one reply.
    Rpc,
    /// One node, no reply.
    Unicast,
    /// All nodes of a configuration, no replies.
    Multicast,
    /// All nodes of a configuration, one reply each, which are aggregated.
    QuorumCall,
    /// All nodes of a configuration, each of which may reply many times.
    StreamingQuorumCall,
}

impl CallType {
    /// Whether the caller gets no reply.
    pub const fn is_one_way(self) -> bool {
        matches!(self, Self::Unicast | Self::Multicast)
    }
}

/// A message that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MessageError(String);

/// How messages of one type are encoded, and how they are passed on within a process.
pub(crate) struct Codec<T: 'static> {
    pub(crate) len: fn(&T) -> usize,
    pub(crate) encode: fn(&T, &mut BytesMut),
    pub(crate) open: fn(Payload) -> Result<T, MessageError>,
    pub(crate) copy: fn(&T) -> T,
    pub(crate) keep: fn(T, &'static Self) -> Payload,
}

impl<T: Message + Default + Clone + 'static> Codec<T> {
    const PROST: Self = Self {
        len: T::encoded_len,
        encode: |message, buf| {
            // A `BytesMut` grows, so that encoding into it does not fail.
            let _ = message.encode(buf);
        },
        open: |payload| {
            payload.open(|payload| T::decode(payload).map_err(|error| MessageError(error.to_string())))
        },
        copy: T::clone,
        keep: |message, codec| Payload::Value(Box::new(Typed { message, codec })),
    };
}

/// The static facts of a method with requests `Req` and replies `Resp`; for a one-way method, `()`.
///
/// Made by generated code, as a constant.
pub struct Method<Req: 'static, Resp: 'static> {
    name: &'static str,
    call_type: CallType,
    idempotent: bool,
    pub(crate) request: Codec<Req>,
    pub(crate) response: Codec<Resp>,
}

impl<Req, Resp> Method<Req, Resp>
where
    Req: Message + Default + Clone + 'static,
    Resp: Message + Default + Clone + 'static,
{
    /// A method whose messages are protobuf messages. `name` is the full name, as `storage.Storage.ReadQC`.
    pub const fn prost(name: &'static str, call_type: CallType) -> Self {
        Self { name, call_type, idempotent: false, request: Codec::PROST, response: Codec::PROST }
    }
}

impl<Req, Resp> Method<Req, Resp> {
    /// Handling a request twice is the same as once, so that it may be sent again after a lost connection.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The full name, as on the wire: `storage.Storage.ReadQC`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How the method is called.
    pub const fn call_type(&self) -> CallType {
        self.call_type
    }

    /// Whether a request may be sent again although it may have been handled already.
    pub const fn is_idempotent(&self) -> bool {
        self.idempotent
    }
}

impl<Req, Resp> fmt::Debug for Method<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("name", &self.name)
            .field("call_type", &self.call_type)
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}
