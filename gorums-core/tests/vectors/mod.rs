//! The recorded messages, and the messages of the storage service that they carry.
#![allow(dead_code, clippy::unwrap_used)]

use std::fmt;

use bytes::Bytes;
use prost::Message;

/// One recorded message with the fields that it is known to have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vector {
    pub(crate) section: u32,
    /// `node1` is the first connection to node 1, `node1/2` the second.
    pub(crate) connection: String,
    pub(crate) by_client: bool,
    pub(crate) prefix: Vec<u8>,
    pub(crate) bytes: Bytes,
    pub(crate) seq: u64,
    pub(crate) method: String,
    pub(crate) status: Option<(i32, String)>,
    pub(crate) entries: Vec<(String, String)>,
    /// As Go prints it.
    pub(crate) payload: Option<String>,
}

impl Vector {
    /// The message behind its prefix, as on the wire.
    pub(crate) fn framed(&self) -> Vec<u8> {
        [&self.prefix, &*self.bytes].concat()
    }
}

/// All recorded messages.
pub(crate) fn recorded() -> Vec<Vector> {
    let mut vectors: Vec<Vector> = Vec::new();
    for line in include_str!("recorded.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(' ').unwrap();
        if key == "message" {
            let [section, connection, sender] = value.split(' ').collect::<Vec<_>>().try_into().unwrap();
            vectors.push(Vector {
                section: section.parse().unwrap(),
                connection: connection.into(),
                by_client: sender == "client",
                ..Vector::default()
            });
        } else {
            set(vectors.last_mut().unwrap(), key, value);
        }
    }
    vectors
}

/// The messages of one connection and direction in some sections, in order.
pub(crate) fn conversation(sections: &[u32], connection: &str, by_client: bool) -> Vec<Vector> {
    let mut vectors = recorded();
    vectors.retain(|vector| {
        sections.contains(&vector.section) && vector.connection == connection && vector.by_client == by_client
    });
    vectors
}

fn set(vector: &mut Vector, key: &str, value: &str) {
    match key {
        "prefix" => vector.prefix = bytes(value),
        "bytes" => vector.bytes = bytes(value).into(),
        "seq" => vector.seq = value.parse().unwrap(),
        "method" => vector.method = value.into(),
        "status" => {
            let (code, message) = value.split_once(' ').unwrap();
            let message = message.trim_matches('"').replace("\\n", "\n").replace("\\t", "\t");
            vector.status = Some((code.parse().unwrap(), message));
        }
        "entry" => {
            let (key, value) = value.split_once(' ').unwrap();
            vector.entries.push((key.into(), value.into()));
        }
        "payload" => vector.payload = Some(value.replace("x*40000", &"x".repeat(40_000))),
        _ => panic!("no such field: {key}"),
    }
}

/// Hexadecimal digits, in words; `78*3` is `787878`.
fn bytes(words: &str) -> Vec<u8> {
    let word = |word: &str| {
        let (digits, times) = word.split_once('*').unwrap_or((word, "1"));
        hex(digits).repeat(times.parse().unwrap())
    };
    words.split(' ').flat_map(word).collect()
}

pub(crate) fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2) && digits.is_ascii(), "{digits}");
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadRequest {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadResponse {
    #[prost(bool, tag = "1")]
    pub(crate) ok: bool,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WriteRequest {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WriteResponse {
    #[prost(bool, tag = "1")]
    pub(crate) new: bool,
}

pub(crate) fn read(key: &str) -> ReadRequest {
    ReadRequest { key: key.into() }
}

/// What the recorded clients write.
pub(crate) fn write(value: &str) -> WriteRequest {
    let time = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    WriteRequest { key: "k".into(), value: value.into(), time: Some(time) }
}

/// What the recorded servers reply with.
pub(crate) fn found(value: &str) -> ReadResponse {
    let time = Timestamp { seconds: 1_700_000_000, nanos: 5_000 };
    ReadResponse { ok: true, value: value.into(), time: Some(time) }
}

/// A message with these fields, as Go prints it.
fn print(f: &mut fmt::Formatter<'_>, name: &str, fields: &[(&str, Option<String>)]) -> fmt::Result {
    let set =
        |(field, value): &(&str, Option<String>)| value.as_ref().map(|value| format!("{field}:{value}"));
    write!(f, "proto.{name}{{{}}}", fields.iter().filter_map(set).collect::<Vec<_>>().join(" "))
}

fn quoted(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| format!("{text:?}"))
}

fn flag(flag: bool) -> Option<String> {
    flag.then(|| "true".into())
}

fn time(time: Option<&Timestamp>) -> Option<String> {
    let Timestamp { seconds, nanos } = time?;
    let nanos = if *nanos == 0 { String::new() } else { format!(" nanos:{nanos}") };
    Some(format!("{{seconds:{seconds}{nanos}}}"))
}

impl ReadRequest {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, "ReadRequest", &[("key", quoted(&self.key))])
    }
}

impl ReadResponse {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields =
            [("OK", flag(self.ok)), ("value", quoted(&self.value)), ("time", time(self.time.as_ref()))];
        print(f, "ReadResponse", &fields)
    }
}

impl WriteRequest {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields =
            [("key", quoted(&self.key)), ("value", quoted(&self.value)), ("time", time(self.time.as_ref()))];
        print(f, "WriteRequest", &fields)
    }
}

impl WriteResponse {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, "WriteResponse", &[("new", flag(self.new))])
    }
}

/// A payload of the storage service, of the type that its method and direction say.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Payload {
    ReadRequest(ReadRequest),
    ReadResponse(ReadResponse),
    WriteRequest(WriteRequest),
    WriteResponse(WriteResponse),
    Other(Bytes),
}

impl Payload {
    /// What is not of the type that is expected, and all that is sent to a method that nobody knows, is
    /// given as it is.
    pub(crate) fn decode(method: &str, is_reply: bool, payload: Bytes) -> Self {
        let name = method.trim_start_matches("proto.Storage.");
        let decoded = if name.starts_with("Read") && is_reply {
            ReadResponse::decode(payload.clone()).map(Self::ReadResponse)
        } else if name.starts_with("Read") {
            ReadRequest::decode(payload.clone()).map(Self::ReadRequest)
        } else if name.starts_with("Write") && is_reply {
            WriteResponse::decode(payload.clone()).map(Self::WriteResponse)
        } else if name.starts_with("Write") {
            WriteRequest::decode(payload.clone()).map(Self::WriteRequest)
        } else {
            return Self::Other(payload);
        };
        decoded.unwrap_or(Self::Other(payload))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::ReadRequest(message) => message.encode_to_vec(),
            Self::ReadResponse(message) => message.encode_to_vec(),
            Self::WriteRequest(message) => message.encode_to_vec(),
            Self::WriteResponse(message) => message.encode_to_vec(),
            Self::Other(bytes) => bytes.to_vec(),
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadRequest(message) => message.print(f),
            Self::ReadResponse(message) => message.print(f),
            Self::WriteRequest(message) => message.print(f),
            Self::WriteResponse(message) => message.print(f),
            Self::Other(bytes) => f.write_str(&to_hex(bytes)),
        }
    }
}
