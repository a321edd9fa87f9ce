//! How messages of one type are encoded, and how they are passed on within a process.

#[cfg(feature = "postcard")]
mod postcard;

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::payload::{Payload, Typed};

/// A message that could not be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MessageError(String);

impl MessageError {
    /// The same error, of a message of this method.
    pub(crate) fn of(self, method: &str) -> Self {
        Self(format!("{method}: {}", self.0))
    }
}

#[cfg(feature = "postcard")]
pub use self::postcard::postcard;

/// How messages of one type are encoded, and how they are passed on within a process.
#[allow(missing_debug_implementations, reason = "only generated code can name it")]
pub struct Codec<T: 'static> {
    pub(crate) encoding: Encoding<T>,
    pub(crate) open: fn(Payload) -> Result<T, MessageError>,
    pub(crate) copy: fn(&T) -> T,
    pub(crate) keep: fn(T, &'static Self) -> Payload,
}

/// How a message becomes bytes.
#[derive(Clone, Copy)]
pub(crate) enum Encoding<T: 'static> {
    /// The length is known beforehand, and encoding so many bytes does not fail: straight into the buffer of a stream.
    Measured { len: fn(&T) -> usize, encode: fn(&T, &mut BytesMut) },
    /// Encoding runs code of the user, which may fail, or be of another mind the second time: so it is done once, before
    /// anything else happens, and what is sent are bytes. `len` is for a message that stays in the process.
    #[cfg_attr(not(feature = "postcard"), allow(dead_code, reason = "prost is measured"))]
    Whole { len: fn(&T) -> Result<usize, MessageError>, encode: fn(&T) -> Result<Bytes, MessageError> },
}

/// A message that is to be written: how long it will be is known, and writing it does not fail.
pub(crate) enum Writable<'a, T> {
    Message { message: &'a T, len: usize, encode: fn(&T, &mut BytesMut) },
    Encoded(Bytes),
}

impl<T> Codec<T> {
    /// The length of the message, if it can be encoded.
    pub(crate) fn len(&self, message: &T) -> Result<usize, MessageError> {
        match self.encoding {
            Encoding::Measured { len, .. } => Ok(len(message)),
            Encoding::Whole { len, .. } => len(message),
        }
    }

    /// All that may fail about encoding.
    pub(crate) fn prepare<'a>(&self, message: &'a T) -> Result<Writable<'a, T>, MessageError> {
        match self.encoding {
            Encoding::Measured { len, encode } => {
                Ok(Writable::Message { message, len: len(message), encode })
            }
            Encoding::Whole { encode, .. } => encode(message).map(Writable::Encoded),
        }
    }

    pub(crate) fn encoded(&self, message: &T) -> Result<Bytes, MessageError> {
        match self.encoding {
            Encoding::Measured { len, encode } => {
                let mut payload = BytesMut::with_capacity(len(message));
                encode(message, &mut payload);
                Ok(payload.freeze())
            }
            Encoding::Whole { encode, .. } => encode(message),
        }
    }
}

impl<T> Writable<'_, T> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Message { len, .. } => *len,
            Self::Encoded(message) => message.len(),
        }
    }

    /// Appends the message.
    pub(crate) fn write(&self, buf: &mut BytesMut) {
        match self {
            Self::Message { message, encode, .. } => encode(message, buf),
            Self::Encoded(message) => buf.extend_from_slice(message),
        }
    }
}

impl<T: Message + Default + Clone + 'static> Codec<T> {
    pub(crate) const PROST: Self = Self {
        encoding: Encoding::Measured {
            len: T::encoded_len,
            encode: |message, buf| {
                // A `BytesMut` grows, so that encoding into it does not fail.
                let _ = message.encode(buf);
            },
        },
        open: |payload| {
            payload.open(|payload| T::decode(payload).map_err(|error| MessageError(error.to_string())))
        },
        copy: T::clone,
        keep: |message, codec| Payload::Value(Box::new(Typed { message, codec })),
    };
}

/// `()`, which is nothing in every encoding.
pub(crate) static NOTHING: Codec<()> = Codec::PROST;
