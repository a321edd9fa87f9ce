//! The wire format against the recorded bytes of Go Gorums, and against what is nearly, or not at all, it.
#![allow(clippy::unwrap_used)]

mod vectors;

use bytes::{BufMut, Bytes};
use gorums_core::wire::{Cut, DecodeError, Entry, Envelope, FrameError, Messages, RpcStatus};
use gorums_core::{Code, Initiator, MessageId};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use prost::Message;

use vectors::{Payload, Vector, recorded};

const LIMIT: usize = 4 << 20;

/// The message behind the prefix of a vector.
fn cut(vector: &Vector) -> Bytes {
    let mut messages = Messages::new(LIMIT);
    messages.add(vector.framed().into());
    let message = messages.next_message().unwrap().unwrap();
    assert_eq!(messages.next_message(), Ok(None));
    message
}

fn entries(vector: &Vector) -> Vec<Entry> {
    let entry =
        |(key, value): &(String, String)| Entry { key: key.clone().into(), value: value.clone().into() };
    vector.entries.iter().map(entry).collect()
}

#[test]
fn the_recording_is_whole() {
    let vectors = recorded();
    assert_eq!(vectors.len(), 55);
    let mut sections: Vec<_> = vectors.iter().map(|vector| vector.section).collect();
    sections.dedup();
    let without_messages = [1, 16, 17, 22, 24];
    assert_eq!(sections, (1..=24).filter(|section| !without_messages.contains(section)).collect::<Vec<_>>());
    assert_eq!(vectors.iter().filter(|vector| vector.by_client).count(), 28);
    assert_eq!(vectors.iter().map(|vector| vector.bytes.len()).max(), Some(40_049));
}

#[test]
fn every_recorded_message_decodes_to_its_fields() {
    for vector in recorded() {
        let envelope = Envelope::from_message(cut(&vector)).unwrap();
        assert_eq!(envelope.message_seq_no, vector.seq, "{vector:?}");
        assert_eq!(envelope.method_name(), vector.method);
        let status = envelope.status.as_ref().map(|status| {
            assert_eq!(status.details, Vec::<Bytes>::new());
            (status.code, String::from_utf8(status.message.to_vec()).unwrap())
        });
        assert_eq!(status, vector.status);
        assert_eq!(envelope.entry, entries(&vector));
        assert_eq!(envelope.timeout(), None);
        match &vector.payload {
            None => assert!(envelope.payload.is_empty()),
            Some(text) => {
                let by_initiator = MessageId::from_wire(vector.seq).initiator() == sender(&vector);
                let payload = Payload::decode(&vector.method, !by_initiator, envelope.payload.clone());
                assert_eq!(payload.to_string(), *text);
                assert_eq!(payload.encode(), envelope.payload);
            }
        }
    }
}

fn sender(vector: &Vector) -> Initiator {
    if vector.by_client { Initiator::Client } else { Initiator::Server }
}

#[test]
fn every_recorded_message_encodes_to_its_bytes() {
    for vector in recorded() {
        let bytes = cut(&vector);
        let decoded = Envelope::from_message(bytes.clone()).unwrap();
        let built = Envelope {
            message_seq_no: vector.seq,
            method: vector.method.clone().into(),
            status: vector.status.clone().map(|(code, message)| RpcStatus {
                code,
                message: message.into(),
                details: Vec::new(),
            }),
            entry: entries(&vector),
            payload: decoded.payload.clone(),
        };
        assert_eq!(built, decoded);
        assert_eq!(built.encode_to_vec(), vector.bytes);
        let mut framed = vec![0];
        framed.put_u32(built.encoded_len() as u32);
        built.encode(&mut framed).unwrap();
        assert_eq!(framed, vector.framed());
    }
}

#[test]
fn decoding_copies_no_payload() {
    for vector in recorded().iter().filter(|vector| vector.payload.is_some()) {
        let framed = Bytes::from(vector.framed());
        let range = framed.as_ptr_range();
        let mut messages = Messages::new(LIMIT);
        messages.add(framed.clone());
        let envelope = Envelope::from_message(messages.next_message().unwrap().unwrap()).unwrap();
        assert!(range.contains(&envelope.payload.as_ptr()) && range.contains(&envelope.method.as_ptr()));
    }
}

#[test]
fn recorded_statuses_are_statuses() {
    let mut codes = Vec::new();
    for vector in recorded() {
        let envelope = Envelope::from_message(vector.bytes.clone()).unwrap();
        let Some(rpc_status) = envelope.status else { continue };
        let status = rpc_status.to_status();
        assert_eq!(status.message(), vector.status.unwrap().1);
        assert_eq!(RpcStatus::from_status(&status), rpc_status);
        codes.push(status.code());
    }
    let numbers: Vec<_> = codes.into_iter().map(|code: Code| code as i32).collect();
    assert_eq!(numbers, [5, 2, 12, 12, 2, 5, 5]);
}

#[test]
fn a_status_keeps_its_details() {
    let details = vec![Bytes::from_static(b"\x0a\x03a/b\x12\x01x"), Bytes::from_static(b"\x0a\x03c/d")];
    let status = RpcStatus { code: 9, message: "no".into(), details };
    assert_eq!(RpcStatus::from_status(&status.to_status()), status);
}

#[test]
fn recorded_entries_are_metadata() {
    let of = |section| {
        let vector =
            recorded().into_iter().find(|vector| vector.section == section && !vector.entries.is_empty());
        Envelope::metadata(&Envelope::from_message(vector.unwrap().bytes).unwrap().entry)
    };
    assert_eq!(of(14).get_all("x-trace").iter().collect::<Vec<_>>(), ["abc", "def"]);
    assert_eq!(of(21).get("x-back").unwrap(), "yes");
}

#[test]
fn ids_tell_who_called() {
    for vector in recorded() {
        let back = vector.seq >= 1 << 63;
        let initiator = if back { Initiator::Server } else { Initiator::Client };
        let id = MessageId::from_wire(vector.seq);
        assert_eq!((id.initiator(), id.to_wire()), (initiator, vector.seq));
    }
}

#[test]
fn what_the_format_allows_is_read() {
    let decode = |bytes: &'static [u8]| Envelope::from_message(Bytes::from_static(bytes));
    assert_eq!(decode(b"").unwrap(), Envelope::default());
    // Fields in another order, the last of a repeated scalar, and fields of a later version.
    let envelope = decode(b"\x2a\x01x\x12\x01m\x08\x01\x08\x02\x32\x01?\x38\x07\x3d\0\0\0\0").unwrap();
    assert_eq!((envelope.message_seq_no, envelope.method_name(), &*envelope.payload), (2, "m", &b"x"[..]));
    // An OK status that is there, as at the end of a streaming call, is not an absent one.
    let end = decode(b"\x08\x01\x1a\0").unwrap();
    assert_eq!(end.status, Some(RpcStatus::default()));
    assert_eq!(end.encode_to_vec(), b"\x08\x01\x1a\0");
    // A code that gRPC does not know.
    assert_eq!(decode(b"\x1a\x02\x08\x63").unwrap().status.unwrap().to_status().code(), Code::Unknown);
}

#[test]
fn an_empty_message_is_a_message() {
    let read = read_stream([Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0]), Bytes::from_static(&[0])]);
    assert_eq!(read, Ok(vec![Bytes::new(), Bytes::new()]));
}

#[test]
fn what_is_no_envelope_is_refused() {
    let cases: [(&str, &[u8]); 9] = [
        ("a field number of 0", b"\x00\x01"),
        ("an id that is text", b"\x0a\x01x"),
        ("a method that is a number", b"\x10\x01"),
        ("a length beyond the end", b"\x2a\x05xx"),
        ("a length of 2^64 - 1", b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("a varint without an end", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("the end of a group that did not begin", b"\x0c"),
        ("a group without an end", b"\x3b"),
        ("a status that is none", b"\x1a\x02\x0a\x05"),
    ];
    for (what, bytes) in cases {
        let decoded = Envelope::from_message(Bytes::from_static(bytes));
        assert!(matches!(decoded, Err(DecodeError::Malformed(_))), "{what}: {decoded:?}");
    }
    let decoded = Envelope::from_message(Bytes::from_static(b"\x12\x02\xff\xfe"));
    assert_eq!(decoded, Err(DecodeError::Method));
    // Deeply nested groups end in an error, not in a stack overflow.
    assert!(Envelope::from_message(vec![0x3b; 1 << 20].into()).is_err());
}

/// Reads a message in every way the runtime does. True if it is an envelope.
fn is_read(message: Bytes) -> bool {
    let Ok(envelope) = Envelope::from_message(message) else {
        return false;
    };
    let _ = (envelope.method_name(), envelope.timeout(), Envelope::metadata(&envelope.entry));
    if let Some(status) = &envelope.status {
        let _ = RpcStatus::from_status(&status.to_status());
    }
    // What was read can be written, and is the same when it is read again.
    assert_eq!(Envelope::from_message(envelope.encode_to_vec().into()), Ok(envelope));
    true
}

/// The messages in pieces of a stream.
/// A message that is too long is skipped, wherever the data is cut, and those around it are read.
#[test]
fn what_is_too_long_is_skipped() {
    let framed = |len: usize, byte: u8| {
        let mut data = vec![0];
        data.extend_from_slice(&(len as u32).to_be_bytes());
        data.resize(5 + len, byte);
        data
    };
    let limit = 100;
    let stream =
        [framed(3, 1), framed(limit + 1, 2), framed(limit, 3), framed(1_000, 4), framed(0, 0)].concat();
    for piece in [1, 4, 5, 6, 69, 70, 71, 200, 5_000] {
        let mut messages = Messages::new(limit);
        let (mut whole, mut skipped) = (Vec::new(), Vec::new());
        for data in stream.chunks(piece) {
            messages.add(Bytes::copy_from_slice(data));
            while let Some(cut) = messages.next_cut().unwrap() {
                match cut {
                    Cut::Message(message) => whole.push(message.len()),
                    Cut::TooLong { head, len, limit: 100 } => skipped.push((head.len(), head[0], len)),
                    Cut::TooLong { limit, .. } => panic!("{limit}"),
                }
            }
        }
        assert_eq!(
            (whole, skipped),
            (vec![3, 100, 0], vec![(64, 2, 101), (64, 4, 1_000)]),
            "pieces of {piece}"
        );
    }
    let mut messages = Messages::new(2);
    messages.add(framed(7, 9).into());
    let cut = messages.next_cut().unwrap().unwrap();
    assert_eq!(cut, Cut::TooLong { head: Bytes::from_static(&[9; 7]), len: 7, limit: 2 });
    assert_eq!(messages.next_cut(), Ok(None));
    messages.add(framed(128, 0).into());
    assert_eq!(messages.next_cut(), Err(FrameError::TooLong { len: 128, limit: 2 }));
}

fn read_stream(pieces: impl IntoIterator<Item = Bytes>) -> Result<Vec<Bytes>, FrameError> {
    let mut messages = Messages::new(LIMIT);
    let mut read = Vec::new();
    for piece in pieces {
        messages.add(piece);
        while let Some(message) = messages.next_message()? {
            read.push(message);
        }
    }
    Ok(read)
}

fn short_vectors() -> impl Strategy<Value = Vector> {
    select(recorded()).prop_map(|mut vector| {
        // The long message only makes a failing case hard to look at.
        vector.bytes.truncate(vector.bytes.len().min(200));
        vector.prefix[1..].copy_from_slice(&(vector.bytes.len() as u32).to_be_bytes());
        vector
    })
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Double(Index, Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << (bit % 8);
            }
            Self::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            Self::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Self::Double(from, to) => {
                let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                let part = bytes[from.min(to)..=from.max(to)].to_vec();
                bytes.splice(to..to, part);
            }
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let mutation = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Double(from, to)),
    ];
    prop::collection::vec(mutation, 1..6)
}

#[test]
fn every_truncation_is_an_error_or_an_envelope() {
    let (mut envelopes, mut errors) = (0, 0);
    for vector in recorded() {
        for len in 0..vector.bytes.len().min(300) {
            if is_read(vector.bytes.slice(..len)) { envelopes += 1 } else { errors += 1 }
        }
        for len in 0..vector.framed().len().min(300) {
            assert_eq!(
                read_stream([vector.framed()[..len].to_vec().into()]),
                Ok(Vec::new()),
                "cut to {len} bytes"
            );
        }
    }
    // A cut between fields leaves an envelope: each message has some such places and more others.
    assert!(envelopes > 100 && errors > 10 * envelopes, "{envelopes} {errors}");
}

#[test]
fn every_single_bit_error_is_an_error_or_an_envelope() {
    for vector in recorded() {
        for bit in 0..8 * vector.framed().len().min(300) {
            let mut framed = vector.framed();
            framed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(messages) = read_stream([framed.into()]) {
                for message in messages {
                    is_read(message);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_mutated_message_is_an_error_or_an_envelope(vector in short_vectors(), mutations in mutations()) {
        let mut bytes = vector.bytes.to_vec();
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        is_read(bytes.into());
    }

    #[test]
    fn a_mutated_stream_is_an_error_or_messages(
        vectors in prop::collection::vec(short_vectors(), 1..5),
        mutations in mutations(),
        cuts in prop::collection::vec(1..300_usize, 1..10),
    ) {
        let mut stream = vectors.iter().flat_map(Vector::framed).collect::<Vec<_>>();
        for mutation in &mutations {
            mutation.apply(&mut stream);
        }
        let whole = read_stream([Bytes::from(stream.clone())]);
        let pieces = read_stream(cut_up(stream.into(), &cuts));
        if let Ok(messages) = &whole {
            for message in messages {
                is_read(message.clone());
            }
        }
        // However it came, the same is read, and the same is wrong.
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn however_the_recording_is_cut_the_same_messages_come_out(
        by_client: bool,
        cuts in prop::collection::vec(prop_oneof![1..20_usize, 1..200_usize, 1..20_000_usize], 1..40),
    ) {
        let sent: Vec<_> = recorded().into_iter().filter(|vector| vector.by_client == by_client).collect();
        let stream = sent.iter().flat_map(Vector::framed).collect::<Vec<_>>();
        let read = read_stream(cut_up(stream.into(), &cuts)).unwrap();
        prop_assert_eq!(read, sent.into_iter().map(|vector| vector.bytes).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_an_error_or_an_envelope(bytes: Vec<u8>) {
        is_read(bytes.into());
    }
}

fn cut_up(mut stream: Bytes, cuts: &[usize]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        pieces.push(stream.split_to((*cut).min(stream.len())));
    }
    pieces
}
