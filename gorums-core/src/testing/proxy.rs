//! A TCP proxy on the loopback address that misbehaves on demand.

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::testing::fault::{Ended, Faults};

/// A TCP proxy in front of one node. Its [`Faults`] can be changed at any time, and so can the node; dropping it
/// closes it and all its connections.
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
    target: watch::Sender<Option<SocketAddr>>,
    faults: Faults,
    _running: DropGuard,
}

impl Proxy {
    /// Starts a proxy to `target` on a free port.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let proxy = Self::to_nowhere().await?;
        proxy.lead_to(Some(target));
        Ok(proxy)
    }

    /// Starts a proxy on a free port that leads nowhere as yet.
    pub(crate) async fn to_nowhere() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let faults = Faults::default();
        let running = CancellationToken::new();
        let target = watch::Sender::new(None);
        let run = run(listener, target.subscribe(), faults.clone());
        tokio::spawn(running.clone().run_until_cancelled_owned(run));
        Ok(Self { address, target, faults, _running: running.drop_guard() })
    }

    /// Leads new connections to another node, or to none: then they are reset.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        self.target.send_replace(target);
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

async fn run(listener: TcpListener, target: watch::Receiver<Option<SocketAddr>>, faults: Faults) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                connections.spawn(connect(client, *target.borrow(), faults.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(mut client: TcpStream, target: Option<SocketAddr>, faults: Faults) {
    let server = match target {
        Some(target) => TcpStream::connect(target).await.ok(),
        None => None,
    };
    let Some(mut server) = server else {
        reset(&client);
        return;
    };
    // Only delays small packets if they fail.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    if faults.carry(&mut client, &mut server).await == Ended::Cut {
        reset(&client);
        reset(&server);
    }
}

/// Lets the peer see a reset instead of an end when the stream is dropped.
fn reset(stream: &TcpStream) {
    // The peer sees an end if this fails, which is as good a fault.
    let _ = stream.set_zero_linger();
}
