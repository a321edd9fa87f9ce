//! The wire format: what one message on a node stream looks like.
//!
//! A node stream is a gRPC bidirectional stream (`/stream.Gorums/NodeStream`). Each gRPC message is one
//! [`Envelope`] behind the usual prefix of five bytes: a 0 (not compressed) and the length, big-endian.
//! The format is that of Go Gorums. Two additions are invisible to it: the remaining time of a request
//! travels as the metadata entry `grpc-timeout`, and what both ends have announced with the header
//! [`FEATURES`] may be used on the stream.

mod envelope;
mod message;
mod messages;
mod timeout;

pub use self::envelope::{DecodeError, Entry, Envelope, RpcStatus};
pub(crate) use self::envelope::{Outline, encode, encode_status};
pub(crate) use self::message::Message;
pub use self::messages::{Cut, FrameError, Messages};
#[cfg(feature = "grpc")]
pub(crate) use self::timeout::{TIMEOUT, parse as parse_timeout};

/// The path of the gRPC method that carries a node stream.
pub const NODE_STREAM: &str = "/stream.Gorums/NodeStream";

/// The header, of the request and of the response, that lists optional features, separated by commas. A response that has
/// it and a status refuses the stream, and no request on it was handled; without it, a status may be the end of a stream
/// that was served.
pub const FEATURES: &str = "gorums-features";

/// The feature `cancel`: a request that is given up is followed by a message of its id with the method
/// [`CANCEL`].
pub const FEATURE_CANCEL: &str = "cancel";

/// The feature `end`: the replies of a streaming call end with a message that has the status OK.
pub const FEATURE_END: &str = "end";

/// The feature `window`: this end grants its peer a window of 4 MiB for the stream, so that the peer can keep a part of
/// it free for replies. A peer with the small window of HTTP/2's default could not.
pub const FEATURE_WINDOW: &str = "window";

/// The header in which a client that dials again and again says that it is the same one, and which dial this is:
/// `<name>-<number>`, with numbers that rise. A server that knows it does not serve an older stream beside a newer one.
pub const CLIENT: &str = "gorums-client";

/// The header in which a client says that it can be called back: its id, or 0 if it has none.
pub const NODE_ID: &str = "gorums-node-id";

/// The method of a cancellation message.
pub const CANCEL: &str = "gorums.Cancel";

/// The length of the prefix of a gRPC message.
pub(crate) const PREFIX: usize = 5;

/// How much longer a reply is than its payload, at the most.
pub(crate) const fn overhead(method: &str) -> usize {
    method.len() + 4 * 11
}

/// The status of a request whose method is not known.
pub(crate) fn no_handler(method: &str) -> RpcStatus {
    RpcStatus::from_status(&tonic::Status::unimplemented(format!(
        "no handler registered for method {method}"
    )))
}

/// What the caller of a request gets for a status.
pub(crate) fn incoming_status(status: &RpcStatus) -> crate::router::entry::Incoming {
    use crate::error::{Fault, NodeErrorKind};
    use crate::router::entry::Incoming;
    if status.code == 0 {
        Incoming::End
    } else {
        Incoming::Failure(Fault::sent(NodeErrorKind::Status(status.to_status()), None))
    }
}
