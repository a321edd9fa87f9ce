//! One accepted connection: its node streams, and its keepalive.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;

use crate::channel::driver::{Driver, End};
use crate::channel::keepalive::Keepalive;
use crate::channel::queue::Queue;
use crate::channel::{Channel, Connectivity};
use crate::error::{Fault, NodeErrorKind, Source};
use crate::id::Initiator;
use crate::parts::{Part, Parts};
use crate::router::MessageRouter;
use crate::server::connect::ConnectRequest;
use crate::server::dispatch::Dispatcher;
use crate::server::fence::Fence;
#[cfg(feature = "grpc")]
use crate::server::grpc::{Call, GrpcPeer};
use crate::server::handshake::{self, Accepted, Refused};
use crate::server::registry::{Claim, Place};
use crate::server::session::{Peer, Session, Way};
use crate::server::{Shared, identity};
use crate::transport::{BoxedIo, Duplex, OFFERED_FEATURES, PeerCertificates, TransportError};
use crate::wire;

/// The parts of the task of a connection, in order.
const STOPPING: usize = 0;
const KEEPALIVE: usize = 1;
const CONNECTION: usize = 2;
const UNUSED: usize = 3;

/// An accepted stream has a channel of its own.
const EPOCH: u32 = 0;

/// Who is at the other end of a connection.
#[derive(Clone)]
struct Client {
    address: Option<SocketAddr>,
    certificates: Option<PeerCertificates>,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(server: Arc<Shared>, io: BoxedIo, address: Option<SocketAddr>) {
    // Boxed, so that what it takes is free again when it is done.
    match Box::pin(handshake::accept(&server, io)).await {
        Ok(accepted) => {
            if let Err(error) = run(&server, accepted, address).await {
                tracing::debug!(peer = ?address, %error, "connection ended");
            }
        }
        Err(Refused { error, only_looked: true }) => {
            tracing::debug!(peer = ?address, %error, "connection ended");
        }
        Err(Refused { error, only_looked: false }) => server.refusals.log(address, error),
    }
}

async fn run(
    server: &Arc<Shared>,
    accepted: Accepted,
    address: Option<SocketAddr>,
) -> Result<(), TransportError> {
    let Accepted { mut connection, activity, certificates } = accepted;
    let mut keepalive = connection.ping_pong().map(|pings| {
        let options = server.pool.options().transport;
        Keepalive::new(pings, activity, options.keepalive_interval, options.keepalive_timeout)
    });
    let client = Client { address, certificates };
    let streams = TaskTracker::new();
    streams.close();
    let limit = server.options.handshake_timeout;
    let mut unused = pin!(unused(&streams, limit));
    let mut stopping = pin!(server.stopping.cancelled().fuse());
    let mut leaving = false;
    let parts = Parts::<4>::new();
    loop {
        let accepted = poll_fn(|cx| {
            parts.poll(cx, |part, cx| match part {
                STOPPING => {
                    if !stopping.is_terminated() && stopping.as_mut().poll(cx).is_ready() {
                        connection.graceful_shutdown();
                        parts.wake(CONNECTION);
                    }
                    Part::Waits
                }
                KEEPALIVE => match keepalive.as_mut().map(|keepalive| keepalive.poll_dead(cx)) {
                    Some(Poll::Ready(error)) => Part::Ready(Err(error)),
                    _ => Part::Waits,
                },
                CONNECTION => connection.poll_accept(cx).map(|accepted| Ok(accepted.transpose()?)).into(),
                UNUSED.. => {
                    let is_unused = unused.as_mut().poll(cx).is_ready();
                    if is_unused && server.has_grpc_services() && !leaving {
                        // Told so, clients of gRPC lose no call that they make right now, and connect again.
                        leaving = true;
                        connection.graceful_shutdown();
                        unused.set(self::unused(&streams, limit));
                        parts.wake(CONNECTION);
                        return Part::Yields;
                    }
                    if is_unused { Part::Ready(Err(TransportError::Unused(limit))) } else { Part::Waits }
                }
            })
        });
        let Some((request, respond)) = accepted.await? else { return Ok(()) };
        accept_stream(server, request, respond, &client, &streams);
        if !streams.is_empty() {
            unused.set(self::unused(&streams, limit));
        }
        // The next stream may be there already.
        parts.wake(CONNECTION);
        parts.wake(UNUSED);
    }
}

/// Resolves when there has been no node stream for `limit`. To be made anew for each one.
async fn unused(streams: &TaskTracker, limit: Duration) {
    streams.wait().await;
    sleep(limit).await;
}

fn accept_stream(
    server: &Arc<Shared>,
    request: Request<RecvStream>,
    mut respond: SendResponse<bytes::Bytes>,
    client: &Client,
    streams: &TaskTracker,
) {
    let (head, body) = request.into_parts();
    #[cfg(feature = "grpc")]
    if head.method == Method::POST
        && let Some(route) = server.grpc.route(head.uri.path())
    {
        let Client { address, certificates } = client.clone();
        let call = Call { route, head, body, respond, peer: GrpcPeer { address, certificates } };
        server.tasks.spawn_grpc_call(streams.track_future(call.run(server.clone())));
        return;
    }
    if let Some((status, grpc)) = refusal(&head.method, head.uri.path()) {
        let mut response = grpc_response();
        *response.status_mut() = status;
        if let Some(grpc) = grpc {
            // A header map has room for the three headers of a status.
            let _ = grpc.add_header(response.headers_mut());
        }
        // Fails if the client has reset the stream, which is no matter of the others on its connection.
        let _ = respond.send_response(response, true);
        return;
    }
    let claim = Claim::of(&head.headers);
    let opening = Opening { headers: head.headers, body, respond, client: client.clone(), claim };
    let is_member = |id| server.registry.is_member(id);
    if let Err(status) = identity::check(claim, client.certificates.as_ref(), is_member) {
        return opening.refuse(server, &status);
    }
    let stream = if server.hooks.is_empty() {
        let Some(stream) = opening.open(server) else { return };
        stream.run(server.clone()).left_future()
    } else {
        let server = server.clone();
        // Boxed, so that streams of servers without hooks have no room for it.
        let asked = Box::pin(async move {
            if let Some(stream) = opening.ask(&server).await {
                stream.run(server).await;
            }
        });
        asked.right_future()
    };
    server.tasks.spawn_stream(streams.track_future(stream));
}

pub(super) fn grpc_response() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The answer to a request for a node stream.
fn announcing_response() -> Response<()> {
    let mut response = grpc_response();
    response.headers_mut().insert(wire::FEATURES, HeaderValue::from_static(OFFERED_FEATURES));
    response
}

/// A node stream that a client wants to open.
struct Opening {
    headers: HeaderMap,
    body: RecvStream,
    respond: SendResponse<bytes::Bytes>,
    client: Client,
    claim: Claim,
}

impl Opening {
    /// Asks the connect hooks. `None` if there is no stream after all.
    async fn ask(mut self, server: &Shared) -> Option<NodeStream> {
        let request = ConnectRequest {
            address: self.client.address,
            metadata: MetadataMap::from_headers(self.headers.clone()),
            claim: self.claim,
            certificates: self.client.certificates.clone(),
            #[cfg(feature = "grpc")]
            grpc_path: None,
        };
        let decision = tokio::select! {
            biased;
            _ = poll_fn(|cx| self.respond.poll_reset(cx)) => return None,
            decision = server.hooks.ask(request, server.options.handshake_timeout) => decision,
        };
        match decision {
            Ok(()) => self.open(server),
            Err(status) => {
                self.refuse(server, &status);
                None
            }
        }
    }

    /// Opens the stream; `None` if its client has opened a newer one, or has reset this one.
    fn open(mut self, server: &Shared) -> Option<NodeStream> {
        let Some(fence) = server.fences.enter(&self.headers) else {
            self.respond.send_reset(Reason::REFUSED_STREAM);
            return None;
        };
        let sink = self.respond.send_response(announcing_response(), false).ok()?;
        let duplex = Duplex::accepted(sink, self.body);
        Some(NodeStream::new(server, &self.headers, fence, self.client, self.claim, duplex))
    }

    /// Answers with a status instead of a stream. What this server announces tells the client that its requests were not
    /// looked at: a status alone may also be the end of a stream that was served.
    fn refuse(mut self, server: &Shared, status: &tonic::Status) {
        server.refusals.log(self.client.address, format_args!("{:?}: {}", status.code(), status.message()));
        let mut response = announcing_response();
        // Without the status, if its metadata does not fit, the stream ends all the same.
        let _ = status.add_header(response.headers_mut());
        let _ = self.respond.send_response(response, true);
    }
}

/// Why a request is no node stream.
fn refusal(method: &Method, path: &str) -> Option<(StatusCode, Option<tonic::Status>)> {
    if path != wire::NODE_STREAM {
        // Says the same of what is there and what is not, as no connect hook was asked.
        let status = tonic::Status::unimplemented(format!(
            "no gRPC service for {path} here; methods of gorums services are called over the stream {}",
            wire::NODE_STREAM
        ));
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
    /// Absent once nobody is there to be called.
    place: Option<Place>,
}

impl NodeStream {
    fn new(
        server: &Shared,
        headers: &HeaderMap,
        fence: Fence,
        client: Client,
        claim: Claim,
        duplex: Duplex,
    ) -> Self {
        let Client { address, certificates } = client;
        let name = address.map_or_else(|| "unknown".into(), |address| address.to_string());
        let limits = server.pool.options().limits;
        let place =
            server.registry.enter(claim, |id| Channel::new(server.pool.clone(), id, name.into(), limits));
        let channel = place.channel().clone();
        channel.set_connectivity(Connectivity::Up);
        let node = place.node().cloned();
        let metadata = MetadataMap::from_headers(headers.clone());
        let peer = Peer { address, metadata, certificates, node, ..Peer::default() };
        let session = Session::new(
            peer,
            Way::Stream(channel.clone()),
            server.tasks.clone(),
            Some(server.registry.clone()),
        );
        let dispatcher = Dispatcher::new(server.services.clone(), session.clone());
        let router = MessageRouter::new(channel.clone(), Initiator::Server, Some(dispatcher));
        let mut driver = Driver::new(duplex, channel.clone(), EPOCH, router);
        driver.announced(headers);
        Self { driver, session, channel, fence, place: Some(place) }
    }

    async fn run(mut self, server: Arc<Shared>) {
        let end = if self.may_start().await {
            drive(&mut self.driver, &self.channel, &self.fence, &server).await
        } else {
            End::Lost(TransportError::Superseded)
        };
        drop(self.place.take());
        end_calls(&self.channel, &end);
        self.session.close();
        if let End::Lost(error) = end {
            if let Some(status) = error.status() {
                self.driver.refuse(&status);
            }
            tracing::debug!(peer = %self.channel.address(), %error, "node stream ended");
        }
        let (_, router) = self.driver.into_parts();
        if let Some(dispatcher) = router.detach() {
            dispatcher.finish().await;
        }
    }
}

impl NodeStream {
    /// Waits until an older stream of the client has ended. False if a newer one has come first. A client that goes
    /// meanwhile is no longer one that can be called; what it has sent is still handled.
    async fn may_start(&mut self) -> bool {
        let wait = self.fence.wait();
        tokio::pin!(wait);
        tokio::select! {
            biased;
            may_start = &mut wait => return may_start,
            error = poll_fn(|cx| self.driver.poll_gone(cx)) => {
                self.place = None;
                let source: Source = Arc::new(std::io::Error::other(error.to_string()));
                let failed = self.channel.with_queue(|queue| queue.go_down(Some(source.clone())));
                self.channel.fail_unsent(failed, &NodeErrorKind::Unavailable, Some(&source));
                self.channel.set_connectivity(Connectivity::Down(source));
            }
        }
        wait.await
    }
}

/// Runs a stream to its end, in good order if the server shuts down, and at once if its client has opened a newer one.
async fn drive(driver: &mut Driver, channel: &Channel, fence: &Fence, server: &Shared) -> End {
    const SUPERSEDED: usize = 0;
    const DRIVER: usize = 1;
    const STOPPING: usize = 2;
    let parts = Parts::<3>::new();
    let mut stopping = pin!(server.stopping.cancelled().fuse());
    let mut superseded = pin!(fence.superseded());
    poll_fn(|cx| {
        parts.poll(cx, |part, cx| match part {
            SUPERSEDED => superseded.as_mut().poll(cx).map(|()| End::Lost(TransportError::Superseded)).into(),
            DRIVER => driver.poll(cx),
            STOPPING.. => {
                if !stopping.is_terminated() && stopping.as_mut().poll(cx).is_ready() {
                    channel.close();
                    parts.wake(DRIVER);
                }
                Part::Waits
            }
        })
    })
    .await
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
    // Looks at every call there is, to all clients.
    if channel.pool().pending().open() > 0 {
        channel.pool().pending().fail_sent(channel.ordinal(), EPOCH, &Fault::sent(lost, source));
    }
}
