//! A member that listens and does not serve yet.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use futures_util::stream::BoxStream;
use tokio_util::task::AbortOnDropHandle;

use crate::configuration::Configuration;
use crate::error::SystemError;
use crate::id::NodeId;
use crate::server::handler::{Methods, Service};
use crate::server::services::Services;
use crate::server::{BoundServer, Incoming, ServerHandle};
use crate::system::System;

type BoxError = Box<dyn Error + Send + Sync>;
type OnStop = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// What a member consists of, serving or not. Dropping it closes the configuration and drops the services.
pub(crate) struct Parts {
    pub(crate) id: NodeId,
    pub(crate) address: String,
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) configuration: Configuration,
    pub(crate) server: ServerHandle,
    pub(crate) services: Services,
    pub(crate) on_stop: Vec<OnStop>,
}

impl Parts {
    /// To be called when the server no longer runs.
    pub(crate) async fn stop(mut self) -> Result<(), SystemError> {
        self.configuration.close().await;
        let mut first = Ok(());
        for on_stop in std::mem::take(&mut self.on_stop) {
            first = first.and(on_stop.await.map_err(SystemError::Stop));
        }
        first
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.configuration.pool().closing().cancel();
        self.services.withdraw();
    }
}

/// A member of a system that listens, and can make calls, but does not serve yet: calls to it wait until it does.
///
/// Dropping it releases the listener and closes the configuration.
#[must_use = "it has to be served"]
pub struct BoundSystem {
    pub(crate) parts: Parts,
    pub(crate) bound: BoundServer<BoxStream<'static, io::Result<Incoming>>>,
    pub(crate) methods: Methods,
}

impl BoundSystem {
    /// The id of this member.
    pub fn id(&self) -> NodeId {
        self.parts.id
    }

    /// The address by which the other members know this one.
    pub fn address(&self) -> &str {
        &self.parts.address
    }

    /// Where it listens; `None` if it does not listen on TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.parts.local_addr
    }

    /// All members, in the order in which they were given. A service may keep a clone of it.
    pub fn configuration(&self) -> &Configuration {
        &self.parts.configuration
    }

    /// The server of this member. A service may keep a clone of it, to find the peers and clients outside of handlers.
    pub fn server(&self) -> &ServerHandle {
        &self.parts.server
    }

    /// Offers a service: to whoever connects, to the other members over the connections that this one makes, and to this
    /// member itself. It is dropped when the system stops.
    pub fn add_service(mut self, service: impl Service) -> Self {
        service.register(&mut self.methods);
        self
    }

    /// Has this awaited when the system is [stopped](System::stop), after the last handler has ended: closing what a
    /// service has opened. Several are awaited in the order in which they were given.
    pub fn on_stop<E>(mut self, close: impl Future<Output = Result<(), E>> + Send + 'static) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.parts.on_stop.push(Box::pin(async { close.await.map_err(Into::into) }));
        self
    }

    /// Serves in a task of its own, and dials the other members.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn serve(self) -> System {
        let Self { parts, bound, methods } = self;
        parts.services.offer(methods);
        let serving = tokio::spawn(bound.serve());
        for node in &parts.configuration {
            node.channel().want();
        }
        System { parts, serving: AbortOnDropHandle::new(serving) }
    }

    /// Releases the listener, closes the configuration, and awaits what was to happen on stop.
    ///
    /// # Errors
    ///
    /// The first error of what was to happen on stop.
    pub async fn stop(self) -> Result<(), SystemError> {
        let Self { parts, bound, methods } = self;
        drop(bound);
        parts.server.shutdown().await;
        let stopped = parts.stop().await;
        drop(methods);
        stopped
    }
}

impl fmt::Debug for BoundSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundSystem")
            .field("id", &self.id())
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
