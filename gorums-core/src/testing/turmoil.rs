//! Nodes on the simulated network of [turmoil](https://docs.rs/turmoil). Feature `turmoil`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::turmoil::ToSocketAddrs;
use ::turmoil::net::{TcpListener, TcpStream};
use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, unfold};

use crate::server::Incoming;
use crate::transport::{BoxedIo, Connector};

/// Connects over the network of a turmoil simulation. Addresses are `host:port`, with the names that the
/// simulation knows its hosts by.
///
/// turmoil loses and delays messages, and crashes hosts, at simulated times: years of a protocol's life go by in
/// seconds, and a run can be repeated from its seed.
///
/// To repeat a run exactly, give the configurations seeds for their back-off too, with
/// [`jitter_seed`](crate::ConfigurationBuilder::jitter_seed).
///
/// # Panics
///
/// Outside of a simulation.
///
/// # Examples
///
/// ```
/// # use gorums_core::{Methods, Service};
/// # struct Storage;
/// # impl Service for Storage { const NAME: &'static str = "Storage"; fn register(self, _: &mut Methods) {} }
/// use gorums_core::testing::{TurmoilConnector, TurmoilIncoming};
/// use gorums_core::{Configuration, Server};
///
/// let mut simulation = turmoil::Builder::new().rng_seed(7).build();
/// for node in ["node1", "node2", "node3"] {
///     simulation.host(node, || async {
///         let incoming = TurmoilIncoming::bind("0.0.0.0:9000").await?;
///         Server::builder().add_service(Storage).serve_with_incoming(incoming).await?;
///         Ok(())
///     });
/// }
/// simulation.client("client", async {
///     let nodes = ["node1:9000", "node2:9000", "node3:9000"];
///     let configuration =
///         Configuration::builder().nodes(nodes).connector(TurmoilConnector).jitter_seed(7).connect().await?;
///     turmoil::partition("client", "node2");
///     // .. calls
///     # configuration.close().await;
///     Ok(())
/// });
/// simulation.run().unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TurmoilConnector;

impl Connector for TurmoilConnector {
    fn connect(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<BoxedIo>> {
        Box::pin(async move {
            let stream = TcpStream::connect(&*address).await?;
            Ok(Box::new(stream) as BoxedIo)
        })
    }
}

/// The connections to one host of a turmoil simulation, for
/// [`serve_with_incoming`](crate::ServerBuilder::serve_with_incoming) and [`on`](crate::ServerBuilder::on).
///
/// [`TurmoilConnector`] has an example.
pub struct TurmoilIncoming {
    connections: BoxStream<'static, io::Result<TcpStream>>,
}

impl TurmoilIncoming {
    /// Listens on an address of the simulated host that this is called on, such as `0.0.0.0:9000`.
    ///
    /// # Panics
    ///
    /// Outside of a simulation, or if the IP version is not that of the simulation.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::new(TcpListener::bind(address).await?))
    }

    /// Takes the connections of a listener.
    pub fn new(listener: TcpListener) -> Self {
        let connections = unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        Self { connections: connections.boxed() }
    }
}

impl Stream for TurmoilIncoming {
    type Item = io::Result<TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_next_unpin(cx)
    }
}

impl fmt::Debug for TurmoilIncoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurmoilIncoming").finish_non_exhaustive()
    }
}

impl From<TcpStream> for Incoming {
    fn from(stream: TcpStream) -> Self {
        let address = stream.peer_addr().ok();
        Self::new(stream, address)
    }
}
