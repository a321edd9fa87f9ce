//! What a faulty link does to the bytes that pass it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::sleep;

/// What happens to the bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Traffic {
    /// They pass.
    #[default]
    Forward,
    /// They do not arrive, and nothing says so, until the traffic is forwarded again: so a network behaves that
    /// drops packets, over which TCP keeps trying. The sender can send until the buffers are full.
    Hold,
    /// They arrive this much later.
    Delay(Duration),
}

/// Which way bytes go over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the end that dialled to the end that accepted.
    ToServer,
    /// Back.
    ToClient,
}

/// The faults of a link, which can be changed at any time.
#[derive(Clone, Debug)]
pub struct Faults {
    to_server: Arc<watch::Sender<Traffic>>,
    to_client: Arc<watch::Sender<Traffic>>,
    /// Counts the resets: a connection that was made under an older count is cut.
    resets: Arc<watch::Sender<u64>>,
}

impl Default for Faults {
    fn default() -> Self {
        let traffic = || Arc::new(watch::Sender::new(Traffic::Forward));
        Self { to_server: traffic(), to_client: traffic(), resets: Arc::new(watch::Sender::new(0)) }
    }
}

impl Faults {
    /// Changes what happens to the bytes in one direction, of connections there are and of new ones.
    pub fn set(&self, direction: Direction, traffic: Traffic) {
        let sender = match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        };
        sender.send_replace(traffic);
    }

    /// Changes what happens to the bytes in both directions.
    pub fn set_both(&self, traffic: Traffic) {
        self.set(Direction::ToServer, traffic);
        self.set(Direction::ToClient, traffic);
    }

    /// Cuts all connections there are.
    pub fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    /// Carries bytes between two ends until one closes or the link is cut.
    pub(crate) async fn carry<A, B>(&self, client: A, server: B)
    where
        A: AsyncRead + AsyncWrite + Send + 'static,
        B: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut resets = self.resets.subscribe();
        let (from_client, to_client) = tokio::io::split(client);
        let (from_server, to_server) = tokio::io::split(server);
        let there = pump(from_client, to_server, self.to_server.subscribe());
        let back = pump(from_server, to_client, self.to_client.subscribe());
        tokio::select! {
            _ = async { tokio::join!(there, back) } => {}
            _ = resets.changed() => {}
        }
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut traffic: watch::Receiver<Traffic>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        passes(&mut traffic).await;
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        // What was read before the link failed is held back as well.
        passes(&mut traffic).await;
        let delay = match *traffic.borrow() {
            Traffic::Delay(delay) => delay,
            Traffic::Forward | Traffic::Hold => Duration::ZERO,
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Waits while traffic is held.
async fn passes(traffic: &mut watch::Receiver<Traffic>) {
    // An error means that nobody can change the traffic any more.
    let _ = traffic.wait_for(|traffic| *traffic != Traffic::Hold).await;
}
