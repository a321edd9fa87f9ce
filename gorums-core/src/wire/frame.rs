//! A message that was encoded and waits to be written.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

use bytes::{Bytes, BytesMut};

/// A message up to this length is kept in place: a copy for each node costs less than memory that all of them share.
const SHORT: usize = 118;

/// A message with its prefix.
#[derive(Clone)]
pub(crate) enum Frame {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Bytes),
}

thread_local! {
    /// Where messages are encoded that turn out to be short.
    static SCRATCH: Cell<BytesMut> = Cell::new(BytesMut::new());
}

impl Frame {
    /// The message that `encode` writes, of about this length.
    pub(crate) fn encode(len: usize, encode: impl FnOnce(&mut BytesMut)) -> Self {
        if len > SHORT {
            let mut buf = BytesMut::with_capacity(len);
            encode(&mut buf);
            return Self::Long(buf.freeze());
        }
        // Taken out, as a message that is encoded may encode others.
        let mut scratch = SCRATCH.take();
        scratch.clear();
        encode(&mut scratch);
        let frame = Self::new(&scratch);
        SCRATCH.set(scratch);
        frame
    }

    fn new(message: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..message.len()) {
            Some(place) => {
                place.copy_from_slice(message);
                Self::Short { len: message.len() as u8, bytes }
            }
            None => Self::Long(Bytes::copy_from_slice(message)),
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Short { .. } => Bytes::copy_from_slice(&self),
            Self::Long(bytes) => bytes,
        }
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_was_encoded_whatever_its_length() {
        for len in [0, 1, SHORT, SHORT + 1, 1 << 20] {
            for announced in [len, 0] {
                let message = vec![7; len];
                let frame = Frame::encode(announced, |buf| buf.extend_from_slice(&message));
                assert_eq!(&*frame, &message[..]);
                assert_eq!(frame.into_bytes(), message);
            }
        }
    }

    #[test]
    fn a_message_may_encode_others() {
        let frame = Frame::encode(3, |buf| {
            buf.extend_from_slice(b"a");
            buf.extend_from_slice(&Frame::encode(1, |inner| inner.extend_from_slice(b"b")));
            buf.extend_from_slice(b"c");
        });
        assert_eq!(&*frame, b"abc");
    }
}
