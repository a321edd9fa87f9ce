//! The size of a message's metadata, before it is decoded. Pure.
//!
//! An entry takes 2 bytes on the wire at the least, and 64 when it is decoded: without a limit on their number, a stream's
//! window of messages would take 32 times its size.

use bytes::{Buf, Bytes, BytesMut};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// What an entry counts for beyond its bytes, as a header in HTTP/2 (RFC 9113, 6.5.2).
const PER_ENTRY: usize = 32;
/// A byte of a message counts for so many at the most: two make an empty entry.
const WORST: usize = PER_ENTRY / 2 + 1;

const ENTRY: u32 = 4;
const PAYLOAD: u32 = 5;

/// Whether the metadata of a message is larger than a limit. Whether the message is well formed is not looked at.
pub(crate) fn metadata_exceeds(message: &[u8], limit: usize) -> bool {
    if message.len() <= limit / WORST {
        return false;
    }
    let mut size = 0;
    let mut rest = message;
    while let Some(Field { tag, content, .. }) = next_field(&mut rest) {
        if tag == ENTRY {
            size += content + PER_ENTRY;
            if size > limit {
                return true;
            }
        }
    }
    false
}

/// A message without its metadata and its payload.
pub(crate) fn head(message: &[u8]) -> Bytes {
    let mut head = BytesMut::new();
    let mut rest = message;
    loop {
        let before = rest;
        let Some(Field { tag, .. }) = next_field(&mut rest) else { return head.freeze() };
        if tag != ENTRY && tag != PAYLOAD {
            head.extend_from_slice(&before[..before.len() - rest.len()]);
        }
    }
}

struct Field {
    tag: u32,
    /// The length of its content, if it says so.
    content: usize,
}

/// Takes the next field off; `None` at the end, or at what is no field.
fn next_field(rest: &mut &[u8]) -> Option<Field> {
    let (tag, wire_type) = decode_key(rest).ok()?;
    if wire_type == WireType::LengthDelimited {
        let content = usize::try_from(decode_varint(rest).ok()?).ok()?;
        if content > rest.len() {
            return None;
        }
        rest.advance(content);
        return Some(Field { tag, content });
    }
    skip_field(wire_type, tag, rest, DecodeContext::default()).ok()?;
    Some(Field { tag, content: 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::wire::{Entry, Envelope, RpcStatus};

    fn envelope(entries: &[(usize, usize)]) -> Envelope {
        let entry = |&(key, value): &(usize, usize)| Entry {
            key: Bytes::from(vec![b'k'; key]),
            value: Bytes::from(vec![b'v'; value]),
        };
        Envelope {
            message_seq_no: 7,
            method: Bytes::from_static(b"a.B.C"),
            status: None,
            entry: entries.iter().map(entry).collect(),
            payload: Bytes::from(vec![0x22; 5000]),
        }
    }

    #[test]
    fn many_small_entries_and_one_large_one_exceed() {
        let exceeds = |entries: &[_]| metadata_exceeds(&envelope(entries).encode_to_vec(), 16 << 10);
        assert!(!exceeds(&[]));
        assert!(!exceeds(&[(0, 0); 512]));
        assert!(exceeds(&[(0, 0); 513]));
        assert!(!exceeds(&[(10, 16_000)]));
        assert!(exceeds(&[(10, 16 << 10)]));
    }

    #[test]
    fn the_head_tells_which_request_it_was() {
        let whole = Envelope { status: Some(RpcStatus::default()), ..envelope(&[(3, 4); 1000]) };
        let head = Envelope::from_message(head(&whole.encode_to_vec())).unwrap();
        let Envelope { message_seq_no, method, status, .. } = whole;
        let expected = Envelope { message_seq_no, method, status, ..Envelope::default() };
        assert_eq!(head, expected);
    }

    proptest! {
        /// What exceeds is found whether or not the message is short enough not to be looked at.
        #[test]
        fn short_messages_need_no_look(entries in prop::collection::vec((0..20_usize, 0..20_usize), 0..80), limit in 0..2000_usize) {
            let message = Envelope { payload: Bytes::new(), ..envelope(&entries) }.encode_to_vec();
            let mut rest = &message[..];
            let mut size = 0;
            while let Some(field) = next_field(&mut rest) {
                size += if field.tag == ENTRY { field.content + PER_ENTRY } else { 0 };
            }
            prop_assert_eq!(metadata_exceeds(&message, limit), size > limit);
        }

        #[test]
        fn garbage_does_no_harm(message in prop::collection::vec(any::<u8>(), 0..200)) {
            metadata_exceeds(&message, 0);
            head(&message);
        }
    }
}
