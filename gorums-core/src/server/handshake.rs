//! From an accepted byte stream to an HTTP/2 connection, in bounded time.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::time::{Instant, timeout, timeout_at};

use crate::server::Shared;
use crate::transport::{
    self, Activity, BoxedIo, PeerCertificates, Secured, ServerConnection, TransportError, Unsecured,
};

/// How long a client may take to read why it was refused.
const LINGER: Duration = Duration::from_secs(1);

/// A connection, and who is at its other end.
pub(super) struct Accepted {
    /// Boxed, as it is large and moves through several futures, each of which would have room for it.
    pub(super) connection: Box<ServerConnection>,
    pub(super) activity: Activity,
    pub(super) certificates: Option<PeerCertificates>,
}

/// Why there is no connection.
pub(super) struct Refused {
    pub(super) error: TransportError,
    /// The client has not sent a byte and gone, as who only looks whether somebody listens does.
    pub(super) only_looked: bool,
}

/// Secures a byte stream and lets HTTP/2 begin on it, all of it within the handshake timeout.
pub(super) async fn accept(server: &Shared, io: BoxedIo) -> Result<Accepted, Refused> {
    let (io, activity) = transport::watch(io, &server.security);
    let limit = server.options.handshake_timeout;
    let end = Instant::now() + limit;
    let late = |_| TransportError::HandshakeTimeout(limit);
    let refused = |error| {
        let waited = matches!(error, TransportError::HandshakeTimeout(_));
        Refused { error, only_looked: !waited && activity.signs() == 0 }
    };
    let secured =
        timeout_at(end, server.security.secure(io)).await.map_err(|elapsed| refused(late(elapsed)))?;
    let Secured { io, certificates } = match secured {
        Ok(secured) => secured,
        Err(Unsecured { error, io }) => {
            linger(io).await;
            return Err(refused(error));
        }
    };
    let options = server.pool.options().transport;
    let streams = server.options.max_streams;
    // What a slow gRPC service has not read must not keep the node stream of its client from receiving.
    let window =
        if server.has_grpc_services() { transport::window_of(streams) } else { transport::CONNECTION_WINDOW };
    let accepting = transport::accept(io, streams, options.max_metadata_size, window);
    let connection = timeout_at(end, accepting).await.map_err(late).and_then(|accepted| accepted);
    let connection = connection.map_err(refused)?;
    Ok(Accepted { connection: Box::new(connection), activity, certificates })
}

/// Lets the client read the last that was written: closing a socket that holds unread bytes would tear that away.
async fn linger(mut io: BoxedIo) {
    let read_out = async {
        if io.shutdown().await.is_ok() {
            let _ = copy(&mut io, &mut sink()).await;
        }
    };
    let _ = timeout(LINGER, read_out).await;
}
