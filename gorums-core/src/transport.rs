//! The transport: a duplex of byte batches over one HTTP/2 stream.
//!
//! Straight on the `h2` crate, below tonic's codec: a batch of messages is one DATA frame, what is received
//! is handed on as it is, and it is known what has left the queues. ARCHITECTURE.md has the reasons and the
//! figures. Nothing outside this module and [`channel::driver`](crate::channel::driver) knows of HTTP/2.

mod activity;
mod certificates;
mod connector;
mod duplex;
mod security;
#[cfg(feature = "tls")]
pub(crate) mod tls;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Version};

pub(crate) use self::activity::Activity;
pub use self::certificates::PeerCertificates;
pub use self::connector::{BoxedIo, Connector, Io, TcpConnector};
pub(crate) use self::duplex::{Duplex, Received};
pub(crate) use self::security::{ClientSecurity, Secured, ServerSecurity, Unsecured};
use crate::id::NodeId;
use crate::wire;

/// The window of each stream: how much may be on its way, or wait for a busy handler.
const STREAM_WINDOW: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
const MAX_FRAME: u32 = 1 << 20;
/// How much h2 keeps for a peer that does not read: a batch, and what is kept free for replies.
const SEND_BUFFER: usize = 2 << 20;
/// h2 counts 256 bytes less its size for each small DATA frame that waits to be read, and closes the
/// connection when this is used up. A Go peer sends each message as a frame of its own, so a full stream
/// window of its smallest messages, of some 20 bytes, has to fit.
const SMALL_FRAME_BUDGET: usize = 64 << 20;
/// The headers that a client takes from a server: a status has some kilobytes of text at the most.
const MAX_RESPONSE_HEADERS: u32 = 64 << 10;

/// The settings of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransportOptions {
    /// A ping is sent this often, also when the connection is idle.
    pub(crate) keepalive_interval: Duration,
    /// A connection whose peer does not answer a ping for so long is dead.
    pub(crate) keepalive_timeout: Duration,
    /// The longest message that is accepted, in bytes.
    pub(crate) max_message_size: usize,
    /// The largest metadata that is accepted, of a stream and of each message, counted as HTTP/2 counts headers.
    pub(crate) max_metadata_size: usize,
    /// While so many handlers of a stream run, released or not, no more are started.
    pub(crate) max_concurrent_requests: usize,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(3),
            max_message_size: 4 << 20,
            max_metadata_size: 16 << 10,
            max_concurrent_requests: 1024,
        }
    }
}

/// Why a connection could not be made, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("the client has not shown within {0:?} that it speaks the protocol")]
    HandshakeTimeout(Duration),
    #[error("the connection had no node stream for {0:?}")]
    Unused(Duration),
    #[cfg(feature = "tls")]
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
    #[error("{0}")]
    Http2(#[from] h2::Error),
    #[error("the server has no node stream (HTTP status {0}); is it a gorums server?")]
    NotGorums(http::StatusCode),
    #[error("the server refused the node stream: {0}")]
    Refused(String),
    /// Before its first message, which need not be before it has handled requests: a Go server has no headers to send
    /// until then.
    #[error("the server ended the node stream: {0}")]
    EndedBy(String),
    #[error("the peer closed the stream")]
    Ended,
    #[error("the client has opened a newer stream")]
    Superseded,
    #[error("no answer to a keepalive ping within {0:?}")]
    KeepaliveTimeout(Duration),
    #[error("{0}")]
    Frame(#[from] wire::FrameError),
    #[error("{0}")]
    Message(#[from] wire::DecodeError),
    #[error("the address makes no valid authority: {0}")]
    Address(#[from] http::Error),
}

impl TransportError {
    /// The peer has answered with something else than a node stream.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::NotGorums(_) | Self::Refused(_) | Self::EndedBy(_))
    }

    /// The peer is certain to have taken no request, although some were sent.
    pub(crate) fn took_nothing(&self) -> bool {
        match self {
            Self::NotGorums(status) => is_about_head(*status),
            Self::Refused(_) => true,
            _ => false,
        }
    }

    /// What a client whose messages cannot be read is told.
    pub(crate) fn status(&self) -> Option<tonic::Status> {
        match self {
            Self::Frame(error @ wire::FrameError::TooLong { .. }) => {
                Some(tonic::Status::resource_exhausted(error.to_string()))
            }
            Self::Frame(error) => Some(tonic::Status::internal(error.to_string())),
            Self::Message(error) => Some(tonic::Status::internal(error.to_string())),
            _ => None,
        }
    }

    /// The peer wants fewer keepalive pings, as a gRPC server with an enforcement policy does.
    pub(crate) fn is_too_many_pings(&self) -> bool {
        matches!(self, Self::Http2(error) if error.is_go_away() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
    }
}

pub(crate) type ClientConnection = h2::client::Connection<BoxedIo, bytes::Bytes>;
pub(crate) type ServerConnection = h2::server::Connection<BoxedIo, bytes::Bytes>;

/// What a client opens a node stream with.
pub(crate) struct Opening<'a> {
    /// The node that is dialled, and where.
    pub(crate) node: NodeId,
    pub(crate) address: &'a str,
    pub(crate) security: &'a ClientSecurity,
    /// What the user has given.
    pub(crate) headers: &'a HeaderMap,
    /// Tells this client's streams from those of others.
    pub(crate) opened_by: HeaderValue,
    /// The client's id, if it can be called back.
    pub(crate) claim: Option<HeaderValue>,
}

/// A node stream, and the connection that it is on.
pub(crate) struct Opened {
    pub(crate) duplex: Duplex,
    /// Boxed, as it is large and moves through the futures of dialling and running, each of which would have room for it.
    pub(crate) connection: Box<ClientConnection>,
    pub(crate) activity: Activity,
    pub(crate) certificates: Option<PeerCertificates>,
}

/// Opens a node stream over a new connection. The connection has to be polled for anything to happen.
pub(crate) async fn open(io: BoxedIo, opening: Opening<'_>) -> Result<Opened, TransportError> {
    let Opening { node, address, security, headers, opened_by, claim } = opening;
    let (io, activity) = activity::watch(io, security.is_plain());
    let Secured { io, certificates } = security.secure(io, address, node).await?;
    let (mut client, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAME_BUDGET)
        .max_header_list_size(MAX_RESPONSE_HEADERS)
        .enable_push(false)
        .handshake(io)
        .await?;
    let uri = http::Uri::builder().scheme(security.scheme()).authority(address);
    let uri = uri.path_and_query(wire::NODE_STREAM).build()?;
    let mut request = Request::post(uri).version(Version::HTTP_2).body(())?;
    *request.headers_mut() = headers.clone();
    let announced = request.headers_mut();
    announced.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    announced.insert(http::header::TE, HeaderValue::from_static("trailers"));
    announced.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    announced.insert(wire::FEATURES, HeaderValue::from_static(OFFERED_FEATURES));
    announced.insert(wire::CLIENT, opened_by);
    if let Some(claim) = claim {
        announced.insert(wire::NODE_ID, claim);
    }
    let (response, sink) = client.send_request(request, false)?;
    let duplex = Duplex::opened(sink, response);
    Ok(Opened { duplex, connection: Box::new(connection), activity, certificates })
}

const USER_AGENT: &str = concat!("gorums-rust/", env!("CARGO_PKG_VERSION"));

/// What this end offers in either direction.
pub(crate) const OFFERED_FEATURES: &str = "cancel,end,window";

/// Whether an HTTP status says that a request was turned away for its head, which is before its body is handed to anybody.
/// Others may be a proxy's that has waited for the node in vain.
fn is_about_head(status: http::StatusCode) -> bool {
    use http::StatusCode as Http;
    matches!(
        status,
        Http::UNAUTHORIZED
            | Http::FORBIDDEN
            | Http::NOT_FOUND
            | Http::METHOD_NOT_ALLOWED
            | Http::UNSUPPORTED_MEDIA_TYPE
            | Http::REQUEST_HEADER_FIELDS_TOO_LARGE
    )
}

/// Whether a peer's headers announce a feature.
pub(crate) fn announces(headers: &HeaderMap, feature: &str) -> bool {
    let lists = headers.get_all(wire::FEATURES).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|announced| announced.trim() == feature)
}

/// Watches an accepted byte stream, before it is secured.
pub(crate) fn watch(io: BoxedIo, security: &ServerSecurity) -> (BoxedIo, Activity) {
    activity::watch(io, security.is_plain())
}

/// The window of a connection on which the windows of so many streams may be full, and none of them be kept from
/// receiving by the others.
pub(crate) fn window_of(streams: u32) -> u32 {
    const MAX: u32 = i32::MAX as u32;
    STREAM_WINDOW.saturating_mul(streams).clamp(CONNECTION_WINDOW, MAX)
}

/// Accepts a connection over a byte stream that is secured, with a window for all its streams together.
pub(crate) async fn accept(
    io: BoxedIo,
    max_streams: u32,
    max_metadata_size: usize,
    window: u32,
) -> Result<ServerConnection, TransportError> {
    let connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .max_frame_size(MAX_FRAME)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAME_BUDGET)
        .max_concurrent_streams(max_streams)
        .max_header_list_size(u32::try_from(max_metadata_size).unwrap_or(u32::MAX))
        .handshake(io)
        .await?;
    Ok(connection)
}
