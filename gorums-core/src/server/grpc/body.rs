//! The body of a request, for a service to read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::sync::Mutex;

/// What the client sends. The client may send more as it is read.
///
/// A service may hand it to a task that nobody else knows of. So it does not only end with what the client sends, but also
/// with the [`Call`](super::Call), which keeps a [`BodyGuard`].
pub(super) struct RequestBody(Arc<Mutex<Inbound>>);

/// Ends the body of a request when it is dropped.
pub(super) struct BodyGuard(Arc<Mutex<Inbound>>);

struct Inbound {
    source: Source,
    /// Who waits for more.
    reader: Option<Waker>,
}

enum Source {
    Open(RecvStream),
    /// The call has ended before the body was read.
    Cut,
    Ended,
}

impl RequestBody {
    pub(super) fn new(stream: RecvStream) -> (Self, BodyGuard) {
        let inbound = Arc::new(Mutex::new(Inbound { source: Source::Open(stream), reader: None }));
        (Self(inbound.clone()), BodyGuard(inbound))
    }
}

impl Drop for BodyGuard {
    fn drop(&mut self) {
        let mut inbound = self.0.lock();
        let cut = match inbound.source {
            Source::Open(_) => Some(std::mem::replace(&mut inbound.source, Source::Cut)),
            Source::Cut | Source::Ended => None,
        };
        let reader = inbound.reader.take();
        drop(inbound);
        drop(cut);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Inbound {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let stream = match &mut self.source {
            Source::Open(stream) => stream,
            Source::Cut => {
                self.source = Source::Ended;
                return Poll::Ready(Some(Err(Status::aborted("the call has ended"))));
            }
            Source::Ended => return Poll::Ready(None),
        };
        let frame = match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // Fails only if more is released than was received.
                let _ = stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Err(error)) => Some(Err(lost(&error))),
            None => match ready!(stream.poll_trailers(cx)) {
                Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
                Err(error) => Some(Err(lost(&error))),
            },
        };
        self.source = Source::Ended;
        Poll::Ready(frame)
    }
}

/// Not `CANCELLED`, which tonic shows to handlers as the end of what the client had to say.
fn lost(error: &h2::Error) -> Status {
    if error.is_reset() {
        Status::aborted(format!("the client has given the call up: {error}"))
    } else {
        Status::unavailable(format!("the connection is lost: {error}"))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut inbound = self.0.lock();
        let polled = inbound.poll(cx);
        inbound.reader = polled.is_pending().then(|| cx.waker().clone());
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.0.lock().source {
            Source::Open(stream) => stream.is_end_stream(),
            Source::Cut => false,
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
