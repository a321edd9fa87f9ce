//! One message as it came: where its parts are. Nothing is copied, and nothing is allocated for a usual one.
//!
//! Reads what [`Envelope`](super::Envelope) reads, and refuses what that refuses; the tests compare the two. A stream
//! reads some hundred thousand messages a second, and most of the fields of most of them are looked at once, or never.

use std::ops::Range;
use std::time::Duration;

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field};
use prost::{DecodeError as Malformed, Message as _};
use tonic::metadata::MetadataMap;

use super::envelope::{DecodeError, RpcStatus};
use super::timeout;

/// What an entry counts for beyond its bytes, as a header in HTTP/2 (RFC 9113, 6.5.2).
const PER_ENTRY: usize = 32;

/// The numbers of the fields.
mod field {
    pub(super) const ID: u32 = 1;
    pub(super) const METHOD: u32 = 2;
    pub(super) const STATUS: u32 = 3;
    pub(super) const ENTRY: u32 = 4;
    pub(super) const PAYLOAD: u32 = 5;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// A message that was received.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    bytes: Bytes,
    id: u64,
    method: Range<usize>,
    payload: Range<usize>,
    status: Option<Box<RpcStatus>>,
    timeout: Option<Duration>,
    /// There are entries other than the timeout.
    has_metadata: bool,
    metadata_size: usize,
}

impl Message {
    /// Finds the parts of the message behind a prefix.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut message = Self {
            bytes: Bytes::new(),
            id: 0,
            method: 0..0,
            payload: 0..0,
            status: None,
            timeout: None,
            has_metadata: false,
            metadata_size: 0,
        };
        let mut fields = Fields::of(&bytes);
        let mut has_timeout = false;
        while let Some((tag, wire_type)) = fields.next()? {
            match tag {
                field::ID => {
                    check_wire_type(WireType::Varint, wire_type)?;
                    message.id = decode_varint(&mut fields.rest)?;
                }
                field::METHOD => message.method = fields.content(tag, wire_type)?,
                field::PAYLOAD => message.payload = fields.content(tag, wire_type)?,
                field::STATUS => {
                    let content = fields.content(tag, wire_type)?;
                    let status = message.status.get_or_insert_default();
                    // A field that occurs twice is merged.
                    status.merge(bytes.slice(content))?;
                }
                field::ENTRY => {
                    let content = fields.content(tag, wire_type)?;
                    message.metadata_size += content.len() + PER_ENTRY;
                    let entry = Entry::parse(&bytes[content])?;
                    // The first counts.
                    if entry.key == timeout::TIMEOUT.as_bytes() {
                        if !has_timeout {
                            message.timeout = timeout::parse(entry.value);
                        }
                        has_timeout = true;
                    } else {
                        message.has_metadata = true;
                    }
                }
                _ => fields.skip(tag, wire_type)?,
            }
        }
        let method = &bytes[message.method.clone()];
        if !method.is_ascii() && std::str::from_utf8(method).is_err() {
            return Err(DecodeError::Method);
        }
        message.bytes = bytes;
        Ok(message)
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The method's name.
    pub(crate) fn method(&self) -> &str {
        std::str::from_utf8(self.method_bytes()).unwrap_or_default()
    }

    /// The method's name, which is known to be UTF-8.
    pub(crate) fn method_bytes(&self) -> &[u8] {
        &self.bytes[self.method.clone()]
    }

    /// The remaining time that the caller gives this request, if it says so.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// What the metadata counts for, deadline included: its bytes, and 32 for each entry.
    pub(crate) fn metadata_size(&self) -> usize {
        self.metadata_size
    }

    pub(crate) fn has_status(&self) -> bool {
        self.status.is_some()
    }

    pub(crate) fn into_status(self) -> Option<RpcStatus> {
        self.status.map(|status| *status)
    }

    /// The request or the reply, encoded.
    pub(crate) fn into_payload(mut self) -> Bytes {
        self.bytes.truncate(self.payload.end);
        self.bytes.advance(self.payload.start);
        self.bytes
    }

    /// All of the message, if it has metadata other than a deadline.
    pub(crate) fn with_metadata(&self) -> Option<Bytes> {
        self.has_metadata.then(|| self.bytes.clone())
    }

    /// The metadata in a message that was parsed before, without the deadline. Entries that HTTP would not allow are left out.
    pub(crate) fn metadata(bytes: &[u8]) -> MetadataMap {
        let mut headers = http::HeaderMap::new();
        let mut fields = Fields::of(bytes);
        while let Ok(Some((tag, wire_type))) = fields.next() {
            if tag != field::ENTRY {
                if fields.skip(tag, wire_type).is_err() {
                    break;
                }
                continue;
            }
            let Ok(content) = fields.content(tag, wire_type) else { break };
            let Ok(Entry { key, value }) = Entry::parse(&bytes[content]) else { break };
            let name = http::HeaderName::from_bytes(key);
            let value = http::HeaderValue::from_bytes(value);
            if let (Ok(name), Ok(value)) = (name, value)
                && name != timeout::TIMEOUT
            {
                // Fails at 32,768 entries, which nobody needs.
                let _ = headers.try_append(name, value);
            }
        }
        MetadataMap::from_headers(headers)
    }

    /// Moves the message into memory of its own.
    pub(crate) fn detach(&mut self) {
        self.bytes = Bytes::copy_from_slice(&self.bytes);
    }
}

/// A metadata entry.
struct Entry<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut entry = Self { key: &[], value: &[] };
        let mut fields = Fields::of(bytes);
        while let Some((tag, wire_type)) = fields.next()? {
            match tag {
                field::KEY => entry.key = &bytes[fields.content(tag, wire_type)?],
                field::VALUE => entry.value = &bytes[fields.content(tag, wire_type)?],
                _ => fields.skip(tag, wire_type)?,
            }
        }
        Ok(entry)
    }
}

/// The fields of a protobuf message.
struct Fields<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(whole: &'a [u8]) -> Self {
        Self { whole, rest: whole }
    }

    /// The number and type of the next field, of which the content is to be taken then.
    #[inline]
    fn next(&mut self) -> Result<Option<(u32, WireType)>, Malformed> {
        // As all fields have that are known.
        if let [key @ 0x08..=0x7f, rest @ ..] = self.rest
            && key & 7 == WireType::LengthDelimited as u8
        {
            self.rest = rest;
            return Ok(Some((u32::from(key >> 3), WireType::LengthDelimited)));
        }
        if self.rest.is_empty() { Ok(None) } else { decode_key(&mut self.rest).map(Some) }
    }

    /// Where the content of a field is that has a length.
    #[inline]
    fn content(&mut self, tag: u32, wire_type: WireType) -> Result<Range<usize>, Malformed> {
        if let [len @ 0..=0x7f, rest @ ..] = self.rest
            && wire_type == WireType::LengthDelimited
            && let Some(rest) = rest.get(usize::from(*len)..)
        {
            let end = self.whole.len() - rest.len();
            self.rest = rest;
            return Ok(end - usize::from(*len)..end);
        }
        self.long_content(tag, wire_type)
    }

    fn long_content(&mut self, tag: u32, wire_type: WireType) -> Result<Range<usize>, Malformed> {
        check_wire_type(WireType::LengthDelimited, wire_type)?;
        let before = self.rest;
        self.skip(tag, wire_type)?;
        let end = self.whole.len() - self.rest.len();
        // It was read before.
        let len = decode_varint(&mut &before[..])? as usize;
        Ok(end - len..end)
    }

    fn skip(&mut self, tag: u32, wire_type: WireType) -> Result<(), Malformed> {
        skip_field(wire_type, tag, &mut self.rest, DecodeContext::default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::wire::{self, Envelope};

    fn envelope() -> impl Strategy<Value = Envelope> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let key =
            prop_oneof![Just(Bytes::from_static(b"grpc-timeout")), Just(Bytes::from_static(b"key")), bytes()];
        let value = prop_oneof![Just(Bytes::from_static(b"12m")), bytes()];
        let entry = (key, value).prop_map(|(key, value)| wire::Entry { key, value });
        let status = (any::<i32>(), bytes()).prop_map(|(code, message)| RpcStatus {
            code,
            message,
            details: Vec::new(),
        });
        let method = prop_oneof![9 => "[a-z.]{0,20}".prop_map(Bytes::from), 1 => bytes()];
        (any::<u64>(), method, prop::option::of(status), prop::collection::vec(entry, 0..5), bytes())
            .prop_map(|(message_seq_no, method, status, entry, payload)| Envelope {
                message_seq_no,
                method,
                status,
                entry,
                payload,
            })
    }

    fn compare(bytes: &Bytes) -> Result<(), TestCaseError> {
        let parsed = Message::parse(bytes.clone());
        let decoded = Envelope::from_message(bytes.clone());
        prop_assert_eq!(parsed.is_err(), decoded.is_err(), "{:?}, {:?}", parsed, decoded);
        let (Ok(parsed), Ok(decoded)) = (parsed, decoded) else { return Ok(()) };
        prop_assert_eq!(parsed.id(), decoded.message_seq_no);
        prop_assert_eq!(parsed.method(), decoded.method_name());
        prop_assert_eq!(parsed.timeout(), decoded.timeout());
        let size: usize = decoded.entry.iter().map(|entry| entry.encoded_len() + PER_ENTRY).sum();
        if decoded.encode_to_vec() == *bytes {
            prop_assert_eq!(parsed.metadata_size(), size);
        }
        let metadata = Envelope::metadata(&decoded.entry);
        prop_assert_eq!(Message::metadata(bytes).into_headers(), metadata.clone().into_headers());
        prop_assert!(parsed.with_metadata().is_some() || metadata.is_empty());
        let mut detached = parsed.clone();
        detached.detach();
        prop_assert_eq!(detached.into_payload(), decoded.payload.clone());
        prop_assert_eq!(parsed.clone().into_payload(), decoded.payload);
        prop_assert_eq!(parsed.into_status(), decoded.status);
        Ok(())
    }

    #[test]
    fn a_message_is_not_copied() {
        let whole = Envelope { payload: Bytes::from(vec![7; 100]), ..Envelope::default() };
        let bytes = Bytes::from(whole.encode_to_vec());
        let range = bytes.as_ptr_range();
        assert!(range.contains(&Message::parse(bytes.clone()).unwrap().into_payload().as_ptr()));
    }

    #[test]
    fn many_small_entries_and_one_large_one_weigh_the_same() {
        let size = |entries: usize, len: usize| {
            let entry = wire::Entry { key: Bytes::from(vec![b'k'; len]), value: Bytes::new() };
            let whole = Envelope { entry: vec![entry; entries], ..Envelope::default() };
            Message::parse(whole.encode_to_vec().into()).unwrap().metadata_size()
        };
        assert_eq!(size(512, 0), 16 << 10);
        assert_eq!(size(1, 1000), 1000 + 3 + PER_ENTRY);
    }

    proptest! {
        #[test]
        fn reads_what_an_envelope_holds(envelope in envelope()) {
            compare(&envelope.encode_to_vec().into())?;
        }

        #[test]
        fn reads_and_refuses_what_the_library_does(
            envelope in envelope(),
            twice in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = envelope.encode_to_vec();
            if twice {
                bytes.extend(envelope.encode_to_vec());
            }
            for (index, byte) in changes {
                if !bytes.is_empty() {
                    let index = index.index(bytes.len());
                    bytes[index] = byte;
                }
            }
            if !twice && !bytes.is_empty() {
                bytes.truncate(end.index(2 * bytes.len()) + 1);
            }
            compare(&bytes.into())?;
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            compare(&bytes.into())?;
        }
    }
}
