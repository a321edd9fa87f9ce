//! One message as it came: where its parts are. Nothing is copied, and nothing is allocated for a usual one.
//!
//! Reads what [`Envelope`](super::Envelope) reads, and refuses what that refuses; the tests compare the two. A stream
//! reads some hundred thousand messages a second, and most of the fields of most of them are looked at once, or never.

mod usual;

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
    parts: Parts,
}

impl Message {
    /// Finds the parts of the message behind a prefix.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        match usual::parse(&bytes) {
            Some(parts) => Ok(Self { bytes, parts }),
            None => Parts::parse(&bytes).map(|parts| Self { bytes, parts }),
        }
    }

    /// The id in the head of a message, of which the rest is missing. It is the first field, unless the peer writes fields in
    /// an order that no known encoder does.
    pub(crate) fn id_of_head(head: &[u8]) -> Option<u64> {
        let mut fields = Fields::of(head);
        match fields.next() {
            Ok(Some((field::ID, WireType::Varint))) => decode_varint(&mut fields.rest).ok(),
            _ => None,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.parts.id
    }

    /// The method's name.
    pub(crate) fn method(&self) -> &str {
        std::str::from_utf8(self.method_bytes()).unwrap_or_default()
    }

    /// The method's name, which is known to be UTF-8.
    pub(crate) fn method_bytes(&self) -> &[u8] {
        self.parts.method.of(&self.bytes)
    }

    /// The remaining time that the caller gives this request, if it says so.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.parts.timeout
    }

    /// What the metadata counts for, deadline included: its bytes, and 32 for each entry.
    pub(crate) fn metadata_size(&self) -> usize {
        self.parts.metadata_size
    }

    pub(crate) fn has_status(&self) -> bool {
        self.parts.status.is_some()
    }

    pub(crate) fn into_status(self) -> Option<RpcStatus> {
        self.parts.status.map(|status| *status)
    }

    /// The request or the reply, encoded.
    pub(crate) fn into_payload(mut self) -> Bytes {
        let Span { start, end } = self.parts.payload;
        self.bytes.truncate(end as usize);
        self.bytes.advance(start as usize);
        self.bytes
    }

    /// All of the message, if it has metadata other than a deadline.
    pub(crate) fn with_metadata(&self) -> Option<Bytes> {
        self.parts.has_metadata.then(|| self.bytes.clone())
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

/// Where the parts of a message are, and what is read at once.
#[derive(Clone, Debug, Default)]
struct Parts {
    id: u64,
    method: Span,
    payload: Span,
    status: Option<Box<RpcStatus>>,
    timeout: Option<Duration>,
    /// There are entries other than the timeout.
    has_metadata: bool,
    metadata_size: usize,
}

/// Some bytes of a message, whose length has 32 bits on the wire.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self::new(range.start, range.end)
    }
}

impl Parts {
    /// Reads any message.
    fn parse(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut parts = Self::default();
        let mut fields = Fields::of(bytes);
        let mut has_timeout = false;
        while let Some((tag, wire_type)) = fields.next()? {
            match tag {
                field::ID => {
                    check_wire_type(WireType::Varint, wire_type)?;
                    parts.id = decode_varint(&mut fields.rest)?;
                }
                field::METHOD => parts.method = fields.content(tag, wire_type)?.into(),
                field::PAYLOAD => parts.payload = fields.content(tag, wire_type)?.into(),
                field::STATUS => {
                    let content = fields.content(tag, wire_type)?;
                    let status = parts.status.get_or_insert_default();
                    // A field that occurs twice is merged.
                    status.merge(bytes.slice(content))?;
                }
                field::ENTRY => {
                    let content = fields.content(tag, wire_type)?;
                    parts.metadata_size += content.len() + PER_ENTRY;
                    let entry = Entry::parse(&bytes[content])?;
                    // The first counts.
                    if entry.key == timeout::TIMEOUT.as_bytes() {
                        if !has_timeout {
                            parts.timeout = timeout::parse(entry.value);
                        }
                        has_timeout = true;
                    } else {
                        parts.has_metadata = true;
                    }
                }
                _ => fields.skip(tag, wire_type)?,
            }
        }
        let method = parts.method.of(bytes);
        if !method.is_ascii() && std::str::from_utf8(method).is_err() {
            return Err(DecodeError::Method);
        }
        Ok(parts)
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
mod tests;
