//! The way back to the client of a call.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, Response, response};
use tonic::Status;
use tonic::body::Body;

use crate::server::connection::grpc_response;

/// How much room is asked for at once, so that a large message does not keep the client's window from other streams.
const CHUNK: usize = 64 << 10;

/// Where the response goes.
pub(super) enum Reply {
    /// Nothing was sent yet.
    Awaited(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
    Ended,
}

/// The client has given the call up, or its connection has ended.
#[derive(Debug)]
pub(super) struct Gone;

impl From<h2::Error> for Gone {
    fn from(_: h2::Error) -> Self {
        Self
    }
}

impl Reply {
    /// Waits for something for as long as the client does.
    pub(super) async fn unless_gone<T>(&mut self, what: impl Future<Output = T>) -> Result<T, Gone> {
        tokio::select! {
            biased;
            () = poll_fn(|cx| self.poll_gone(cx)) => Err(Gone),
            result = what => Ok(result),
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Awaited(respond) => respond.poll_reset(cx).map(drop),
            Self::Begun(sink) => sink.poll_reset(cx).map(drop),
            Self::Ended => Poll::Ready(()),
        }
    }

    /// Sends a response to its end.
    pub(super) async fn send(&mut self, response: Response<Body>) -> Result<(), Gone> {
        let (head, body) = response.into_parts();
        let mut body = std::pin::pin!(body);
        self.begin(head, http_body::Body::is_end_stream(&*body))?;
        while let Some(frame) =
            self.frame(poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx))).await?
        {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => self.data(data).await?,
                Ok(Err(frame)) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return self.end(|sink| sink.send_trailers(trailers));
                }
                Err(status) => {
                    self.fail(&status);
                    return Ok(());
                }
            }
        }
        self.end(|sink| sink.send_data(Bytes::new(), true))
    }

    /// The next of the body; nothing if all has been sent.
    async fn frame<T>(&mut self, next: impl Future<Output = Option<T>>) -> Result<Option<T>, Gone> {
        if matches!(self, Self::Ended) { Ok(None) } else { self.unless_gone(next).await }
    }

    fn begin(&mut self, head: response::Parts, is_all: bool) -> Result<(), Gone> {
        let Self::Awaited(respond) = self else { return Err(Gone) };
        let sink = respond.send_response(Response::from_parts(head, ()), is_all)?;
        *self = if is_all { Self::Ended } else { Self::Begun(sink) };
        Ok(())
    }

    /// Sends data as the client has room for it.
    async fn data(&mut self, mut data: Bytes) -> Result<(), Gone> {
        let Self::Begun(sink) = self else { return Err(Gone) };
        while !data.is_empty() {
            sink.reserve_capacity(data.len().min(CHUNK));
            while sink.capacity() == 0 {
                poll_fn(|cx| sink.poll_capacity(cx)).await.ok_or(Gone)??;
            }
            let room = sink.capacity().min(CHUNK).min(data.len());
            sink.send_data(data.split_to(room), false)?;
        }
        Ok(())
    }

    fn end(
        &mut self,
        last: impl FnOnce(&mut SendStream<Bytes>) -> Result<(), h2::Error>,
    ) -> Result<(), Gone> {
        if let Self::Begun(sink) = self {
            last(sink)?;
            *self = Self::Ended;
        }
        Ok(())
    }

    /// Ends the call with a status: after what was sent, or instead of it.
    pub(super) fn fail(&mut self, status: &Status) {
        // Each fails if the client has gone, and without the status, if its metadata does not fit, the call ends too.
        match std::mem::replace(self, Self::Ended) {
            Self::Awaited(mut respond) => {
                let mut response = grpc_response();
                let _ = status.add_header(response.headers_mut());
                let _ = respond.send_response(response, true);
            }
            Self::Begun(mut sink) => {
                let mut trailers = HeaderMap::new();
                let _ = status.add_header(&mut trailers);
                let _ = sink.send_trailers(trailers);
            }
            Self::Ended => {}
        }
    }
}
