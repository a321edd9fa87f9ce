//! A request or a reply on its way: encoded, or, between a caller and a handler in one process, as it is.

use std::any::Any;
use std::fmt;

use bytes::Bytes;

use crate::codec::{Codec, MessageError};

/// A request or a reply.
pub(crate) enum Payload {
    Encoded(Bytes),
    /// Within the own process.
    Value(Box<dyn Value>),
}

/// A message of any type, and how it is encoded.
pub(crate) trait Value: Any + Send + Sync {
    fn encode(&self) -> Result<Bytes, MessageError>;

    fn copy(&self) -> Box<dyn Value>;
}

/// A message, and how it is encoded.
pub(crate) struct Typed<T: 'static> {
    pub(crate) message: T,
    pub(crate) codec: &'static Codec<T>,
}

impl<T: Send + Sync + 'static> Value for Typed<T> {
    fn encode(&self) -> Result<Bytes, MessageError> {
        self.codec.encoded(&self.message)
    }

    fn copy(&self) -> Box<dyn Value> {
        Box::new(Self { message: (self.codec.copy)(&self.message), codec: self.codec })
    }
}

impl Payload {
    /// The message of this type. Two types may be encoded in the same way, as those of a service that was generated twice.
    pub(crate) fn open<T: 'static>(
        self,
        decode: impl FnOnce(Bytes) -> Result<T, MessageError>,
    ) -> Result<T, MessageError> {
        let value = match self {
            Self::Encoded(payload) => return decode(payload),
            Self::Value(value) => value,
        };
        if !(&*value as &dyn Any).is::<Typed<T>>() {
            return decode(value.encode()?);
        }
        let value: Box<dyn Any> = value;
        match value.downcast::<Typed<T>>() {
            Ok(typed) => Ok(typed.message),
            Err(_) => unreachable!("it was asked for its type"),
        }
    }

    pub(crate) fn into_bytes(self) -> Result<Bytes, MessageError> {
        match self {
            Self::Encoded(payload) => Ok(payload),
            Self::Value(value) => value.encode(),
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Encoded(Bytes::new())
    }
}

impl Clone for Payload {
    fn clone(&self) -> Self {
        match self {
            Self::Encoded(payload) => Self::Encoded(payload.clone()),
            Self::Value(value) => Self::Value(value.copy()),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoded(payload) => f.debug_tuple("Encoded").field(payload).finish(),
            Self::Value(_) => f.debug_tuple("Value").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::method::{CallType, Method};

    #[derive(Clone, PartialEq, prost::Message)]
    struct Number {
        #[prost(uint64, tag = "1")]
        value: u64,
    }

    static TEXTS: Method<String, ()> = Method::prost("test.Texts", CallType::Rpc);
    static NUMBERS: Method<Number, u64> = Method::prost("test.Numbers", CallType::Rpc);

    #[test]
    fn what_stays_in_the_process_is_not_encoded() {
        let text = "as it is".to_owned();
        let at = text.as_ptr();
        let payload = (TEXTS.request.keep)(text, &TEXTS.request);
        let copy = (TEXTS.request.open)(payload.clone()).unwrap();
        let text = (TEXTS.request.open)(payload).unwrap();
        assert_eq!(text.as_ptr(), at);
        assert_eq!(copy, text);
        assert_ne!(copy.as_ptr(), at);
    }

    #[test]
    fn another_type_that_is_encoded_alike_is_understood() {
        let payload = (NUMBERS.request.keep)(Number { value: 7 }, &NUMBERS.request);
        assert_eq!((NUMBERS.response.open)(payload.clone()), Ok(7));
        assert_eq!((NUMBERS.request.open)(payload), Ok(Number { value: 7 }));
    }
}
