//! A TCP proxy on the loopback address that misbehaves on demand.

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::testing::fault::Faults;

/// A TCP proxy in front of one node. Its [`Faults`] can be changed at any time; dropping it closes it and all
/// its connections.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use gorums_core::testing::{Proxy, Traffic};
///
/// let proxy = Proxy::start("127.0.0.1:9".parse().unwrap()).await?;
/// let address = proxy.address(); // give this to a configuration
/// proxy.set_both(Traffic::Hold); // from now on nothing passes, and nothing is closed
/// # let _ = address; Ok::<(), std::io::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: Faults,
    _running: DropGuard,
}

impl Proxy {
    /// Starts a proxy to `target` on a free port.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let faults = Faults::default();
        let running = CancellationToken::new();
        let run = run(listener, target, faults.clone());
        tokio::spawn(running.clone().run_until_cancelled_owned(run));
        Ok(Self { address, faults, _running: running.drop_guard() })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Deref for Proxy {
    type Target = Faults;

    fn deref(&self) -> &Faults {
        &self.faults
    }
}

async fn run(listener: TcpListener, target: SocketAddr, faults: Faults) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let faults = faults.clone();
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        // Only delays small packets if they fail.
                        let _ = (client.set_nodelay(true), server.set_nodelay(true));
                        faults.carry(client, server).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
