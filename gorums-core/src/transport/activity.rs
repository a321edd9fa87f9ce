//! Tells whether a connection has shown a sign of life lately, however small.
//!
//! Bytes that were received are one. So are bytes that the transport takes after it had been full: the peer must have
//! acknowledged some. A ping may wait behind what is being sent, and its answer behind what is being received; both
//! are no reason to give a slow connection up. Bytes that are taken by buffers with room say nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::BoxedIo;

/// Counts the signs of life of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity(Arc<AtomicU64>);

impl Activity {
    /// A number that rises with each sign of life.
    pub(crate) fn signs(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Relaxed);
    }
}

/// A byte stream that counts its signs of life.
struct Watched {
    io: BoxedIo,
    activity: Activity,
    /// The transport took nothing when it was last offered something.
    full: bool,
    /// Nothing was received yet, and what comes must not be TLS.
    unheard: bool,
}

/// Lets a byte stream count its signs of life. If it is a plain one, a peer that speaks TLS is recognized.
pub(crate) fn watch(io: BoxedIo, plain: bool) -> (BoxedIo, Activity) {
    let activity = Activity::default();
    (Box::new(Watched { io, activity: activity.clone(), full: false, unheard: plain }), activity)
}

/// What TLS starts with, as the beginning of a handshake or as an alert. HTTP/2 starts with neither: a client sends `P`,
/// a server the length of its settings.
const TLS_RECORDS: [u8; 2] = [0x16, 0x15];

impl Watched {
    fn written(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled
            && self.full
        {
            self.activity.add(*bytes);
        }
        self.full = polled.is_pending();
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let received = &buf.filled()[before..];
        self.activity.add(received.len());
        if self.unheard
            && let Some(first) = received.first()
        {
            self.unheard = false;
            if TLS_RECORDS.contains(first) {
                return Poll::Ready(Err(speaks_tls()));
            }
        }
        polled
    }
}

fn speaks_tls() -> io::Error {
    let what = "the peer speaks TLS and this end does not: set `.tls(..)` at both ends, or at none";
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
