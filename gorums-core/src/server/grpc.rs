//! Ordinary gRPC services, on the same port and the same connections as the node streams.
//!
//! Whatever is no node stream goes to the service that its path names. Each call has a task of its own, which ends when
//! the call, its connection or the server does.

mod body;
mod call;
#[cfg(feature = "health")]
mod health;
#[cfg(feature = "reflection")]
mod reflection;
mod reply;
mod route;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tower_service::Service;

pub(super) use self::call::Call;
#[cfg(feature = "health")]
pub use self::health::Health;
use self::route::{Route, Typed};
use crate::server::ServerBuilder;
use crate::server::services::Services;
use crate::transport::PeerCertificates;

/// Who calls an ordinary gRPC service: in the extensions of each request.
///
/// ```
/// # use gorums_core::{GrpcPeer, Status};
/// fn handle(request: tonic::Request<()>) -> Result<tonic::Response<String>, Status> {
///     let peer = request.extensions().get::<GrpcPeer>().and_then(GrpcPeer::peer_addr);
///     Ok(tonic::Response::new(format!("{peer:?}")))
/// }
/// # handle(tonic::Request::new(())).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct GrpcPeer {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) certificates: Option<PeerCertificates>,
}

impl GrpcPeer {
    /// The client's network address; `None` for transports without.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The certificates that the client has shown; `None` without mutual TLS.
    pub fn peer_certificates(&self) -> Option<&PeerCertificates> {
        self.certificates.as_ref()
    }
}

/// The gRPC services of a server, by their names.
#[derive(Default)]
pub(crate) struct GrpcServices {
    table: HashMap<&'static str, Arc<dyn Route>>,
    #[cfg(feature = "health")]
    health: Option<Health>,
    /// The descriptors to be shown, if any are.
    #[cfg(feature = "reflection")]
    descriptors: Option<Vec<Vec<u8>>>,
}

impl GrpcServices {
    fn add<S, B>(&mut self, service: S)
    where
        S: Service<http::Request<tonic::body::Body>, Response = http::Response<B>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.table.insert(S::NAME, Arc::new(Typed(service)));
    }

    /// Adds the services that tell of the others.
    pub(super) fn finish(mut self, services: &Services, stopping: &CancellationToken) -> Self {
        #[cfg(feature = "reflection")]
        self.add_reflection();
        #[cfg(feature = "health")]
        self.add_health(services, stopping);
        let _ = (services, stopping, &mut self);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The service that a path names.
    pub(super) fn route(&self, path: &str) -> Option<Arc<dyn Route>> {
        let (service, _method) = path.strip_prefix('/')?.split_once('/')?;
        self.table.get(service).cloned()
    }
}

impl fmt::Debug for GrpcServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table.keys()).finish()
    }
}

impl ServerBuilder {
    /// Offers an ordinary gRPC service, such as a server that tonic has generated, on the same port and the same
    /// connections as the node stream. A service that is added twice is the one that was added last.
    ///
    /// Each call of it has a task of its own, and delays no call over a node stream; its handlers have no turns. What
    /// holds for node streams holds for it: TLS, the [connect hooks](Self::on_connect), which are asked about each call,
    /// and the limits for [streams](Self::max_streams) of a connection, [connections](Self::max_connections) and
    /// [metadata](Self::max_metadata_size). The longest message is set on the service itself, and so are interceptors:
    /// those of this builder are for gorums' services. A handler finds out who calls by [`GrpcPeer`].
    ///
    /// A call ends at its deadline (the header `grpc-timeout`), when its client gives it up or is gone, and when the server
    /// has shut down. A handler that waits is dropped then, and the body of the request ends for whoever still reads it.
    ///
    /// ```
    /// # use gorums_core::{Server, ServerBuilder};
    /// # use tonic_health::server::health_reporter;
    /// let (_, any_service) = health_reporter();
    /// let server = Server::builder().add_grpc_service(any_service);
    /// # let _: ServerBuilder = server;
    /// ```
    #[must_use]
    pub fn add_grpc_service<S, B>(mut self, service: S) -> Self
    where
        S: Service<http::Request<tonic::body::Body>, Response = http::Response<B>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.grpc.add(service);
        self
    }
}
