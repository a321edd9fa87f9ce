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
    let status =
        (any::<i32>(), bytes()).prop_map(|(code, message)| RpcStatus { code, message, details: Vec::new() });
    let method = prop_oneof![9 => "[a-z.]{0,20}".prop_map(Bytes::from), 1 => bytes()];
    (any::<u64>(), method, prop::option::of(status), prop::collection::vec(entry, 0..5), bytes()).prop_map(
        |(message_seq_no, method, status, entry, payload)| Envelope {
            message_seq_no,
            method,
            status,
            entry,
            payload,
        },
    )
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
    fn what_gorums_writes_is_read_the_short_way(
        id in 1..u64::MAX,
        method in "[a-z.]{8,100}",
        millis in prop::option::of(any::<u32>()),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let timeout = millis.map(|millis| Duration::from_millis(u64::from(millis)));
        let outline = wire::Outline::request(id, &method, timeout, None);
        let mut buf = bytes::BytesMut::new();
        wire::encode(&mut buf, &outline, payload.len(), |buf| buf.extend_from_slice(&payload));
        prop_assert_eq!(buf.len(), outline.encoded_len(payload.len()));
        let mut message = buf.split_off(wire::PREFIX);
        prop_assert!(usual::parse(&message).is_some());
        compare(&message.clone().freeze())?;
        if let Some((index, byte)) = change {
            let index = index.index(message.len());
            message[index] = byte;
            compare(&message.freeze())?;
        }
    }

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
