//! One accepted connection: its node streams, and its keepalive.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::timeout;
use tonic::metadata::MetadataMap;

use crate::channel::driver::{Driver, End};
use crate::channel::keepalive::Keepalive;
use crate::channel::queue::Queue;
use crate::channel::{Channel, Connectivity};
use crate::error::{Fault, NodeErrorKind, Source};
use crate::id::Initiator;
use crate::router::MessageRouter;
use crate::server::Shared;
use crate::server::dispatch::Dispatcher;
use crate::server::fence::Fence;
use crate::server::registry::{Claim, Place};
use crate::server::session::{Peer, Session, Way};
use crate::transport::{self, BoxedIo, Duplex, OFFERED_FEATURES, ServerConnection, TransportError};
use crate::wire;

/// An accepted stream has a channel of its own.
const EPOCH: u32 = 0;

/// Serves a connection until it ends.
pub(crate) async fn serve(server: Arc<Shared>, io: BoxedIo, address: Option<SocketAddr>) {
    if let Err(error) = run(&server, io, address).await {
        tracing::debug!(peer = ?address, %error, "connection ended");
    }
}

async fn run(server: &Arc<Shared>, io: BoxedIo, address: Option<SocketAddr>) -> Result<(), TransportError> {
    let limit = server.options.handshake_timeout;
    let handshake = transport::accept(io, server.options.max_streams);
    let (mut connection, activity) =
        timeout(limit, handshake).await.map_err(|_| TransportError::ConnectTimeout(limit))??;
    let mut keepalive = connection.ping_pong().map(|pings| {
        let options = server.pool.options().transport;
        Keepalive::new(pings, activity, options.keepalive_interval, options.keepalive_timeout)
    });
    let mut draining = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = server.stopping.cancelled(), if !draining => {
                draining = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = next(&mut connection, &mut keepalive) => accepted?,
        };
        let Some((request, respond)) = accepted else { return Ok(()) };
        accept_stream(server, request, respond, address)?;
    }
}

type Accepted = (Request<RecvStream>, SendResponse<bytes::Bytes>);

/// The next stream; `None` when the connection has ended in good order.
async fn next(
    connection: &mut ServerConnection,
    keepalive: &mut Option<Keepalive>,
) -> Result<Option<Accepted>, TransportError> {
    poll_fn(|cx| {
        if let Some(keepalive) = keepalive
            && let Poll::Ready(error) = keepalive.poll_dead(cx)
        {
            return Poll::Ready(Err(error));
        }
        match connection.poll_accept(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Ready(Some(accepted)) => Poll::Ready(accepted.map(Some).map_err(Into::into)),
        }
    })
    .await
}

fn accept_stream(
    server: &Arc<Shared>,
    request: Request<RecvStream>,
    mut respond: SendResponse<bytes::Bytes>,
    address: Option<SocketAddr>,
) -> Result<(), TransportError> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(());
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some((status, grpc)) = refusal(&head.method, head.uri.path()) {
        *response.status_mut() = status;
        if let Some(grpc) = grpc {
            // A header map has room for the three headers of a status.
            let _ = grpc.add_header(response.headers_mut());
        }
        respond.send_response(response, true)?;
        return Ok(());
    }
    let Some(fence) = server.fences.enter(&head.headers) else {
        respond.send_reset(Reason::REFUSED_STREAM);
        return Ok(());
    };
    response.headers_mut().insert(wire::FEATURES, HeaderValue::from_static(OFFERED_FEATURES));
    let sink = respond.send_response(response, false)?;
    let stream = NodeStream::new(server, head.headers, fence, address, Duplex::accepted(sink, body));
    server.tasks.spawn_stream(stream.run(server.clone()));
    Ok(())
}

/// Why a request is no node stream.
fn refusal(method: &Method, path: &str) -> Option<(StatusCode, Option<tonic::Status>)> {
    if path != wire::NODE_STREAM {
        let status = tonic::Status::unimplemented(format!("no service at {path}"));
        return Some((StatusCode::OK, Some(status)));
    }
    (method != Method::POST).then_some((StatusCode::METHOD_NOT_ALLOWED, None))
}

/// A node stream that a client has opened.
struct NodeStream {
    driver: Driver,
    session: Arc<Session>,
    channel: Arc<Channel>,
    fence: Fence,
    place: Place,
}

impl NodeStream {
    fn new(
        server: &Shared,
        headers: HeaderMap,
        fence: Fence,
        address: Option<SocketAddr>,
        duplex: Duplex,
    ) -> Self {
        let name = address.map_or_else(|| "unknown".into(), |address| address.to_string());
        let limits = server.pool.options().limits;
        let claim = Claim::of(&headers);
        let place =
            server.registry.enter(claim, |id| Channel::new(server.pool.clone(), id, name.into(), limits));
        let channel = place.channel().clone();
        channel.set_connectivity(Connectivity::Up);
        let node = place.node().cloned();
        let metadata = MetadataMap::from_headers(headers.clone());
        let peer = Peer { address, metadata, node, ..Peer::default() };
        let session = Session::new(
            peer,
            Way::Stream(channel.clone()),
            server.tasks.clone(),
            Some(server.registry.clone()),
        );
        let dispatcher = Dispatcher::new(server.services.clone(), session.clone());
        let router = MessageRouter::new(channel.clone(), Initiator::Server, Some(dispatcher));
        let mut driver = Driver::new(duplex, channel.clone(), EPOCH, router);
        driver.announced(&headers);
        Self { driver, session, channel, fence, place }
    }

    async fn run(mut self, server: Arc<Shared>) {
        self.fence.wait().await;
        let end = tokio::select! {
            biased;
            () = self.fence.superseded() => End::Lost(TransportError::Superseded),
            end = drive(&mut self.driver, &self.channel, &server) => end,
        };
        drop(self.place);
        end_calls(&self.channel, &end);
        self.session.close();
        if let End::Lost(error) = end {
            tracing::debug!(peer = %self.channel.address(), %error, "node stream ended");
        }
        let (_, router) = self.driver.into_parts();
        if let Some(dispatcher) = router.detach() {
            dispatcher.finish().await;
        }
    }
}

/// Runs a stream to its end, in good order if the server shuts down.
async fn drive(driver: &mut Driver, channel: &Channel, server: &Shared) -> End {
    let run = poll_fn(|cx| driver.poll(cx));
    tokio::pin!(run);
    tokio::select! {
        biased;
        end = &mut run => end,
        () = server.stopping.cancelled() => {
            channel.close();
            run.await
        }
    }
}

/// Ends the calls that were made to the client: only it can connect again.
fn end_calls(channel: &Channel, end: &End) {
    channel.close();
    channel.set_connectivity(Connectivity::Closed);
    let (unsent, lost, source) = match end {
        End::Closed => (NodeErrorKind::Closed, NodeErrorKind::Closed, None),
        End::Lost(error) => {
            let source: Source = Arc::new(std::io::Error::other(error.to_string()));
            (NodeErrorKind::Unavailable, NodeErrorKind::ConnectionLost, Some(source))
        }
    };
    let failed = channel.with_queue(Queue::clear);
    channel.fail_unsent(failed, &unsent, source.as_ref());
    channel.pool().pending().fail_sent(channel.ordinal(), EPOCH, &Fault::sent(lost, source));
}
