//! A symmetric system: a process that is a server and a client at once, and counts itself among the nodes that it calls.

mod bound;
mod builder;

use std::fmt;
use std::net::SocketAddr;

use futures_util::Stream;
use tokio_util::task::AbortOnDropHandle;

pub use self::bound::BoundSystem;
use self::bound::Parts;
pub use self::builder::SystemBuilder;
use crate::configuration::Configuration;
use crate::error::{ServerError, SystemError};
use crate::id::NodeId;
use crate::server::ServerHandle;

/// One member of a system of nodes that call each other: a server, its listener, and a configuration of all members.
///
/// The member itself is one of the nodes of its [`configuration`](Self::configuration), called within the process. The
/// others can call it back over the connections that it makes, and it calls them over those that they make:
/// [`peers`](Self::peers) are the members that are connected at the moment, and this one.
///
/// ```
/// # use gorums_core::{Methods, Service, System};
/// # struct Storage;
/// # impl Service for Storage { const NAME: &'static str = "Storage"; fn register(self, _: &mut Methods) {} }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut systems = Vec::new();
/// for bound in System::local_cluster(3).await? {
///     // A service that calls the others gets `bound.configuration().clone()`.
///     systems.push(bound.add_service(Storage).serve());
/// }
/// systems[0].wait_for_peers(|peers| peers.len() == 3).await;
/// for system in systems {
///     system.stop().await?;
/// }
/// # Ok(()) }
/// ```
///
/// Dropping it ends the server at once, and closes the connections of its configuration in the background.
#[must_use = "dropping it ends the system"]
pub struct System {
    parts: Parts,
    serving: AbortOnDropHandle<Result<(), ServerError>>,
}

impl System {
    /// A member that is still to be described.
    pub fn builder() -> SystemBuilder {
        SystemBuilder::new()
    }

    /// `size` members with the ids 1, 2, .. on free ports of the loopback address, which know each other.
    ///
    /// # Errors
    ///
    /// As [`SystemBuilder::bind`]. Then no listener is left open.
    pub async fn local_cluster(size: u32) -> Result<Vec<BoundSystem>, SystemError> {
        Self::local_cluster_with(size, |builder| builder).await
    }

    /// As [`local_cluster`](Self::local_cluster), with options for each member.
    pub async fn local_cluster_with(
        size: u32,
        options: impl FnMut(SystemBuilder) -> SystemBuilder,
    ) -> Result<Vec<BoundSystem>, SystemError> {
        builder::local_cluster(size, options).await
    }

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

    /// All members, connected or not, in the order in which they were given. The calls on it go over connections that
    /// this member makes, and to itself within the process.
    pub fn configuration(&self) -> &Configuration {
        &self.parts.configuration
    }

    /// The server of this member, for its counters.
    pub fn server(&self) -> &ServerHandle {
        &self.parts.server
    }

    /// The members that are connected to this one, and itself, by id. See [`ServerHandle::peers`].
    pub fn peers(&self) -> Configuration {
        self.parts.server.peers()
    }

    /// The clients that offer services, by the ids that this server has given them. See [`ServerHandle::clients`].
    pub fn clients(&self) -> Configuration {
        self.parts.server.clients()
    }

    /// The peers at this moment, and then those after each change. See [`ServerHandle::peer_changes`].
    pub fn peer_changes(&self) -> impl Stream<Item = Configuration> + Send + Unpin + use<> {
        self.parts.server.peer_changes()
    }

    /// The clients at this moment, and then those after each change. See [`ServerHandle::client_changes`].
    pub fn client_changes(&self) -> impl Stream<Item = Configuration> + Send + Unpin + use<> {
        self.parts.server.client_changes()
    }

    /// Waits until the peers are as asked, as `|peers| peers.len() == 3`. `None` if the system is stopped first.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn wait_for_peers(&self, enough: impl FnMut(&Configuration) -> bool) -> Option<Configuration> {
        self.parts.server.wait_for_peers(enough).await
    }

    /// Waits until the clients are as asked. `None` if the system is stopped first.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn wait_for_clients(
        &self,
        enough: impl FnMut(&Configuration) -> bool,
    ) -> Option<Configuration> {
        self.parts.server.wait_for_clients(enough).await
    }

    /// Stops in good order: takes no more connections; lets running handlers finish and reply within the server's drain
    /// timeout, with the configuration still there for their calls; closes the configuration; awaits what was to
    /// [happen on stop](BoundSystem::on_stop), in order; and drops the services. The listener is released, and every
    /// task of the system has ended when this returns.
    ///
    /// # Errors
    ///
    /// What went wrong with serving, or else the first error of what was to happen on stop. Everything is stopped all
    /// the same.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, what is left is ended at once, as by dropping the system.
    pub async fn stop(self) -> Result<(), SystemError> {
        let Self { parts, serving } = self;
        parts.server.shutdown().await;
        let served = match serving.await {
            Ok(served) => served.map_err(SystemError::Server),
            Err(error) => Err(SystemError::Stop(Box::new(error))),
        };
        served.and(parts.stop().await)
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System")
            .field("id", &self.id())
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
