//! What all contenders send.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A request.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
pub(crate) struct Request {
    /// How long the reply is to be, in bytes; the payload is sent back if it is as long.
    #[prost(uint32, tag = "1")]
    pub(crate) reply_bytes: u32,
    /// How many replies a streaming call is to give.
    #[prost(uint32, tag = "2")]
    pub(crate) updates: u32,
    /// Any bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) payload: Bytes,
}

/// A reply.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
pub(crate) struct Reply {
    /// As many bytes as were asked for.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) payload: Bytes,
}

/// The longest reply that can be asked for, in bytes.
pub(crate) const MAX_REPLY: usize = 4 << 20;

impl Request {
    /// What every contender's server answers. No bytes are copied.
    pub(crate) fn reply(self) -> Reply {
        Reply { payload: answer(self.payload, self.reply_bytes) }
    }
}

/// The payload itself, if it is to be as long as that, and else other bytes.
pub(crate) fn answer(payload: Bytes, reply_bytes: u32) -> Bytes {
    static BYTES: [u8; MAX_REPLY] = [7; MAX_REPLY];
    let len = (reply_bytes as usize).min(MAX_REPLY);
    if len == payload.len() { payload } else { Bytes::from_static(&BYTES[..len]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_as_long_as_asked_for() {
        for (len, reply_bytes, expected) in
            [(16, 16, 16), (16, 0, 0), (0, 1_000, 1_000), (3, u32::MAX, MAX_REPLY)]
        {
            let request = Request { reply_bytes, updates: 0, payload: vec![1; len].into() };
            assert_eq!(request.reply().payload.len(), expected);
        }
    }

    #[test]
    fn a_payload_that_is_sent_back_is_not_copied() {
        let payload = Bytes::from(vec![1; 100]);
        assert_eq!(answer(payload.clone(), 100).as_ptr(), payload.as_ptr());
    }
}
