//! What a faulty link does to the bytes that pass it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What happens to the bytes in one direction, and to the end of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Traffic {
    /// They pass.
    #[default]
    Forward,
    /// They are kept, and arrive in order once traffic is forwarded again: as over a network that loses packets for
    /// a while, over which TCP keeps trying. Up to 64 MiB are taken from the sender, and then no more.
    Hold,
    /// They are taken from the sender and vanish. As no byte stream goes on after a gap, a connection that has lost
    /// some is cut once traffic is forwarded again.
    Drop,
    /// They arrive this much later; as many may be on their way as with [`Hold`](Self::Hold).
    Delay(Duration),
    /// They arrive at this rate, in bytes per second and at least 100, as over a slow link. Up to 64 KiB are on their
    /// way.
    Limit(u32),
    /// They are not taken from the sender, whose buffers fill, as those of a peer whose process is stopped.
    StopReading,
}

/// Which way bytes go over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the end that dialled to the end that accepted.
    ToServer,
    /// Back.
    ToClient,
}

/// The faults of a link, which can be changed at any time, and how many connections use it.
#[derive(Clone, Debug)]
pub struct Faults {
    to_server: Arc<watch::Sender<Traffic>>,
    to_client: Arc<watch::Sender<Traffic>>,
    /// Counts the resets: a connection that was made under an older count is cut.
    resets: Arc<watch::Sender<u64>>,
    connections: Arc<AtomicUsize>,
}

/// How a connection over a faulty link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    InOrder,
    /// It was cut, and both ends are to see a reset.
    Cut,
}

impl Default for Faults {
    fn default() -> Self {
        let traffic = || Arc::new(watch::Sender::new(Traffic::Forward));
        Self {
            to_server: traffic(),
            to_client: traffic(),
            resets: Arc::new(watch::Sender::new(0)),
            connections: Arc::default(),
        }
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

    /// Cuts all connections there are: both ends see a reset, and what was on its way is lost.
    pub fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    /// How many connections there are over this link.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Carries bytes between two ends until both directions have ended, one fails, or the link is cut.
    pub(crate) async fn carry<A, B>(&self, client: &mut A, server: &mut B) -> Ended
    where
        A: AsyncRead + AsyncWrite + Unpin + Send,
        B: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let _counted = Counted::new(&self.connections);
        let mut resets = self.resets.subscribe();
        let (from_client, to_client) = tokio::io::split(client);
        let (from_server, to_server) = tokio::io::split(server);
        let there = Pump::new(self.to_server.subscribe()).run(from_client, to_server);
        let back = Pump::new(self.to_client.subscribe()).run(from_server, to_client);
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => ended.map_or(Ended::Cut, |_| Ended::InOrder),
            _ = resets.changed() => Ended::Cut,
        }
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Bytes that may be on their way in one direction.
const MAX_ON_THE_WAY: usize = 64 << 20;
const SLOW_LINK: usize = 64 << 10;
const READ: usize = 16 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// One direction of one connection.
struct Pump {
    traffic: watch::Receiver<Traffic>,
    on_the_way: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// When a slow link is free again.
    free_at: Instant,
    ended: bool,
    lost: bool,
}

impl Pump {
    fn new(traffic: watch::Receiver<Traffic>) -> Self {
        let free_at = Instant::now();
        Self { traffic, on_the_way: VecDeque::new(), bytes: 0, free_at, ended: false, lost: false }
    }

    async fn run(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(READ);
        loop {
            let traffic = *self.traffic.borrow_and_update();
            let passes = !matches!(traffic, Traffic::Hold | Traffic::Drop);
            if passes && self.lost {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if passes && self.ended && self.on_the_way.is_empty() {
                return to.shutdown().await;
            }
            let most = match traffic {
                Traffic::StopReading => 0,
                Traffic::Limit(_) => SLOW_LINK,
                _ => MAX_ON_THE_WAY,
            };
            let reads = !self.ended && self.bytes < most;
            let due = self.on_the_way.front().map(|(due, _)| self.free_at.max(*due)).filter(|_| passes);
            let rate = if let Traffic::Limit(rate) = traffic { Some(rate.max(100)) } else { None };
            // A hundredth of a second's worth at a time.
            let most = rate.map_or(usize::MAX, |rate| rate as usize / 100);
            tokio::select! {
                read = from.read_buf(&mut buffer), if reads => {
                    let ended = read? == 0;
                    self.take(traffic, buffer.split().freeze(), ended);
                    buffer.reserve(READ);
                }
                written = write(&mut to, due, self.on_the_way.front(), most), if due.is_some() => {
                    let written = written?;
                    self.written(written);
                    if let Some(rate) = rate {
                        self.free_at = Instant::now() + SECOND * written as u32 / rate;
                    }
                }
                // No error: whoever carries the bytes can also change the traffic.
                _ = self.traffic.changed() => {}
            }
        }
    }

    fn take(&mut self, traffic: Traffic, data: Bytes, ended: bool) {
        if traffic == Traffic::Drop {
            self.lost = true;
        }
        if self.lost {
            self.ended |= ended;
            return;
        }
        let delay = if let Traffic::Delay(delay) = traffic { delay } else { Duration::ZERO };
        self.ended = ended;
        if !data.is_empty() {
            self.bytes += data.len();
            self.on_the_way.push_back((Instant::now() + delay, data));
        }
    }

    fn written(&mut self, written: usize) {
        self.bytes -= written;
        if let Some((_, front)) = self.on_the_way.front_mut() {
            front.advance(written);
            if front.is_empty() {
                self.on_the_way.pop_front();
            }
        }
    }
}

/// Writes some of what is due.
async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    due: Option<Instant>,
    front: Option<&(Instant, Bytes)>,
    most: usize,
) -> io::Result<usize> {
    // A sleep of no time would be rounded up to a millisecond.
    if let Some(due) = due.filter(|&due| due > Instant::now()) {
        sleep_until(due).await;
    }
    match front {
        Some((_, data)) => to.write(&data[..data.len().min(most)]).await,
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// The two ends of a faulty link, and how it ends.
    fn link(faults: &Faults) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<Ended>) {
        let (client, mut near) = duplex(1 << 10);
        let (mut far, server) = duplex(1 << 10);
        let faults = faults.clone();
        let carried = tokio::spawn(async move { faults.carry(&mut near, &mut far).await });
        (client, server, carried)
    }

    async fn receive(server: &mut DuplexStream) -> Option<Vec<u8>> {
        let mut buffer = [0; 16];
        let read = tokio::time::timeout(SECOND, server.read(&mut buffer)).await.ok()?.ok()?;
        Some(buffer[..read].to_vec())
    }

    #[tokio::test(start_paused = true)]
    async fn holds_and_forwards_in_order() {
        let faults = Faults::default();
        let (mut client, mut server, carried) = link(&faults);
        faults.set(Direction::ToServer, Traffic::Hold);
        client.write_all(b"one").await.unwrap();
        assert_eq!(receive(&mut server).await, None);
        server.write_all(b"back").await.unwrap();
        assert_eq!(receive(&mut client).await.as_deref(), Some(&b"back"[..]), "the other direction passes");
        client.write_all(b"two").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(faults.connections(), 1);
        faults.set(Direction::ToServer, Traffic::Forward);
        let mut whole = String::new();
        server.read_to_string(&mut whole).await.unwrap();
        assert_eq!(whole, "onetwo");
        drop(server);
        assert_eq!(carried.await.unwrap(), Ended::InOrder);
        assert_eq!(faults.connections(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dropped_is_never_followed_by_anything() {
        let faults = Faults::default();
        let (mut client, mut server, carried) = link(&faults);
        faults.set(Direction::ToServer, Traffic::Drop);
        client.write_all(&vec![0; 100_000]).await.unwrap();
        assert_eq!(receive(&mut server).await, None);
        faults.set(Direction::ToServer, Traffic::Forward);
        assert_eq!(carried.await.unwrap(), Ended::Cut);
        assert_eq!(receive(&mut server).await, Some(Vec::new()), "closed, and nothing came");
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_does_not_limit_what_is_on_its_way() {
        let faults = Faults::default();
        let (mut client, mut server, _carried) = link(&faults);
        faults.set(Direction::ToServer, Traffic::Delay(SECOND));
        let start = Instant::now();
        client.write_all(&vec![7; 500_000]).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(start.elapsed() < SECOND / 10, "{:?}", start.elapsed());
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 500_000);
        assert!((SECOND..SECOND * 11 / 10).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_takes_its_time() {
        let faults = Faults::default();
        let (mut client, mut server, _carried) = link(&faults);
        faults.set(Direction::ToServer, Traffic::Limit(10_000));
        let start = Instant::now();
        client.write_all(&vec![7; 50_000]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 50_000);
        assert!((4 * SECOND..7 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_reading_fills_the_senders_buffers() {
        let faults = Faults::default();
        let (mut client, _server, _carried) = link(&faults);
        faults.set_both(Traffic::StopReading);
        tokio::task::yield_now().await;
        let sent = tokio::time::timeout(SECOND, client.write_all(&vec![0; 100_000])).await;
        assert!(sent.is_err(), "taken although nobody reads");
    }
}
