//! Keeps a connection to a node that this process dials: connects, runs the stream, and starts again.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::channel::callbacks::{Callbacks, Handling};
use crate::channel::driver::{Driver, End};
use crate::channel::keepalive::Keepalive;
use crate::channel::link::Link;
use crate::channel::queue::{Outgoing, Queue};
use crate::channel::{Channel, Connectivity};
use crate::error::{Fault, NodeErrorKind, Source};
use crate::id::Initiator;
use crate::parts::{Part, Parts};
use crate::router::MessageRouter;
use crate::transport::{self, ClientConnection, Opened, Opening, TransportError};

/// How often every gRPC server tolerates pings of an idle client: one in five minutes is the least that Go's
/// allows unless it is told otherwise.
const TOLERATED_KEEPALIVE: Duration = Duration::from_secs(310);

/// Runs until the channel is closed and what waited was written, or cannot be written in time.
pub(crate) async fn run(channel: Arc<Channel>) {
    let mut outbound = Outbound::new(channel.clone());
    tokio::select! {
        biased;
        () = outbound.run() => {}
        () = channel.pool().aborting().cancelled() => {}
    }
    outbound.end();
    if let Some(handling) = outbound.handling {
        handling.end().await;
    }
}

/// Resolves when the channel is closed and nothing waits to be written any more, or not any longer.
async fn gone(channel: &Channel) {
    tokio::select! {
        biased;
        () = poll_fn(|cx| channel.poll_closed(cx)) => {}
        () = channel.pool().closing().cancelled() => channel.close(),
    }
    if let Some(end) = channel.drained_by()
        && !channel.with_queue(|queue| queue.is_empty())
    {
        sleep_until(end).await;
    }
}

struct Outbound {
    channel: Arc<Channel>,
    link: Link,
    keepalive_interval: Duration,
    /// Attempts to connect so far.
    dials: u64,
    epoch: u32,
    /// Of calls back.
    handling: Option<Handling>,
    /// Where the jitter comes from if it has to be the same again.
    dice: Option<StdRng>,
}

impl Outbound {
    fn new(channel: Arc<Channel>) -> Self {
        let options = channel.pool().options();
        let link = Link::new(options.backoff);
        let keepalive_interval = options.transport.keepalive_interval;
        let handling = options.callbacks.clone().map(|callbacks| Handling::new(callbacks, channel.clone()));
        let seed = options.jitter_seed.map(|seed| seed.wrapping_add(u64::from(channel.ordinal())));
        let dice = seed.map(StdRng::seed_from_u64);
        Self { channel, link, keepalive_interval, dials: 0, epoch: 0, handling, dice }
    }

    async fn run(&mut self) {
        let channel = self.channel.clone();
        tokio::select! {
            biased;
            () = poll_fn(|cx| channel.poll_wanted(cx)) => {}
            () = channel.pool().closing().cancelled() => channel.close(),
        }
        while !self.is_finished() {
            let end = tokio::select! {
                biased;
                // Boxed, so that what it takes is free again when it is done.
                connected = Box::pin(self.connect()) => match connected {
                    Ok(connected) => {
                        let stream = self.start(connected);
                        self.stream(stream).await
                    }
                    Err(error) => End::Lost(error),
                },
                () = gone(&channel) => End::Closed,
            };
            match end {
                End::Closed => break,
                End::Lost(error) => {
                    let pause = self.lost(error);
                    self.pause(pause).await;
                }
            }
        }
    }

    /// Waits before the next dial, unless there is a reason not to.
    async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            biased;
            () = sleep(pause) => {}
            () = gone(&self.channel) => {}
            () = poll_fn(|cx| self.channel.poll_sighted(cx)) => {
                self.link.sighted();
                self.channel.with_queue(Queue::go_up);
            }
        }
    }

    fn is_finished(&self) -> bool {
        let late = |end| Instant::now() >= end;
        self.channel
            .drained_by()
            .is_some_and(|end| self.channel.with_queue(|queue| queue.is_empty()) || late(end))
    }

    async fn connect(&mut self) -> Result<Opened, TransportError> {
        self.link.dialling(Instant::now());
        let options = self.channel.pool().options();
        let address = self.channel.address();
        self.dials += 1;
        let opening = Opening {
            node: self.channel.id(),
            address,
            security: &options.security,
            headers: &options.headers,
            opened_by: self.channel.client_name(self.dials),
            claim: options.callbacks.as_ref().map(Callbacks::claim),
        };
        let dial = async {
            let io = options.connector.connect(address.clone()).await?;
            transport::open(io, opening).await
        };
        let limit = options.connect_timeout;
        timeout(limit, dial).await.map_err(|_| TransportError::ConnectTimeout(limit))?
    }

    /// Boxed, as it is large, and several futures have room for it otherwise.
    fn start(&mut self, opened: Opened) -> Box<Stream> {
        let Opened { duplex, mut connection, activity, certificates } = opened;
        self.epoch = self.link.connected(Instant::now());
        self.channel.counters().connected();
        let options = self.channel.pool().options();
        let (interval, timeout) = (self.keepalive_interval, options.transport.keepalive_timeout);
        let keepalive =
            connection.ping_pong().map(|pings| Keepalive::new(pings, activity, interval, timeout));
        let dispatcher = self.handling.as_ref().map(|handling| handling.dispatcher(certificates));
        let router = MessageRouter::new(self.channel.clone(), Initiator::Client, dispatcher);
        let driver = Driver::new(duplex, self.channel.clone(), self.epoch, router).hold();
        Box::new(Stream {
            parts: Parts::new(),
            driver,
            connection,
            keepalive,
            channel: self.channel.clone(),
            up: false,
        })
    }

    /// Runs a stream to its end.
    async fn stream(&mut self, mut stream: Box<Stream>) -> End {
        let closing = self.channel.pool().closing().clone();
        let end = {
            let run = poll_fn(|cx| stream.poll(cx));
            tokio::pin!(run);
            tokio::select! {
                biased;
                end = &mut run => end,
                () = closing.cancelled() => {
                    self.channel.close();
                    run.await
                }
            }
        };
        // A node that answers pings and refuses the stream is no better than one that is down.
        if stream.up && !matches!(&end, End::Lost(error) if error.is_refusal()) {
            self.link.answered();
        }
        let (sent, router) = stream.driver.into_parts();
        if let Some((handling, dispatcher)) = self.handling.as_mut().zip(router.detach()) {
            handling.detach(dispatcher);
        }
        if let End::Lost(error) = &end {
            self.settle(sent, error);
        }
        end
    }

    /// What was sent on a stream that broke is sent again if its method allows it, and else fails.
    fn settle(&self, sent: impl Iterator<Item = Outgoing>, error: &TransportError) {
        let pool = self.channel.pool();
        let ordinal = self.channel.ordinal();
        // From the newest on: a call that has asked this node more than once waits for the last of its requests.
        let sent: Vec<_> = sent.collect();
        let out = |request: &Outgoing| pool.pending().requeued(request.id, ordinal, self.epoch);
        let mut again: Vec<_> = sent.into_iter().rev().filter(out).collect();
        again.reverse();
        let source: Source = Arc::new(std::io::Error::other(error.to_string()));
        let fault = if error.took_nothing() {
            Fault::unsent(NodeErrorKind::Unavailable, Some(source))
        } else {
            Fault::sent(NodeErrorKind::ConnectionLost, Some(source))
        };
        pool.pending().fail_sent(ordinal, self.epoch, &fault);
        self.channel.with_queue(|queue| {
            queue.take_replies();
            queue.requeue(again.into_iter());
        });
    }

    /// Decides how to go on after a failure, and gives the pause before the next attempt.
    fn lost(&mut self, error: TransportError) -> Duration {
        if error.is_too_many_pings() {
            self.keepalive_interval = TOLERATED_KEEPALIVE.max(self.keepalive_interval);
        }
        let now = Instant::now();
        self.channel.with_queue(|queue| queue.expire(now));
        self.channel.made_room();
        let lost =
            if self.channel.is_up() { NodeErrorKind::ConnectionLost } else { NodeErrorKind::Unavailable };
        self.channel.counters().failed(lost);
        let redial = self.link.failed(now, self.dice.as_mut().map_or_else(rand::random, Rng::random));
        let (id, address) = (self.channel.id(), self.channel.address());
        tracing::debug!(node = %id, %address, %error, retry_in = ?redial.after, "no connection");
        let source: Source = Arc::new(error);
        if redial.fail_fast {
            let failed = self.channel.with_queue(|queue| queue.go_down(Some(source.clone())));
            self.channel.fail_unsent(failed, &NodeErrorKind::Unavailable, Some(&source));
        }
        self.channel.set_connectivity(Connectivity::Down(source));
        redial.after
    }

    /// Ends every call that still waits for this node.
    fn end(&self) {
        self.channel.close();
        self.channel.set_connectivity(Connectivity::Closed);
        let failed = self.channel.with_queue(Queue::clear);
        self.channel.fail_unsent(failed, &NodeErrorKind::Closed, None);
        let fault = Fault::sent(NodeErrorKind::Closed, None);
        self.channel.pool().pending().fail_sent(self.channel.ordinal(), self.epoch, &fault);
    }
}

/// A connection and the stream on it, in one task.
struct Stream {
    parts: Parts<3>,
    driver: Driver,
    connection: Box<ClientConnection>,
    keepalive: Option<Keepalive>,
    channel: Arc<Channel>,
    /// The peer is known to be there.
    up: bool,
}

/// The parts of the task, in order.
const KEEPALIVE: usize = 0;
const DRIVER: usize = 1;
const CONNECTION: usize = 2;

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Self { parts, driver, connection, keepalive, channel, up } = self;
        parts.poll(cx, |part, cx| {
            let polled = match part {
                KEEPALIVE => match keepalive.as_mut().map(|keepalive| keepalive.poll_dead(cx)) {
                    Some(Poll::Ready(error)) => Part::Ready(End::Lost(error)),
                    Some(Poll::Pending) | None => Part::Waits,
                },
                DRIVER => driver.poll(cx),
                CONNECTION.. => match Pin::new(&mut *connection).poll(cx) {
                    Poll::Pending => Part::Waits,
                    // What arrived together with the end is taken first.
                    Poll::Ready(ended) => match driver.poll(cx) {
                        Part::Ready(end) => Part::Ready(end),
                        _ => Part::Ready(End::Lost(ended.err().map_or(TransportError::Ended, Into::into))),
                    },
                },
            };
            if part == KEEPALIVE
                && let Some(ping) = keepalive.as_ref().and_then(Keepalive::last)
            {
                channel.counters().pinged(ping);
            }
            if !*up && (driver.answered() || keepalive.as_ref().is_none_or(Keepalive::has_pong)) {
                *up = true;
                let_requests_go(driver, channel);
                parts.wake(DRIVER);
            }
            polled
        })
    }
}

/// The peer has shown that it is there: a host that accepts connections and is dead otherwise must not swallow requests.
fn let_requests_go(driver: &mut Driver, channel: &Channel) {
    driver.open();
    channel.with_queue(Queue::go_up);
    channel.set_connectivity(Connectivity::Up);
    channel.take_sighting();
}
