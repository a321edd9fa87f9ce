//! Cuts gRPC messages out of the data of a stream.

use bytes::{Buf, Bytes, BytesMut};

use super::PREFIX;

/// What makes a stream unreadable from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte of a prefix is not 0.
    #[error("a message is compressed, which was not agreed on")]
    Compressed,
    /// A message is longer than this end accepts.
    #[error("a message of {len} bytes is longer than the limit of {limit}: raise `max_message_size`")]
    TooLong {
        /// The length that the prefix states.
        len: usize,
        /// The limit.
        limit: usize,
    },
}

/// How much is kept of a message that is too long.
const HEAD: usize = 64;
/// A message that is longer than so many times the limit is no message: the stream is out of step, or its peer is.
const SKIPPED: usize = 64;
/// Room that is made for a message of which little has come.
const AT_ONCE: usize = 16 << 10;
/// Room that is made for a message beyond that, as a multiple of what has come.
const AHEAD: usize = 8;

/// The messages in the data of a stream, in order.
///
/// A message that arrived in one piece is a slice of that piece. One that spans pieces is put together,
/// with each byte copied at most twice.
#[derive(Debug)]
pub struct Messages {
    piece: Bytes,
    /// The beginning of a message of which the rest is still to come.
    partial: BytesMut,
    limit: usize,
    /// Bytes of a message that is too long, which are still to be skipped.
    skip: usize,
    /// Bytes that were skipped, and not told.
    skipped: usize,
}

/// What was cut out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A message without its prefix.
    Message(Bytes),
    /// A message is longer than the limit. It is skipped.
    TooLong {
        /// How it begins: its first 64 bytes, or all if it is shorter.
        head: Bytes,
        /// The length that its prefix states.
        len: usize,
        /// The limit.
        limit: usize,
    },
}

impl Messages {
    /// No data yet; no message may be longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { piece: Bytes::new(), partial: BytesMut::new(), limit, skip: 0, skipped: 0 }
    }

    /// Adds data as received. To be called once `next_message` has returned `None`.
    pub fn add(&mut self, data: Bytes) {
        if self.piece.is_empty() {
            self.piece = data;
        } else {
            let mut both = BytesMut::with_capacity(self.piece.len() + data.len());
            both.extend_from_slice(&self.piece);
            both.extend_from_slice(&data);
            self.piece = both.freeze();
        }
    }

    /// The next message, or the head of one that is too long and is skipped, up to 64 times the limit; `None` until more data is added. Not to be used
    /// together with [`next_message`](Self::next_message).
    pub fn next_cut(&mut self) -> Result<Option<Cut>, FrameError> {
        if self.skip > 0 {
            let skipped = self.skip.min(self.piece.len());
            self.piece.advance(skipped);
            self.skip -= skipped;
            self.skipped += skipped;
        }
        match self.next_message() {
            Ok(message) => Ok(message.map(Cut::Message)),
            Err(FrameError::TooLong { len, limit }) if len / SKIPPED < limit => {
                Ok(self.head(len).map(|head| Cut::TooLong { head, len, limit }))
            }
            Err(error) => Err(error),
        }
    }

    /// How many bytes were skipped since the last time of asking.
    pub fn take_skipped(&mut self) -> usize {
        std::mem::take(&mut self.skipped)
    }

    /// Takes the head of a message that is too long, once it has come.
    fn head(&mut self, len: usize) -> Option<Bytes> {
        let head = PREFIX + len.min(HEAD);
        self.fill_partial(head);
        if self.partial.len() < head {
            return None;
        }
        let mut head = self.partial.split().freeze();
        head.advance(PREFIX);
        self.skip = len - head.len();
        self.skipped += PREFIX + head.len();
        Some(head)
    }

    /// The next message without its prefix, or `None` until more data is added.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.skip > 0 {
            return Ok(None);
        }
        if self.partial.is_empty() {
            if let Some(len) = self.message_len(&self.piece)?
                && self.piece.len() >= len
            {
                let mut message = self.piece.split_to(len);
                message.advance(PREFIX);
                return Ok(Some(message));
            }
            if self.piece.is_empty() {
                return Ok(None);
            }
        }
        self.put_together()
    }

    fn put_together(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.partial.len() < PREFIX {
            self.fill_partial(PREFIX);
        }
        let Some(len) = self.message_len(&self.partial)? else {
            return Ok(None);
        };
        self.fill_partial(len);
        if self.partial.len() < len {
            return Ok(None);
        }
        let mut message = self.partial.split().freeze();
        message.advance(PREFIX);
        Ok(Some(message))
    }

    /// Moves data from the piece to the partial message until that has `len` bytes, as far as there are. A length that
    /// was only announced is not believed: room is made for some times what has come.
    fn fill_partial(&mut self, len: usize) {
        let missing = len - self.partial.len();
        let part = self.piece.split_to(missing.min(self.piece.len()));
        if self.partial.capacity() - self.partial.len() < part.len() {
            let come = self.partial.len() + part.len();
            self.partial.reserve(missing.min(come.saturating_mul(AHEAD).max(AT_ONCE)));
        }
        self.partial.extend_from_slice(&part);
    }

    /// The length, with prefix, of the message that `data` begins with.
    fn message_len(&self, data: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some((&[compressed, a, b, c, d], _)) = data.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err(FrameError::Compressed);
        }
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > self.limit {
            return Err(FrameError::TooLong { len, limit: self.limit });
        }
        Ok(Some(PREFIX + len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;
    use proptest::prelude::*;

    fn stream(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut data = Vec::new();
        for message in messages {
            data.put_u8(0);
            data.put_u32(message.len() as u32);
            data.extend_from_slice(message);
        }
        data
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let data = Bytes::from(stream(&[vec![7; 100]]));
        let range = data.as_ptr_range();
        let mut messages = Messages::new(1_000);
        messages.add(data);
        let message = messages.next_message().unwrap().unwrap();
        assert!(range.contains(&message.as_ptr()));
    }

    #[test]
    fn no_room_is_made_for_what_is_only_announced() {
        let mut messages = Messages::new(4 << 20);
        for piece in [vec![0, 0, 0x40, 0, 0], vec![7; 100], vec![7; 1 << 20]] {
            messages.add(piece.into());
            assert_eq!(messages.next_message(), Ok(None));
            let (come, room) = (messages.partial.len(), messages.partial.capacity());
            assert!(room <= 2 * AT_ONCE + 2 * AHEAD * come, "room for {room} bytes after {come}");
        }
        messages.add(vec![7; 3 << 20].into());
        assert_eq!(messages.next_message().unwrap().unwrap().len(), 4 << 20);
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_stored() {
        let mut messages = Messages::new(10);
        messages.add(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]));
        assert_eq!(messages.next_message(), Err(FrameError::TooLong { len: 0xffff_ffff, limit: 10 }));
    }

    #[test]
    fn compression_is_refused() {
        let mut messages = Messages::new(10);
        messages.add(Bytes::from_static(&[1, 0, 0, 0, 0]));
        assert_eq!(messages.next_message(), Err(FrameError::Compressed));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_messages_come_out(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            cuts in prop::collection::vec(1..60_usize, 1..20),
        ) {
            let mut data = Bytes::from(stream(&sent));
            let mut messages = Messages::new(40);
            let mut received = Vec::new();
            for cut in cuts.iter().cycle() {
                if data.is_empty() {
                    break;
                }
                messages.add(data.split_to((*cut).min(data.len())));
                while let Some(message) = messages.next_message().unwrap() {
                    received.push(message.to_vec());
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn any_bytes_are_read_or_refused(pieces: Vec<Vec<u8>>) {
            let mut messages = Messages::new(1_000);
            for piece in pieces {
                messages.add(piece.into());
                while let Ok(Some(message)) = messages.next_message() {
                    let _ = super::super::Envelope::from_message(message);
                }
            }
        }
    }
}
