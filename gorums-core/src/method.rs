//! The static facts of a method: its name, its call type, and how its messages are encoded.

use std::fmt;

use prost::Message;
#[cfg(feature = "postcard")]
use serde::{Serialize, de::DeserializeOwned};

use crate::codec::Codec;

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
        Self::with_codecs(name, call_type, Codec::PROST, Codec::PROST)
    }
}

#[cfg(feature = "postcard")]
impl<Req, Resp> Method<Req, Resp>
where
    Req: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    Resp: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    /// A method whose messages are plain serde types, encoded with
    /// [postcard](https://postcard.jamesmunns.com/wire-format). `name` is the full name, as `storage.Storage.ReadQC`.
    ///
    /// A request that cannot be encoded fails the call with [`NodeErrorKind::Encode`](crate::NodeErrorKind::Encode), a
    /// reply with the status `INTERNAL`. Whatever has bytes left over or too few is not decoded.
    pub const fn postcard(name: &'static str, call_type: CallType) -> Self {
        Self::with_codecs(name, call_type, Codec::POSTCARD, Codec::POSTCARD)
    }
}

impl<Req, Resp> Method<Req, Resp> {
    /// A method whose messages are encoded so.
    #[doc(hidden)]
    pub const fn with_codecs(
        name: &'static str,
        call_type: CallType,
        request: Codec<Req>,
        response: Codec<Resp>,
    ) -> Self {
        Self { name, call_type, idempotent: false, request, response }
    }

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
