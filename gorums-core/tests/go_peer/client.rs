//! A node that calls, as a Go client behaves on the wire.

use std::future::poll_fn;

use bytes::Bytes;
use gorums_core::wire::{Envelope, Messages, NODE_STREAM};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::common::within;
use crate::server::write;
use crate::{FRAME, LIMIT, framed};

/// What h2 keeps before it grants no more capacity.
const SEND_BUFFER: usize = 256 << 10;

pub(crate) struct GoClient {
    client: SendRequest<Bytes>,
    sink: SendStream<Bytes>,
    source: Source,
    messages: Messages,
    /// The length of each DATA frame that came.
    pub(crate) frames: Vec<usize>,
    io: JoinHandle<Result<(), h2::Error>>,
}

enum Source {
    Awaited(ResponseFuture),
    Open(RecvStream),
}

impl GoClient {
    /// Opens a stream with these headers besides those that every Go client sends.
    pub(crate) async fn open(address: std::net::SocketAddr, headers: &[(&'static str, &str)]) -> Self {
        Self::open_path(address, NODE_STREAM, headers).await
    }

    pub(crate) async fn open_path(
        address: std::net::SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Self {
        let io = TcpStream::connect(address).await.unwrap();
        io.set_nodelay(true).unwrap();
        let handshake = h2::client::Builder::new()
            .initial_window_size(64 << 10)
            .max_frame_size(FRAME as u32)
            .max_send_buffer_size(SEND_BUFFER)
            .enable_push(false)
            .handshake(io);
        let (mut client, connection) = handshake.await.unwrap();
        let mut request = Request::post(format!("http://{address}{path}"))
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("user-agent", "grpc-go/1.79.3")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, sink) = client.send_request(request.body(()).unwrap(), false).unwrap();
        let (source, messages) = (Source::Awaited(response), Messages::new(LIMIT));
        Self { client, sink, source, messages, frames: Vec::new(), io: tokio::spawn(connection) }
    }

    /// The response headers.
    pub(crate) async fn headers(&mut self) -> HeaderMap {
        let Source::Awaited(response) = &mut self.source else { panic!("the headers were taken") };
        let response = within("response headers", response).await.unwrap();
        assert_eq!(response.status(), 200);
        let (head, body) = response.into_parts();
        self.source = Source::Open(body);
        assert_eq!(head.headers["content-type"], "application/grpc");
        head.headers
    }

    /// Sends a message in DATA frames of its own.
    pub(crate) async fn send(&mut self, message: &[u8]) {
        self.send_bytes(framed(message)).await;
    }

    /// Sends bytes that need not be messages.
    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        write(&mut self.sink, bytes.into()).await;
    }

    /// Waits until the server has ended the stream, in whatever way.
    pub(crate) async fn ended(&mut self) {
        let Source::Open(body) = &mut self.source else { panic!("take the headers first") };
        let end = within("the end of the stream", body.data()).await;
        assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    }

    /// Waits until everything has been written to the socket, for which the windows must have room.
    pub(crate) async fn flushed(&mut self) {
        self.sink.reserve_capacity(SEND_BUFFER);
        while self.sink.capacity() < SEND_BUFFER {
            poll_fn(|cx| self.sink.poll_capacity(cx)).await.unwrap().unwrap();
        }
        self.sink.reserve_capacity(0);
    }

    /// The next message, undecoded; `None` when the server has ended the stream.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if matches!(self.source, Source::Awaited(_)) {
            self.headers().await;
        }
        let Source::Open(body) = &mut self.source else { unreachable!() };
        within("a message", async {
            loop {
                if let Some(message) = self.messages.next_message().unwrap() {
                    return Some(message);
                }
                let data = body.data().await?.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                self.frames.push(data.len());
                self.messages.add(data);
            }
        })
        .await
    }

    /// The next message, decoded.
    pub(crate) async fn receive(&mut self) -> Envelope {
        Envelope::from_message(self.next().await.unwrap()).unwrap()
    }

    /// The status in the trailers, after the last message.
    pub(crate) async fn trailers(&mut self) -> HeaderMap {
        assert_eq!(self.next().await, None);
        let Source::Open(body) = &mut self.source else { unreachable!() };
        within("trailers", body.trailers()).await.unwrap().unwrap()
    }

    /// Closes as a Go client: `RST_STREAM(CANCEL)`, `GOAWAY(NO_ERROR)`, and the connection.
    pub(crate) async fn close(self) {
        let Self { client, mut sink, source, io, .. } = self;
        sink.send_reset(Reason::CANCEL);
        // With the last handle gone, h2 says GOAWAY and closes.
        drop((client, sink, source));
        within("the connection ends", io).await.unwrap().unwrap();
    }
}
