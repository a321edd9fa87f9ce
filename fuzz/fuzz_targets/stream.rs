//! The data of a stream: however it is cut into pieces, the same messages come out, or the same error.
//!
//! The first byte of the input is a number of cuts, the bytes after it are their lengths, which are used over
//! and over, and the rest is the stream.
#![no_main]

use bytes::Bytes;
use gorums_core::wire::{Envelope, FrameError, Messages};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((&count, rest)) = data.split_first() else {
        return;
    };
    let Some((cuts, stream)) = rest.split_at_checked(count.into()) else {
        return;
    };
    let stream = Bytes::copy_from_slice(stream);
    let (whole, end) = read([stream.clone()]);
    assert_eq!(read(pieces(stream.clone(), cuts)), (whole.clone(), end));
    let read: usize = whole.iter().map(|message| message.len() + 5).sum();
    assert!(read <= stream.len() && whole.iter().all(|message| message.len() <= LIMIT));
    for message in whole {
        if let Ok(envelope) = Envelope::from_message(message) {
            let _ = (envelope.method_name(), envelope.timeout(), Envelope::metadata(&envelope.entry));
            let _ = envelope.status.map(|status| status.to_status());
        }
    }
});

/// The messages, and what ended the stream, if it did not just stop.
fn read(pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Bytes>, Option<FrameError>) {
    let mut messages = Messages::new(LIMIT);
    let mut read = Vec::new();
    for piece in pieces {
        messages.add(piece);
        loop {
            match messages.next_message() {
                Ok(Some(message)) => read.push(message),
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
    }
    (read, None)
}

fn pieces(mut stream: Bytes, cuts: &[u8]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for &cut in cuts.iter().cycle() {
        if stream.is_empty() {
            return pieces;
        }
        pieces.push(stream.split_to(usize::from(cut).max(1).min(stream.len())));
    }
    pieces.push(stream);
    pieces
}
