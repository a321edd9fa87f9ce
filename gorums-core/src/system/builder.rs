//! Describes a member of a system.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures_util::{Stream, StreamExt};
use tokio::net::TcpListener;

use crate::configuration::{Configuration, ConfigurationBuilder};
use crate::error::{ServerError, SystemError};
use crate::id::AsNodeId;
use crate::server::registry::member;
use crate::server::{BoundServer, Incoming, Server, ServerBuilder, TcpIncoming};
use crate::system::System;
use crate::system::bound::{BoundSystem, Parts};

/// Describes a member of a [`System`]: who the members are, which of them this one is, and the options of its server
/// and of its configuration.
///
/// ```no_run
/// # use std::time::Duration;
/// # use gorums_core::{Configuration, Server, System, SystemError};
/// # async fn run() -> Result<(), SystemError> {
/// let bound = System::builder()
///     .nodes(["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"])
///     .own(2)
///     .listen("0.0.0.0:8080")
///     .configuration(Configuration::builder().timeout(Duration::from_secs(1)))
///     .bind()
///     .await?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct SystemBuilder {
    own: Option<u32>,
    members: Vec<(u32, String)>,
    listen: Option<String>,
    server: ServerBuilder,
    configuration: ConfigurationBuilder,
}

impl SystemBuilder {
    pub(crate) fn new() -> Self {
        Self {
            own: None,
            members: Vec::new(),
            listen: None,
            server: Server::builder(),
            configuration: Configuration::builder(),
        }
    }

    /// Which of the members this one is.
    pub fn own(mut self, id: impl AsNodeId) -> Self {
        self.own = Some(id.number());
        self
    }

    /// Adds members by their addresses, of the form `host:port`. They get the ids after the highest so far, in order:
    /// 1, 2, 3, ..
    pub fn nodes<A: ToString>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        let highest = self.members.iter().map(|&(id, _)| id).max().unwrap_or(0);
        self.members.extend(
            (highest.saturating_add(1)..).zip(addresses.into_iter().map(|address| address.to_string())),
        );
        self
    }

    /// Adds a member by its id, from 1 to 2^20 - 1, and its address.
    #[expect(clippy::needless_pass_by_value, reason = "strings and socket addresses are given as they are")]
    pub fn node(mut self, id: impl AsNodeId, address: impl ToString) -> Self {
        self.members.push((id.number(), address.to_string()));
        self
    }

    /// Adds members by their ids and addresses.
    pub fn node_map<I: AsNodeId, A: ToString>(self, nodes: impl IntoIterator<Item = (I, A)>) -> Self {
        nodes.into_iter().fold(self, |builder, (id, address)| builder.node(id, address))
    }

    /// Listens on this address instead of the one by which the others know this member.
    #[expect(clippy::needless_pass_by_value, reason = "strings and socket addresses are given as they are")]
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = Some(address.to_string());
        self
    }

    /// The options of the server, and services that need not know of the system.
    pub fn server(mut self, server: ServerBuilder) -> Self {
        self.server = server;
        self
    }

    /// The options of the configuration: the default deadline, the queues, the connector. It is to have no nodes of its
    /// own, nor services for calls back: the system gives it both.
    pub fn configuration(mut self, configuration: ConfigurationBuilder) -> Self {
        self.configuration = configuration;
        self
    }

    /// Listens over TCP.
    ///
    /// # Errors
    ///
    /// Tells what is wrong with the members or options that were given, or why it cannot listen.
    pub async fn bind(self) -> Result<BoundSystem, SystemError> {
        let address = self.own_address()?.to_owned();
        let listen = self.listen.clone().unwrap_or(address);
        let listener = TcpListener::bind(&listen).await.map_err(|error| ServerError::bind(&listen, error))?;
        self.on_listener(listener)
    }

    /// Takes connections from a listener that was bound before: to learn a free port, or one that was inherited.
    ///
    /// # Errors
    ///
    /// Tells what is wrong with the members or options that were given.
    pub fn on_listener(self, listener: TcpListener) -> Result<BoundSystem, SystemError> {
        let incoming =
            TcpIncoming::new(listener).map_err(|error| ServerError::bind("the given address", error))?;
        let local_addr = incoming.address();
        self.assemble(incoming, Some(local_addr))
    }

    /// Takes connections from a stream, as of another transport or of a network in a test.
    ///
    /// # Errors
    ///
    /// Tells what is wrong with the members or options that were given.
    pub fn on<S, I>(self, incoming: S) -> Result<BoundSystem, SystemError>
    where
        S: Stream<Item = io::Result<I>> + Send + 'static,
        I: Into<Incoming>,
    {
        self.assemble(incoming, None)
    }

    /// The address of this member in the list.
    fn own_address(&self) -> Result<&str, SystemError> {
        let own = self.own.ok_or(SystemError::NoOwnId)?;
        let found = self.members.iter().find(|(id, _)| *id == own);
        found.map(|(_, address)| address.as_str()).ok_or_else(|| SystemError::NotAMember {
            id: own,
            members: self.members.iter().map(|(id, _)| *id).collect(),
        })
    }

    fn assemble<S, I>(self, incoming: S, local_addr: Option<SocketAddr>) -> Result<BoundSystem, SystemError>
    where
        S: Stream<Item = io::Result<I>> + Send + 'static,
        I: Into<Incoming>,
    {
        let address = self.own_address()?.to_owned();
        let Self { own, members, server, configuration, .. } = self;
        if configuration.has_nodes() {
            return Err(SystemError::NodesTwice);
        }
        let id = own.and_then(member).ok_or(ServerError::BadId { id: own.unwrap_or(0) })?;
        let (shared, methods) = server.membership(id, members.iter().map(|(id, _)| *id))?.into_bound();
        let services = shared.services.clone();
        let builder = members.into_iter().fold(configuration, |builder, (other, address)| {
            if other == id.get() {
                builder.member(id, &services, &shared.registry)
            } else {
                builder.node(other, address)
            }
        });
        let configuration = builder.connect_lazy()?;
        shared.registry.dialled_by(configuration.pool());
        let bound = BoundServer::new(shared, incoming.map(|io| io.map(Into::into)).boxed());
        let server = bound.handle();
        let on_stop = Vec::new();
        let parts = Parts { id, address, local_addr, configuration, server, services, on_stop };
        Ok(BoundSystem { parts, bound, methods })
    }
}

impl fmt::Debug for SystemBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemBuilder")
            .field("own", &self.own)
            .field("members", &self.members)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Members on free ports: every listener is there before the first member is made, so that all know each other.
pub(super) async fn local_cluster(
    size: u32,
    mut options: impl FnMut(SystemBuilder) -> SystemBuilder,
) -> Result<Vec<BoundSystem>, SystemError> {
    const ANY: &str = "127.0.0.1:0";
    let mut listeners = Vec::new();
    let mut members = Vec::new();
    for id in 1..=size {
        let listener = TcpListener::bind(ANY).await.map_err(|error| ServerError::bind(ANY, error))?;
        let address = listener.local_addr().map_err(|error| ServerError::bind(ANY, error))?;
        listeners.push((id, listener));
        members.push((id, address.to_string()));
    }
    let system = |(id, listener)| {
        let builder = System::builder().own(id).node_map(members.iter().cloned());
        options(builder).on_listener(listener)
    };
    listeners.into_iter().map(system).collect()
}
