//! Plain serde types, encoded with [postcard](https://postcard.jamesmunns.com/wire-format).

mod limited;

use std::any::type_name;
use std::fmt::Display;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Codec, Encoding, MessageError};
use crate::payload::{Payload, Typed};

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Codec<T> {
    pub(crate) const POSTCARD: Self = Self {
        encoding: Encoding::Whole {
            len: |message| postcard::experimental::serialized_size(message).map_err(error::<T>),
            encode: |message| postcard::to_allocvec(message).map(Bytes::from).map_err(error::<T>),
        },
        open: |payload| payload.open(|payload| decode(&payload)),
        copy: T::clone,
        keep: |message, codec| Payload::Value(Box::new(Typed { message, codec })),
    };
}

/// The codec of a type: on its own, so that the compiler says at the type what is missing of it.
pub const fn postcard<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static>() -> Codec<T> {
    Codec::POSTCARD
}

/// A message that is all of `payload`: bytes that are left over are those of another type, or another version of it.
fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, MessageError> {
    let mut deserializer = postcard::Deserializer::from_bytes(payload);
    let message = limited::decode(&mut deserializer, payload.len()).map_err(error::<T>)?;
    match deserializer.finalize().map_err(error::<T>)? {
        [] => Ok(message),
        rest => Err(error::<T>(format!("{} of {} bytes are left over", rest.len(), payload.len()))),
    }
}

fn error<T>(reason: impl Display) -> MessageError {
    MessageError(format!("`{}` as postcard: {reason}", type_name::<T>()))
}
