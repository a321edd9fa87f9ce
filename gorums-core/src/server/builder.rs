//! What a server offers, and its limits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::error::ServerError;
use crate::id::{AsNodeId, Initiator};
use crate::pool::{Pool, PoolOptions};
use crate::server::connect::{ConnectRequest, Hooks};
#[cfg(feature = "grpc")]
use crate::server::grpc::GrpcServices;
use crate::server::handler::{Methods, Service};
use crate::server::interceptor::Interceptor;
use crate::server::listen::{BoundServer, Incoming, TcpIncoming};
use crate::server::refusals::Refusals;
use crate::server::registry::{Membership, Registry, member};
use crate::server::services::Services;
use crate::server::tasks::Tasks;
use crate::server::{ServerOptions, Shared};
use crate::transport::{ServerSecurity, TransportOptions};

/// Configures a [`Server`](crate::Server).
#[derive(Debug)]
pub struct ServerBuilder {
    methods: Methods,
    transport: TransportOptions,
    options: ServerOptions,
    membership: Membership,
    security: ServerSecurity,
    hooks: Hooks,
    #[cfg(feature = "metrics")]
    metrics: Option<(String, Duration)>,
    #[cfg(feature = "grpc")]
    pub(super) grpc: GrpcServices,
}

impl ServerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            methods: Methods::default(),
            transport: TransportOptions::default(),
            options: ServerOptions {
                handshake_timeout: Duration::from_secs(5),
                drain_timeout: Duration::from_secs(1),
                max_streams: 16,
                max_connections: 16_384,
            },
            membership: Membership::default(),
            security: ServerSecurity::default(),
            hooks: Hooks::default(),
            #[cfg(feature = "metrics")]
            metrics: None,
            #[cfg(feature = "grpc")]
            grpc: GrpcServices::default(),
        }
    }

    /// Makes this server node `own` of a system of these members. Who connects and says that it is another one of them is
    /// believed, and appears among the [peers](crate::ServerHandle::peers), as does this server itself.
    ///
    /// # Errors
    ///
    /// Ids are from 1 to 2^20 - 1, and `own` has to be one of the members.
    pub fn membership<I: AsNodeId>(
        mut self,
        own: impl AsNodeId,
        members: impl IntoIterator<Item = I>,
    ) -> Result<Self, ServerError> {
        let bad = |id| ServerError::BadId { id };
        let known: Result<_, _> =
            members.into_iter().map(|id| member(id.number()).ok_or(bad(id.number()))).collect();
        self.membership = Membership { own: member(own.number()), known: known? };
        match self.membership.own {
            Some(id) if self.membership.known.contains(&id) => Ok(self),
            _ => Err(bad(own.number())),
        }
    }

    /// Offers a service.
    #[must_use]
    pub fn add_service(mut self, service: impl Service) -> Self {
        service.register(&mut self.methods);
        self
    }

    /// Adds an interceptor around the handlers of all services of this server, those that are added later too. The first
    /// one that is added is the outermost.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.methods.add_interceptor(interceptor);
        self
    }

    /// Publishes metrics through the facade of the crate [`metrics`], under this name: the label `server`. Handlers are
    /// measured from here on, by an interceptor; gauges are published at the interval, and are 0 when the server has ended. The
    /// metrics are listed in the guide, under "Observability"; their names are stable.
    ///
    /// The recorder has to be installed before.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(mut self, name: impl Into<String>, interval: Duration) -> Self {
        let name = name.into();
        self.metrics = Some((name.clone(), interval));
        self.interceptor(crate::MeasureHandlers::new(name))
    }

    /// Pings each client at this interval, also when it is idle, and closes the connection of one that does
    /// not answer within `timeout`. 10 s and 3 s by default.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.transport.keepalive_interval = interval;
        self.transport.keepalive_timeout = timeout;
        self
    }

    /// The longest message that is accepted, in bytes; 4 MiB by default. A longer request is not handled, and fails as
    /// `OUT_OF_RANGE`; one that is more than 64 times as long ends its stream, and with it the calls on it.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.transport.max_message_size = bytes;
        self
    }

    /// The largest metadata that is accepted, of a connection and of each request, in bytes: those of names and values, and
    /// 32 for each entry, as HTTP/2 counts headers. 16 KiB by default. A request with more fails as `OUT_OF_RANGE`.
    #[must_use]
    pub fn max_metadata_size(mut self, bytes: usize) -> Self {
        self.transport.max_metadata_size = bytes;
        self
    }

    /// How many requests of one stream are in progress at once, at least 1; 1,024 by default. Further ones wait to be
    /// started, and when a stream's window of them waits (4 MiB), the client is stopped by its transport.
    #[must_use]
    pub fn max_concurrent_requests(mut self, requests: usize) -> Self {
        self.transport.max_concurrent_requests = requests.max(1);
        self
    }

    /// How many streams one connection may have at once; 16 by default. A gorums client has one; each call of an ordinary
    /// gRPC service (feature `grpc`) is one.
    #[must_use]
    pub fn max_streams(mut self, streams: u32) -> Self {
        self.options.max_streams = streams;
        self
    }

    /// How many connections are open at once; further ones wait to be accepted. 16,384 by default.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = connections;
        self
    }

    /// How long a new connection may take to show that it speaks HTTP/2, with the TLS handshake if there is one; how long
    /// it may then have no stream; and how long the [connect hooks](Self::on_connect) may take to decide about one.
    /// 5 s by default, for each.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.options.handshake_timeout = timeout;
        self
    }

    /// Encrypts all connections, and takes only clients with a certificate if `tls` has a CA for them.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::ServerTls) -> Self {
        self.security = ServerSecurity::Tls(tls);
        self
    }

    /// Asks a hook about each client that opens a stream, before anything that it has sent is handled. The client gets the
    /// status with which the hook refuses it: its calls fail as `Unavailable`, and it dials again with growing pauses.
    ///
    /// With several hooks, all have to agree; they are asked in order. The [handshake timeout](Self::handshake_timeout)
    /// bounds the time they take together. A hook that is not there costs nothing. They are asked about each call of an
    /// ordinary gRPC service (feature `grpc`) too, such as the probes of Kubernetes, which send no metadata:
    /// `ConnectRequest::grpc_path` tells those apart.
    ///
    /// # Cancel safety
    ///
    /// The future of the hook is dropped when the client gives up or the time has passed.
    ///
    /// ```no_run
    /// # use gorums_core::{Server, Status};
    /// let server = Server::builder().on_connect(|client| async move {
    ///     match client.metadata().get("tenant") {
    ///         Some(tenant) if tenant == "a" => Ok(()),
    ///         _ => Err(Status::permission_denied("not one of our tenants")),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_connect<Fut>(mut self, hook: impl Fn(ConnectRequest) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<(), Status>> + Send + 'static,
    {
        self.hooks.add(hook);
        self
    }

    /// How long shutting down waits for handlers that run and replies that are not written; 1 s by default.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// Binds to an address; with port 0, to a free port.
    ///
    /// # Errors
    ///
    /// Why it cannot listen there, or what is wrong with the services or options that were given.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<BoundServer<TcpIncoming>, ServerError> {
        let shown = match tokio::net::lookup_host(&address).await {
            Ok(found) => found.map(|address| address.to_string()).collect::<Vec<_>>().join(", "),
            Err(error) => return Err(ServerError::bind("the given address", error)),
        };
        let listener = TcpListener::bind(address).await.map_err(|error| ServerError::bind(&shown, error))?;
        let incoming =
            TcpIncoming::new(listener).map_err(|error| ServerError::bind("the given address", error))?;
        Ok(self.on(incoming))
    }

    /// Takes connections from a stream, as of another transport or of a network in a test.
    pub fn on<S, I>(self, incoming: S) -> BoundServer<S>
    where
        S: Stream<Item = std::io::Result<I>>,
        I: Into<Incoming>,
    {
        BoundServer::new(self.into_shared(), incoming)
    }

    /// Serves on an address until the process ends, or the future is dropped, which ends the server at once. To
    /// shut down gracefully, [`bind`](Self::bind) and keep a [handle](BoundServer::handle).
    ///
    /// # Errors
    ///
    /// As those of [`bind`](Self::bind): a connection that cannot be taken in is logged, and ends nothing.
    pub async fn serve(self, address: impl ToSocketAddrs) -> Result<(), ServerError> {
        self.bind(address).await?.serve().await
    }

    /// Serves on an address until `signal` resolves, then shuts down gracefully. Dropping the future ends the server at once.
    ///
    /// # Errors
    ///
    /// As those of [`serve`](Self::serve).
    pub async fn serve_with_shutdown(
        self,
        address: impl ToSocketAddrs,
        signal: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        self.bind(address).await?.serve_with_shutdown(signal).await
    }

    /// Serves the connections that `incoming` yields, until it has ended and all of them have. Dropping the
    /// future ends the server at once.
    ///
    /// # Errors
    ///
    /// None at present: a connection that cannot be taken in is logged, and ends nothing.
    pub async fn serve_with_incoming<S, I>(self, incoming: S) -> Result<(), ServerError>
    where
        S: Stream<Item = std::io::Result<I>>,
        I: Into<Incoming>,
    {
        self.on(incoming).serve().await
    }

    /// Only the services, for calls that come in another way than by connecting.
    pub(crate) fn into_services(self) -> Services {
        Services::new(self.methods)
    }

    fn into_shared(mut self) -> Arc<Shared> {
        let methods = std::mem::take(&mut self.methods);
        self.into_shared_with(Services::new(methods))
    }

    /// What the connections share, and the methods, which are to be offered later.
    pub(crate) fn into_bound(mut self) -> (Arc<Shared>, Methods) {
        let methods = std::mem::take(&mut self.methods);
        (self.into_shared_with(Services::later()), methods)
    }

    fn into_shared_with(self, services: Services) -> Arc<Shared> {
        let options = PoolOptions {
            connect_timeout: self.options.handshake_timeout,
            drain_timeout: self.options.drain_timeout,
            transport: self.transport,
            ..PoolOptions::default()
        };
        let pool = Pool::new(Initiator::Server, options);
        let stopping = CancellationToken::new();
        Arc::new(Shared {
            #[cfg(feature = "grpc")]
            grpc: self.grpc.finish(&services, &stopping),
            services,
            registry: Registry::new(pool.clone(), self.membership),
            pool,
            options: self.options,
            tasks: Tasks::default(),
            stopping,
            fences: Arc::default(),
            security: self.security,
            hooks: self.hooks,
            refusals: Refusals::default(),
            #[cfg(feature = "metrics")]
            metrics: self.metrics,
        })
    }
}
