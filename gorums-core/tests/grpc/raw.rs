//! A client on HTTP/2 itself, which does nothing by itself: it knows of what the server says when it is told to look.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};

use bytes::{BufMut, Bytes, BytesMut};
use gorums_core::BoxedIo;
use h2::SendStream;
use h2::client::{Connection, ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use prost::Message;

pub(crate) struct Raw {
    requests: SendRequest<Bytes>,
    /// Absent once it has ended.
    connection: Option<Connection<BoxedIo, Bytes>>,
}

/// What came for a call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    /// Nothing came after the headers.
    pub(crate) only_headers: bool,
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Raw {
    pub(crate) async fn new(io: BoxedIo) -> Self {
        let (requests, connection) = h2::client::handshake(io).await.unwrap();
        Self { requests, connection: Some(connection) }
    }

    /// Makes a call with one message.
    pub(crate) fn begin(
        &mut self,
        path: &str,
        message: &impl Message,
        timeout: Option<&str>,
    ) -> ResponseFuture {
        let (response, mut sink) = self.open(path, message, timeout);
        sink.send_data(Bytes::new(), true).unwrap();
        response
    }

    /// Begins a call whose client may say more. It is given up when both are dropped.
    pub(crate) fn open(
        &mut self,
        path: &str,
        message: &impl Message,
        timeout: Option<&str>,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::post(format!("http://node1:1{path}"));
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let (response, mut sink) = self.requests.send_request(request.body(()).unwrap(), false).unwrap();
        sink.send_data(framed(message), false).unwrap();
        (response, sink)
    }

    /// Waits for the answer.
    pub(crate) async fn answer(&mut self, response: ResponseFuture) -> Answer {
        let answer = async {
            let (head, mut body) = response.await.unwrap().into_parts();
            let only_headers = body.is_end_stream();
            let mut data = BytesMut::new();
            while let Some(received) = body.data().await {
                data.extend_from_slice(&received.unwrap());
            }
            let trailers = body.trailers().await.unwrap();
            Answer { headers: head.headers, only_headers, data: data.freeze(), trailers }
        };
        self.drive(answer).await
    }

    /// Waits for something, while the connection goes on.
    pub(crate) async fn drive<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        poll_fn(|cx| {
            if let Some(connection) = &mut self.connection
                && Pin::new(connection).poll(cx).is_ready()
            {
                self.connection = None;
            }
            what.as_mut().poll(cx)
        })
        .await
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closed(&mut self) {
        if let Some(connection) = self.connection.take() {
            // An error says that it is closed, too.
            let _ = connection.await;
        }
    }
}

/// A message behind its prefix.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.encoded_len() as u32);
    message.encode(&mut framed).unwrap();
    framed.freeze()
}
