//! One call of an ordinary gRPC service.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use h2::RecvStream;
use h2::server::SendResponse;
use http::request::Parts;
use tokio::time::timeout;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::GrpcPeer;
use super::body::RequestBody;
use super::reply::{Gone, Reply};
use super::route::Route;
use crate::server::connect::{self, ConnectRequest};
use crate::server::registry::Claim;
use crate::server::{Shared, identity};
use crate::wire;

/// A call that a client has begun.
pub(in crate::server) struct Call {
    pub(in crate::server) route: Arc<dyn Route>,
    pub(in crate::server) head: Parts,
    pub(in crate::server) body: RecvStream,
    pub(in crate::server) respond: SendResponse<bytes::Bytes>,
    pub(in crate::server) peer: GrpcPeer,
}

impl Call {
    /// Runs until the response has been handed over or the client has gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping it resets the stream, and ends the body of the request.
    pub(in crate::server) async fn run(self, server: Arc<Shared>) {
        let Self { route, head, body, respond, peer } = self;
        let (mut reply, limit) = (Reply::Awaited(respond), limit(&head));
        let request = (head, body);
        let serving = AssertUnwindSafe(serve(&server, &*route, request, peer, &mut reply)).catch_unwind();
        match within(limit, serving).await {
            Some(Ok(Ok(()) | Err(Gone))) => {}
            Some(Err(panic)) => {
                tracing::error!(reason = connect::text(&*panic), "a handler of a gRPC service panicked");
                reply.fail(&Status::internal("the handler panicked"));
            }
            None => reply.fail(&Status::deadline_exceeded("the deadline has passed at the server")),
        }
    }
}

async fn serve(
    server: &Shared,
    route: &dyn Route,
    (mut head, body): (Parts, RecvStream),
    peer: GrpcPeer,
    reply: &mut Reply,
) -> Result<(), Gone> {
    if let Err(status) = reply.unless_gone(admit(server, &head, &peer)).await? {
        server.refusals.log(peer.address, format_args!("{:?}: {}", status.code(), status.message()));
        reply.fail(&status);
        return Ok(());
    }
    head.extensions.insert(peer);
    let (body, _guard) = RequestBody::new(body);
    let request = http::Request::from_parts(head, tonic::body::Body::new(body));
    let response = reply.unless_gone(route.call(request)).await?;
    reply.send(response).await
}

/// Whether the client is who it says, and may connect.
async fn admit(server: &Shared, head: &Parts, peer: &GrpcPeer) -> Result<(), Status> {
    let claim = Claim::of(&head.headers);
    identity::check(claim, peer.certificates.as_ref(), |id| server.registry.is_member(id))?;
    if server.hooks.is_empty() {
        return Ok(());
    }
    let request = ConnectRequest {
        address: peer.address,
        metadata: MetadataMap::from_headers(head.headers.clone()),
        claim,
        certificates: peer.certificates.clone(),
        grpc_path: Some(head.uri.path().into()),
    };
    server.hooks.ask(request, server.options.handshake_timeout).await
}

/// How long the client waits.
fn limit(head: &Parts) -> Option<Duration> {
    wire::parse_timeout(head.headers.get(wire::TIMEOUT)?.as_bytes())
}

async fn within<T>(limit: Option<Duration>, what: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, what).await.ok(),
        None => Some(what.await),
    }
}
