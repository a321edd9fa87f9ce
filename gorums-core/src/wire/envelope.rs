//! One message: its fields, encoded and decoded.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Code, Status};

use super::{PREFIX, timeout};

/// One message of a node stream, as `stream.Message` of Go Gorums.
///
/// Decoding copies nothing: `method`, `payload` and the entries share the buffer that was received.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    /// Field 1: the id of the request; a reply carries the same.
    #[prost(uint64, tag = "1")]
    pub message_seq_no: u64,
    /// Field 2: the full method name, as `storage.Storage.ReadQC`, in UTF-8.
    #[prost(bytes = "bytes", tag = "2")]
    pub method: Bytes,
    /// Field 3: only in error replies.
    #[prost(message, optional, tag = "3")]
    pub status: Option<RpcStatus>,
    /// Field 4: metadata of a request.
    #[prost(message, repeated, tag = "4")]
    pub entry: Vec<Entry>,
    /// Field 5: the request or reply, encoded.
    #[prost(bytes = "bytes", tag = "5")]
    pub payload: Bytes,
}

/// A metadata entry. A key may occur more than once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// The key, in lower case.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    /// The gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The error in words.
    #[prost(bytes = "bytes", tag = "2")]
    pub message: Bytes,
    /// Any further details, each an encoded `google.protobuf.Any`.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub details: Vec<Bytes>,
}

/// A message that is not a valid envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not valid protobuf.
    #[error("not an envelope: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The method is not UTF-8.
    #[error("the method name is not UTF-8")]
    Method,
    /// A reply has more metadata than this end accepts.
    #[error("the metadata of a reply is larger than the limit of {limit} bytes")]
    Metadata {
        /// The limit.
        limit: usize,
    },
}

impl Envelope {
    /// Decodes the message behind a prefix.
    pub fn from_message(message: Bytes) -> Result<Self, DecodeError> {
        let envelope = Self::decode(message)?;
        if std::str::from_utf8(&envelope.method).is_err() {
            return Err(DecodeError::Method);
        }
        Ok(envelope)
    }

    /// The method's name.
    pub fn method_name(&self) -> &str {
        std::str::from_utf8(&self.method).unwrap_or_default()
    }

    /// The remaining time that the caller gives this request, if it says so.
    pub fn timeout(&self) -> Option<Duration> {
        let entry = self.entry.iter().find(|entry| *entry.key == *timeout::TIMEOUT.as_bytes())?;
        timeout::parse(&entry.value)
    }

    /// The metadata of the request, without the deadline. Entries that HTTP would not allow are left out.
    pub fn metadata(entries: &[Entry]) -> MetadataMap {
        let mut headers = http::HeaderMap::new();
        for Entry { key, value } in entries {
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
}

impl RpcStatus {
    /// The form that handlers and callers use.
    pub fn to_status(&self) -> Status {
        let message = String::from_utf8_lossy(&self.message).into_owned();
        let details = if self.details.is_empty() { Bytes::new() } else { self.encode_to_vec().into() };
        Status::with_details(Code::from_i32(self.code), message, details)
    }

    /// The form on the wire. tonic keeps details as an encoded `google.rpc.Status`. A text that is longer than
    /// 64 KiB is cut, and details that are longer are left out: an error must not cost the connection.
    pub fn from_status(status: &Status) -> Self {
        let mut details = Self::decode(status.details()).map(|whole| whole.details).unwrap_or_default();
        if details.iter().map(Bytes::len).sum::<usize>() > MAX_STATUS {
            details.clear();
        }
        let text = status.message();
        let end = (0..=text.len().min(MAX_STATUS)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        let message = Bytes::copy_from_slice(&text.as_bytes()[..end]);
        Self { code: status.code() as i32, message, details }
    }
}

/// The longest text and the longest details of a status.
const MAX_STATUS: usize = 64 << 10;

/// All of a message but its payload.
pub(crate) struct Outline<'a> {
    pub(crate) id: u64,
    pub(crate) method: &'a str,
    pub(crate) timeout: Option<timeout::Text>,
    pub(crate) metadata: Option<&'a MetadataMap>,
}

impl<'a> Outline<'a> {
    pub(crate) fn request(
        id: u64,
        method: &'a str,
        timeout: Option<Duration>,
        metadata: Option<&'a MetadataMap>,
    ) -> Self {
        Self { id, method, timeout: timeout.map(timeout::format), metadata }
    }

    pub(crate) fn reply(id: u64, method: &'a str) -> Self {
        Self { id, method, timeout: None, metadata: None }
    }

    /// The length of the message with its prefix, around a payload of this length.
    pub(crate) fn encoded_len(&self, payload_len: usize) -> usize {
        let varint = |value: u64| prost::encoding::encoded_len_varint(value);
        let id = if self.id == 0 { 0 } else { 1 + varint(self.id) };
        let timeout =
            self.timeout.map_or(0, |timeout| entry_len(timeout::TIMEOUT.len(), timeout.as_bytes().len()));
        let entries = self.metadata.iter().flat_map(|metadata| metadata.iter()).map(|entry| match entry {
            KeyAndValueRef::Ascii(key, value) => entry_len(key.as_str().len(), value.as_bytes().len()),
            KeyAndValueRef::Binary(key, value) => {
                entry_len(key.as_str().len(), value.as_encoded_bytes().len())
            }
        });
        PREFIX + id + field_len(self.method.len()) + timeout + entries.sum::<usize>() + field_len(payload_len)
    }
}

/// Appends a message with its prefix to `buf`. `payload` writes `payload_len` bytes.
pub(crate) fn encode(
    buf: &mut BytesMut,
    outline: &Outline<'_>,
    payload_len: usize,
    payload: impl FnOnce(&mut BytesMut),
) {
    let start = begin(buf, outline, Some((0x2a, payload_len)).filter(|_| payload_len > 0));
    if payload_len > 0 {
        payload(buf);
    }
    finish(buf, start);
}

/// Appends an error reply, or the end of a streaming call, with its prefix to `buf`.
pub(crate) fn encode_status(buf: &mut BytesMut, id: u64, method: &str, status: &RpcStatus) {
    let start = begin(buf, &Outline::reply(id, method), Some((0x1a, status.encoded_len())));
    status.encode_raw(buf);
    finish(buf, start);
}

/// Writes all of a message that is in front of the content of its last field, which has this key and length.
fn begin(buf: &mut BytesMut, outline: &Outline<'_>, last: Option<(u8, usize)>) -> usize {
    let start = buf.len();
    buf.reserve(2 * Head::FIELDS + outline.method.len() + last.map_or(0, |(_, len)| len));
    let mut head = Head::new();
    if outline.id != 0 {
        head.byte(0x08);
        head.varint(outline.id);
    }
    if !outline.method.is_empty() {
        head.byte(0x12);
        head.varint(outline.method.len() as u64);
        head.long(outline.method.as_bytes(), buf);
    }
    if let Some(timeout) = outline.timeout {
        head.bytes(&timeout_entry(timeout.as_bytes().len()));
        head.bytes(timeout.as_bytes());
    }
    if let Some(metadata) = outline.metadata {
        head.flush(buf);
        put_metadata(buf, metadata);
    }
    if let Some((key, len)) = last {
        head.byte(key);
        head.varint(len as u64);
    }
    head.flush(buf);
    start
}

/// The entry of a deadline, up to its digits and their unit, which are so many.
fn timeout_entry(digits: usize) -> [u8; 18] {
    let mut entry = *b"\x22\x00\x0a\x0cgrpc-timeout\x12\x00";
    (entry[1], entry[17]) = (16 + digits as u8, digits as u8);
    entry
}

/// The short fields of a message, gathered to be appended at once.
struct Head {
    bytes: [u8; Head::FIELDS + Head::NAME],
    len: usize,
}

impl Head {
    /// Room for all fields but the method's name: prefix, id, deadline, and lengths.
    const FIELDS: usize = 72;
    /// Room for a name of usual length.
    const NAME: usize = 56;

    /// A prefix, of which the length is not known yet.
    fn new() -> Self {
        Self { bytes: [0; Self::FIELDS + Self::NAME], len: PREFIX }
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds bytes for which there may not be room.
    #[inline]
    fn long(&mut self, bytes: &[u8], buf: &mut BytesMut) {
        if bytes.len() <= Self::NAME {
            return self.bytes(bytes);
        }
        self.flush(buf);
        buf.extend_from_slice(bytes);
    }

    #[inline]
    fn flush(&mut self, buf: &mut BytesMut) {
        buf.extend_from_slice(&self.bytes[..self.len]);
        self.len = 0;
    }
}

fn put_metadata(buf: &mut BytesMut, metadata: &MetadataMap) {
    for entry in metadata.iter() {
        match entry {
            KeyAndValueRef::Ascii(key, value) => put_entry(buf, key.as_str().as_bytes(), value.as_bytes()),
            KeyAndValueRef::Binary(key, value) => {
                put_entry(buf, key.as_str().as_bytes(), value.as_encoded_bytes());
            }
        }
    }
}

fn finish(buf: &mut BytesMut, start: usize) {
    let len = (buf.len() - start - PREFIX) as u32;
    buf[start + 1..start + PREFIX].copy_from_slice(&len.to_be_bytes());
}

fn put_entry(buf: &mut BytesMut, key: &[u8], value: &[u8]) {
    let len = field_len(key.len()) + field_len(value.len());
    buf.put_u8(0x22);
    put_varint(buf, len as u64);
    put_field(buf, 0x0a, key);
    put_field(buf, 0x12, value);
}

/// The length of a field with its key and its length, around so many bytes; without any, there is no field.
fn field_len(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { 1 + prost::length_delimiter_len(bytes) + bytes }
}

fn entry_len(key: usize, value: usize) -> usize {
    let content = field_len(key) + field_len(value);
    1 + prost::length_delimiter_len(content) + content
}

fn put_field(buf: &mut BytesMut, key: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        buf.put_u8(key);
        put_varint(buf, bytes.len() as u64);
        buf.extend_from_slice(bytes);
    }
}

fn put_varint(buf: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buf.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buf.put_u8(value as u8);
}
