//! Memory in which messages gather until they are written together.

use bytes::{Buf, BytesMut};

/// After a batch up to this length its memory is used again; what is larger is given back, so that a node that is idle
/// does not keep it.
const KEPT: usize = 64 << 10;

/// Messages, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: BytesMut,
    /// How long the last batch was: the next one is likely to be as long.
    last: usize,
}

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// For a message to be appended.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        if self.bytes.is_empty() && self.bytes.capacity() < self.last {
            self.bytes.reserve(self.last);
        }
        &mut self.bytes
    }

    /// Lets `encode` append a message: all of it, or nothing if that panics.
    pub(crate) fn append(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        let mut whole = Whole { start: self.bytes.len(), buffer: self.tail(), written: false };
        encode(whole.buffer);
        whole.written = true;
    }

    /// Takes all messages.
    pub(crate) fn take(&mut self) -> BytesMut {
        self.last = self.bytes.len();
        if self.last > KEPT { std::mem::take(&mut self.bytes) } else { self.bytes.split() }
    }

    /// Takes the first bytes.
    pub(crate) fn take_front(&mut self, len: usize) -> BytesMut {
        self.bytes.split_to(len)
    }

    /// Puts bytes that were taken behind all others.
    pub(crate) fn put_back(&mut self, bytes: BytesMut) {
        self.bytes.unsplit(bytes);
    }

    /// Forgets some bytes.
    pub(crate) fn remove(&mut self, start: usize, len: usize) {
        // The shorter part moves: most that are removed are the oldest.
        if start <= self.bytes.len() / 2 {
            self.bytes.copy_within(..start, len);
            self.bytes.advance(len);
        } else {
            self.bytes.copy_within(start + len.., start);
            self.bytes.truncate(self.bytes.len() - len);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A message that is being written into a buffer: all of it, or nothing if that panics.
struct Whole<'a> {
    buffer: &'a mut BytesMut,
    start: usize,
    written: bool,
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if !self.written {
            self.buffer.truncate(self.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_stays_in_order() {
        for (start, len) in [(0, 3), (2, 1), (5, 4), (8, 2), (0, 10), (9, 1)] {
            let mut buffer = Buffer::default();
            buffer.tail().extend_from_slice(b"0123456789");
            buffer.remove(start, len);
            let left: Vec<_> = (b'0'..=b'9')
                .filter(|&byte| !(start..start + len).contains(&usize::from(byte - b'0')))
                .collect();
            assert_eq!(buffer.take(), left);
        }
    }

    #[test]
    fn memory_is_used_again_unless_there_is_much() {
        let mut buffer = Buffer::default();
        for _ in 0..3 {
            buffer.tail().resize(KEPT, 0);
            let at = buffer.take().as_ptr();
            buffer.tail().resize(KEPT, 0);
            assert_eq!(buffer.take().as_ptr(), at);
        }
        buffer.tail().resize(KEPT + 1, 0);
        drop(buffer.take());
        assert_eq!(buffer.bytes.capacity(), 0);
        buffer.tail();
        assert!(buffer.bytes.capacity() > KEPT);
    }
}
