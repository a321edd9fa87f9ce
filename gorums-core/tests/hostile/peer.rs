//! A peer that keeps to HTTP/2, and to little else.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes};
use gorums_core::wire::{Envelope, Messages, NODE_STREAM};
use gorums_core::{Code, Status};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::common::{Text, within};

/// The bit of the ids of calls that a server makes.
pub(crate) const HIGH_BIT: u64 = 1 << 63;

pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed.into()
}

/// A message with its prefix.
pub(crate) fn message(envelope: &Envelope) -> Bytes {
    framed(&envelope.encode_to_vec())
}

pub(crate) fn request(id: u64, method: &str, text: &str) -> Envelope {
    let payload = Text { text: text.into(), number: id }.encode_to_vec().into();
    Envelope { message_seq_no: id, method: method.to_owned().into(), payload, ..Envelope::default() }
}

pub(crate) const ECHO: &str = "test.Test.Echo";

/// A connection.
pub(crate) struct Peer {
    client: SendRequest<Bytes>,
    io: JoinHandle<Result<(), h2::Error>>,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let io = within("connect", TcpStream::connect(address)).await.unwrap();
        io.set_nodelay(true).unwrap();
        let handshake = h2::client::Builder::new()
            .initial_window_size(4 << 20)
            .initial_connection_window_size(64 << 20)
            .handshake(io);
        let (client, connection) = within("handshake", handshake).await.unwrap();
        Self { client, io: tokio::spawn(connection) }
    }

    /// Opens a node stream with these headers.
    pub(crate) async fn open(&mut self, headers: &[(&str, &str)]) -> Stream {
        self.request(&Method::POST, NODE_STREAM, headers).await
    }

    pub(crate) async fn request(&mut self, method: &Method, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut request = Request::builder().method(method).uri(format!("http://x{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        within("a stream", poll_fn(|cx| self.client.poll_ready(cx))).await.unwrap();
        let (response, sink) = self.client.send_request(request.body(()).unwrap(), false).unwrap();
        Stream { sink, source: Source::Awaited(response), messages: Messages::new(usize::MAX) }
    }

    /// Closes the connection.
    pub(crate) async fn close(self) {
        drop(self.client);
        self.io.abort();
        let _ = self.io.await;
    }
}

/// A node stream on a connection of its own.
pub(crate) async fn open(address: SocketAddr, headers: &[(&str, &str)]) -> (Peer, Stream) {
    let mut peer = Peer::connect(address).await;
    let stream = peer.open(headers).await;
    (peer, stream)
}

pub(crate) struct Stream {
    pub(crate) sink: SendStream<Bytes>,
    source: Source,
    messages: Messages,
}

enum Source {
    Awaited(ResponseFuture),
    Open(RecvStream),
}

/// How the server has ended a stream.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With a status.
    Status(Status),
    /// With a reset, or by closing the connection.
    Broken(#[expect(dead_code, reason = "printed")] h2::Error),
}

impl Ended {
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Status(status) => Some(status.code()),
            Self::Broken(_) => None,
        }
    }
}

impl Stream {
    /// Sends as the windows allow. False once the server has ended the stream.
    pub(crate) async fn send(&mut self, mut data: Bytes) -> bool {
        while !data.is_empty() {
            self.sink.reserve_capacity(data.len());
            let room = within("room in the windows", poll_fn(|cx| self.sink.poll_capacity(cx))).await;
            let Some(Ok(room)) = room else { return false };
            if self.sink.send_data(data.split_to(room.min(data.len())), false).is_err() {
                return false;
            }
        }
        true
    }

    /// Sends what the windows have room for now. What is left of it.
    pub(crate) async fn send_some(&mut self, mut data: Bytes) -> Bytes {
        let stalled = std::time::Duration::from_secs(2);
        while !data.is_empty() {
            self.sink.reserve_capacity(data.len());
            let room = tokio::time::timeout(stalled, poll_fn(|cx| self.sink.poll_capacity(cx))).await;
            let Ok(Some(Ok(room))) = room else { break };
            self.sink.send_data(data.split_to(room.min(data.len())), false).unwrap();
        }
        data
    }

    /// The response to the request for the stream.
    pub(crate) async fn headers(&mut self) -> Result<http::response::Parts, h2::Error> {
        let Source::Awaited(response) = &mut self.source else { panic!("the headers were taken") };
        let (head, body) = within("response headers", response).await?.into_parts();
        self.source = Source::Open(body);
        Ok(head)
    }

    async fn body(&mut self) -> Result<&mut RecvStream, h2::Error> {
        if matches!(self.source, Source::Awaited(_)) {
            self.headers().await?;
        }
        match &mut self.source {
            Source::Open(body) => Ok(body),
            Source::Awaited(_) => unreachable!(),
        }
    }

    /// The next message, or how the stream has ended.
    pub(crate) async fn next(&mut self) -> Result<Envelope, Ended> {
        loop {
            if let Some(message) = self.messages.next_message().unwrap() {
                return Ok(Envelope::from_message(message).unwrap());
            }
            let body = self.body().await.map_err(Ended::Broken)?;
            match within("a message", body.data()).await {
                Some(Ok(data)) => {
                    body.flow_control().release_capacity(data.len()).unwrap();
                    self.messages.add(data);
                }
                Some(Err(error)) => return Err(Ended::Broken(error)),
                None => {
                    let trailers = within("trailers", body.trailers()).await.map_err(Ended::Broken)?;
                    return Err(Ended::Status(status(&trailers.unwrap_or_default())));
                }
            }
        }
    }

    /// A reply with this id and no error.
    pub(crate) async fn reply(&mut self, id: u64) {
        let reply = self.next().await.unwrap();
        assert_eq!((reply.message_seq_no, &reply.status), (id, &None));
    }

    /// An error reply with this id and code.
    pub(crate) async fn refusal(&mut self, id: u64, code: Code) {
        let reply = self.next().await.unwrap();
        assert_eq!((reply.message_seq_no, reply.status.unwrap().to_status().code()), (id, code));
    }

    /// How the server ends the stream, whatever it sends before.
    pub(crate) async fn end(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.next().await {
                return ended;
            }
        }
    }

    /// Asserts that the stream is served: a call is answered, and nothing came before.
    pub(crate) async fn is_served(&mut self) {
        assert!(self.send(message(&request(77, ECHO, "served?"))).await);
        self.reply(77).await;
    }
}

fn status(headers: &HeaderMap) -> Status {
    Status::from_header_map(headers).unwrap_or_else(|| Status::unknown("no status"))
}
