//! A network in memory.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use crate::server::Incoming;
use crate::sync::Mutex;
use crate::testing::fault::Faults;
use crate::transport::{BoxedIo, Connector};

/// Bytes that a link holds in each direction.
const BUFFER: usize = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// A network in memory: nodes listen on addresses, and configurations connect to them.
///
/// Together with Tokio's paused clock, tests of timeouts and back-off take no time.
#[derive(Clone, Default)]
pub struct Network {
    hosts: Arc<Mutex<HashMap<String, Host>>>,
}

struct Host {
    accept: mpsc::Sender<DuplexStream>,
    faults: Faults,
}

impl Network {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens on an address of the form `host:port`. Listening on it again replaces the listener, as a
    /// restarted node does; the faults of the links to it stay what they were.
    pub fn listen(&self, address: impl Into<String>) -> Listener {
        let (accept, connections) = mpsc::channel(BACKLOG);
        let mut hosts = self.hosts.lock();
        let address = address.into();
        let faults = hosts.get(&address).map(|host| host.faults.clone()).unwrap_or_default();
        hosts.insert(address, Host { accept, faults: faults.clone() });
        Listener { connections, faults }
    }

    fn connect_to(&self, address: &str) -> Option<(mpsc::Sender<DuplexStream>, Faults)> {
        let hosts = self.hosts.lock();
        hosts.get(address).map(|host| (host.accept.clone(), host.faults.clone()))
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.hosts.lock().keys()).finish()
    }
}

impl Connector for Network {
    fn connect(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<BoxedIo>> {
        let host = self.connect_to(&address);
        Box::pin(async move {
            let refused =
                || io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens on {address}"));
            let (accept, faults) = host.ok_or_else(refused)?;
            let (client, mut near) = duplex(BUFFER);
            let (mut far, server) = duplex(BUFFER);
            accept.send(server).await.map_err(|_| refused())?;
            tokio::spawn(async move { faults.carry(&mut near, &mut far).await });
            Ok(Box::new(client) as BoxedIo)
        })
    }
}

/// The connections to one address of a [`Network`], for
/// [`serve_with_incoming`](crate::ServerBuilder::serve_with_incoming).
#[derive(Debug)]
pub struct Listener {
    connections: mpsc::Receiver<DuplexStream>,
    faults: Faults,
}

impl Listener {
    /// The faults of all links to this address.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

impl Stream for Listener {
    type Item = io::Result<Incoming>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(cx).map(|connection| connection.map(|io| Ok(io.into())))
    }
}
