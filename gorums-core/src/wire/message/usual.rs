//! The short way for messages as gorums itself writes them: an id, a method, maybe a deadline, and a payload, in this
//! order.

use prost::encoding::decode_varint;

use super::{PER_ENTRY, Parts, Span, timeout};

/// The entry of a deadline between its own length and that of its digits.
const TIMEOUT: [u8; 15] = *b"\x0a\x0cgrpc-timeout\x12";

/// `None` for any other message, which may be a good one.
pub(super) fn parse(bytes: &[u8]) -> Option<Parts> {
    let at = |rest: &[u8]| bytes.len() - rest.len();
    let [0x08, rest @ ..] = bytes else { return None };
    let (id, rest) = number(rest)?;
    let [0x12, len @ ..0x80, rest @ ..] = rest else { return None };
    let start = at(rest);
    let (method, mut rest) = rest.split_at_checked(usize::from(*len))?;
    if !method.is_ascii() {
        return None;
    }
    let method = Span::new(start, at(rest));
    let (mut time, mut metadata_size) = (None, 0);
    if let [0x22, len @ ..0x80, entry @ ..] = rest {
        let (entry, behind) = entry.split_at_checked(usize::from(*len))?;
        let (key, [digits @ ..0x80, value @ ..]) = entry.split_first_chunk()? else { return None };
        if *key != TIMEOUT || usize::from(*digits) != value.len() {
            return None;
        }
        (time, metadata_size, rest) = (timeout::parse(value), entry.len() + PER_ENTRY, behind);
    }
    let mut payload = Span::default();
    if let [0x2a, content @ ..] = rest {
        let (len, content) = number(content)?;
        if len != content.len() as u64 {
            return None;
        }
        payload = Span::new(at(content), bytes.len());
    } else if !rest.is_empty() {
        return None;
    }
    Some(Parts { id, method, payload, status: None, timeout: time, has_metadata: false, metadata_size })
}

/// A number and what is behind it. `None` so close to the end of the message that it is better left to the library.
#[inline]
fn number(rest: &[u8]) -> Option<(u64, &[u8])> {
    if let [byte @ ..0x80, rest @ ..] = rest {
        return Some((u64::from(*byte), rest));
    }
    let word = u64::from_le_bytes(*rest.first_chunk()?);
    let ends = !word & 0x8080_8080_8080_8080;
    if ends == 0 {
        let mut rest = rest;
        return decode_varint(&mut rest).ok().map(|number| (number, rest));
    }
    let bits = ends.trailing_zeros() + 1;
    // Seven bits of each byte move together, then fourteen of each pair, and so on.
    let word = word & (u64::MAX >> (64 - bits));
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    let word = (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4);
    Some((word, rest.get(bits as usize / 8..)?))
}
