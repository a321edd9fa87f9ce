//! Notices that a connection is dead although nothing says so.
//!
//! HTTP/2 pings (RFC 9113, section 6.7): one at once, which also shows whether the peer speaks HTTP/2 at all,
//! and then at a fixed interval, also when the connection is idle. A peer that shows
//! another [sign of life](Activity) is not dead, though its answer be stuck behind a long message on a slow link.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

use crate::transport::{Activity, TransportError};

pub(crate) struct Keepalive {
    ping_pong: PingPong,
    activity: Activity,
    /// The signs of life when the time for an answer began.
    signs: u64,
    interval: Duration,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    /// When the ping that is not answered yet was sent.
    sent: Option<Instant>,
    /// How long the last answer took; `None` before the first.
    last: Option<Duration>,
}

impl Keepalive {
    pub(crate) fn new(
        ping_pong: PingPong,
        activity: Activity,
        interval: Duration,
        timeout: Duration,
    ) -> Self {
        Self {
            ping_pong,
            activity,
            signs: 0,
            interval,
            timeout,
            timer: Box::pin(sleep(Duration::ZERO)),
            sent: None,
            last: None,
        }
    }

    /// The peer has answered a ping.
    pub(crate) fn has_pong(&self) -> bool {
        self.last.is_some()
    }

    /// How long the peer took to answer the last ping.
    pub(crate) fn last(&self) -> Option<Duration> {
        self.last
    }

    /// Ready when the peer has not answered a ping in time, nor shown another sign of life.
    pub(crate) fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<TransportError> {
        loop {
            if let Some(sent) = self.sent
                && let Poll::Ready(pong) = self.ping_pong.poll_pong(cx)
            {
                if let Err(error) = pong {
                    return Poll::Ready(error.into());
                }
                self.sent = None;
                self.last = Some(sent.elapsed());
                self.timer.set(sleep(self.interval));
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let signs = self.activity.signs();
            if self.sent.is_some() {
                if signs == self.signs {
                    return Poll::Ready(TransportError::KeepaliveTimeout(self.timeout));
                }
            } else if let Err(error) = self.ping_pong.send_ping(Ping::opaque()) {
                return Poll::Ready(error.into());
            }
            self.sent.get_or_insert_with(Instant::now);
            self.signs = signs;
            self.timer.set(sleep(self.timeout));
        }
    }
}
