//! One HTTP/2 stream as a duplex of byte batches.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use crate::transport::TransportError;
use crate::wire;

/// The two directions of a node stream.
pub(crate) struct Duplex {
    sink: SendStream<Bytes>,
    source: Source,
    /// Room that was asked for and not used.
    asked: usize,
}

enum Source {
    /// A Go server sends its headers only together with its first message.
    AwaitsHeaders(ResponseFuture),
    Open(RecvStream),
}

/// What comes from the peer.
pub(crate) enum Received {
    /// The peer has answered the request for a stream.
    Headers(HeaderMap),
    Data(Bytes),
}

impl Duplex {
    pub(crate) fn opened(sink: SendStream<Bytes>, response: ResponseFuture) -> Self {
        Self { sink, source: Source::AwaitsHeaders(response), asked: 0 }
    }

    pub(crate) fn accepted(sink: SendStream<Bytes>, source: RecvStream) -> Self {
        Self { sink, source: Source::Open(source), asked: 0 }
    }

    /// How many bytes can be sent now, if there are more than `above`. Asks for room for up to `wanted`.
    pub(crate) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        above: usize,
        wanted: usize,
    ) -> Poll<Result<usize, TransportError>> {
        loop {
            self.asked = wanted;
            self.sink.reserve_capacity(wanted);
            let room = self.sink.capacity();
            if room > above {
                return Poll::Ready(Ok(room));
            }
            match ready!(self.sink.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Err(TransportError::Ended)),
            }
        }
    }

    /// Asks for no more room than has been used.
    pub(crate) fn give_room_back(&mut self) {
        if std::mem::take(&mut self.asked) > 0 {
            self.sink.reserve_capacity(0);
        }
    }

    /// An error once the stream was reset or its connection has ended.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Result<(), TransportError> {
        match self.sink.poll_reset(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(_)) => Err(TransportError::Ended),
            Poll::Ready(Err(error)) => Err(error.into()),
        }
    }

    /// Sends bytes for which there is room.
    pub(crate) fn send(&mut self, data: Bytes) -> Result<(), TransportError> {
        self.asked = self.asked.saturating_sub(data.len());
        Ok(self.sink.send_data(data, false)?)
    }

    /// Sends the end of this direction: what was sent before still arrives.
    pub(crate) fn finish(&mut self) {
        // The stream may be gone already; then there is nothing to finish.
        let _ = self.sink.send_data(Bytes::new(), true);
    }

    /// Sends the end of this direction as a gRPC server does, with a status.
    pub(crate) fn finish_with_status(&mut self, status: &tonic::Status) {
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_ok() {
            let _ = self.sink.send_trailers(trailers);
        }
    }

    /// Gives the stream up.
    pub(crate) fn reset(&mut self) {
        self.sink.send_reset(Reason::CANCEL);
    }

    /// What comes next; `None` after the last.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Received>, TransportError>> {
        match &mut self.source {
            Source::AwaitsHeaders(response) => {
                let response = ready!(Pin::new(response).poll(cx))?;
                let (head, body) = response.into_parts();
                if head.status == http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
                    let limit =
                        "the metadata of the configuration is larger than the server's `max_metadata_size`";
                    return Poll::Ready(Err(TransportError::Refused(limit.into())));
                }
                if head.status != http::StatusCode::OK {
                    return Poll::Ready(Err(TransportError::NotGorums(head.status)));
                }
                if let Some(status) = tonic::Status::from_header_map(&head.headers)
                    && status.code() != tonic::Code::Ok
                {
                    return Poll::Ready(Err(ended_by(&status, &head.headers)));
                }
                self.source = Source::Open(body);
                Poll::Ready(Ok(Some(Received::Headers(head.headers))))
            }
            Source::Open(body) => match ready!(body.poll_data(cx)) {
                Some(Ok(data)) => Poll::Ready(Ok(Some(Received::Data(data)))),
                Some(Err(error)) => Poll::Ready(Err(error.into())),
                None => Poll::Ready(Ok(None)),
            },
        }
    }

    /// The peer may send this many bytes more.
    pub(crate) fn release(&mut self, bytes: usize) {
        if let Source::Open(body) = &mut self.source {
            // Fails only if more is released than was received, which the driver's count excludes.
            let _ = body.flow_control().release_capacity(bytes);
        }
    }
}

/// What a status in place of a node stream means. A server of ours marks those that it gives before it takes any request,
/// and a server that does not know of node streams has none to take. All others may be the end of a stream on which
/// requests were handled.
fn ended_by(status: &tonic::Status, headers: &HeaderMap) -> TransportError {
    let reason = format!("{:?}: {}", status.code(), status.message());
    if headers.contains_key(wire::FEATURES) || status.code() == tonic::Code::Unimplemented {
        TransportError::Refused(reason)
    } else {
        TransportError::EndedBy(reason)
    }
}
