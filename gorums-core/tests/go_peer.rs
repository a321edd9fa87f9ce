//! Peers that behave on the wire like Go nodes, towards our client and towards our server.
//!
//! They are written on HTTP/2 itself and know nothing of the runtime's transport; what they send and expect
//! is the recording in `vectors/recorded.txt`.
#![allow(clippy::unwrap_used)]

#[path = "go_peer/client.rs"]
mod client;
mod common;
#[path = "go_peer/our_client.rs"]
mod our_client;
#[path = "go_peer/our_server.rs"]
mod our_server;
#[path = "go_peer/refusals.rs"]
mod refusals;
#[path = "go_peer/server.rs"]
mod server;
#[path = "go_peer/storage.rs"]
mod storage;
mod vectors;

use bytes::BufMut;

/// The longest frame and the longest message of grpc-go.
const FRAME: usize = 16_384;
const LIMIT: usize = 4 << 20;
const RECORDED_CALLS: [u32; 14] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed
}

/// The fields of an envelope as they are on the wire: number, and all bytes of it.
fn fields(mut message: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut fields = Vec::new();
    while let Some(&key) = message.first() {
        let mut rest = &message[1..];
        let number = prost::decode_length_delimiter(&mut rest).unwrap();
        let len = message.len() - rest.len() + if key & 7 == 2 { number } else { 0 };
        fields.push((key >> 3, message[..len].to_vec()));
        message = &message[len..];
    }
    fields
}

/// A recorded message with another id.
fn with_id(message: &[u8], id: u64) -> Vec<u8> {
    let mut fields = fields(message);
    let mut own = vec![0x08];
    prost::encode_length_delimiter(id as usize, &mut own).unwrap();
    fields[0].1 = own;
    fields.into_iter().flat_map(|(_, field)| field).collect()
}

/// What no node may send, each by a name.
fn bad_bytes() -> [(&'static str, Vec<u8>); 5] {
    [
        ("compressed", vec![1, 0, 0, 0, 1, 0]),
        ("too long", vec![0, 0xff, 0xff, 0xff, 0xff]),
        ("a little too long, and of nobody", [&[0, 0, 0x40, 0, 1][..], &[0xff; 64]].concat()),
        ("no envelope", framed(&[0x0a, 1, 0])),
        ("a method that is not UTF-8", framed(&[8, 1, 0x12, 1, 0xff])),
    ]
}
