//! Serves the methods of a node to those that connect to it.

pub(crate) mod active;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod context;
pub(crate) mod dispatch;
pub(crate) mod fence;
#[cfg(feature = "grpc")]
pub(crate) mod grpc;
pub(crate) mod handler;
pub(crate) mod interceptor;
pub(crate) mod nested;
pub(crate) mod registry;
pub(crate) mod replier;
pub(crate) mod services;
pub(crate) mod session;
pub(crate) mod tasks;
pub(crate) mod waiting;

mod builder;
mod handshake;
mod identity;
mod listen;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use self::builder::ServerBuilder;
use self::connect::Hooks;
use self::fence::Fences;
#[cfg(feature = "grpc")]
use self::grpc::GrpcServices;
pub use self::listen::{BoundServer, Incoming, ServerHandle, TcpIncoming};
use self::refusals::Refusals;
use self::registry::Registry;
use self::services::Services;
pub use self::tasks::ServerStats;
use self::tasks::Tasks;
use crate::pool::Pool;
use crate::transport::ServerSecurity;

/// What holds for every connection of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerOptions {
    pub(crate) handshake_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) max_streams: u32,
    pub(crate) max_connections: usize,
}

/// What the connections of a server share.
pub(crate) struct Shared {
    pub(crate) services: Services,
    pub(crate) pool: Arc<Pool>,
    pub(crate) options: ServerOptions,
    pub(crate) tasks: Tasks,
    /// No new connections, streams or requests.
    pub(crate) stopping: CancellationToken,
    pub(crate) registry: Arc<Registry>,
    pub(crate) fences: Arc<Fences>,
    pub(crate) security: ServerSecurity,
    pub(crate) hooks: Hooks,
    #[cfg(feature = "grpc")]
    pub(crate) grpc: GrpcServices,
    pub(crate) refusals: Refusals,
    /// The name under which metrics are published, and how often.
    #[cfg(feature = "metrics")]
    pub(crate) metrics: Option<(String, Duration)>,
}

impl Shared {
    /// Whether there are streams that are no node streams.
    #[cfg_attr(
        not(feature = "grpc"),
        expect(clippy::unused_self, reason = "there are none without the feature")
    )]
    pub(crate) fn has_grpc_services(&self) -> bool {
        #[cfg(feature = "grpc")]
        return !self.grpc.is_empty();
        #[cfg(not(feature = "grpc"))]
        false
    }
}

/// A node: the services that it offers, and how it serves them.
///
/// ```no_run
/// # async fn run(storage: impl gorums_core::codegen::Service) -> Result<(), gorums_core::ServerError> {
/// use gorums_core::Server;
///
/// Server::builder().add_service(storage).serve("127.0.0.1:8080").await
/// # }
/// ```
#[derive(Debug)]
pub struct Server;

impl Server {
    /// A server without services, with the default limits.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }
}
