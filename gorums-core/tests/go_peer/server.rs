//! A node that is called, as a Go server behaves on the wire.
//!
//! Its settings are those of grpc-go: frames of 16 KiB, windows of 64 KiB. It sends its response headers only
//! together with its first message, and each message as a DATA frame of its own.

use std::future::poll_fn;

use bytes::Bytes;
use gorums_core::wire::{Envelope, Messages};
use gorums_core::{Configuration, ConfigurationBuilder};
use h2::server::{Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::common::within;
use crate::{FRAME, LIMIT, framed};

pub(crate) struct GoServer {
    listener: TcpListener,
}

impl GoServer {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// A configuration of this node only.
    pub(crate) fn configuration(&self) -> Configuration {
        self.builder().connect_lazy().unwrap()
    }

    pub(crate) fn builder(&self) -> ConfigurationBuilder {
        Configuration::builder().nodes([self.address()])
    }

    /// Accepts a connection and its stream.
    pub(crate) async fn accept(&self) -> GoStream {
        within("a stream", async {
            let (io, _) = self.listener.accept().await.unwrap();
            let mut connection: Connection<TcpStream, Bytes> = h2::server::Builder::new()
                .initial_window_size(64 << 10)
                .max_frame_size(FRAME as u32)
                .handshake(io)
                .await
                .unwrap();
            let (request, respond) = connection.accept().await.unwrap().unwrap();
            let (head, body) = request.into_parts();
            let io = tokio::spawn(async move {
                let another = connection.accept().await;
                assert!(!matches!(another, Some(Ok(_))), "a second stream on the connection");
            });
            let (messages, frames) = (Messages::new(LIMIT), Vec::new());
            GoStream { head, body, messages, frames, answer: Answer::Owed(respond), io }
        })
        .await
    }
}

enum Answer {
    /// The response headers have not been sent.
    Owed(SendResponse<Bytes>),
    Sent(SendStream<Bytes>),
}

/// The stream of one client.
pub(crate) struct GoStream {
    pub(crate) head: http::request::Parts,
    body: RecvStream,
    messages: Messages,
    /// The length of each DATA frame that came.
    pub(crate) frames: Vec<usize>,
    answer: Answer,
    io: JoinHandle<()>,
}

impl GoStream {
    /// The next message, undecoded; `None` when the client has ended the stream.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        within("a message", async {
            loop {
                if let Some(message) = self.messages.next_message().unwrap() {
                    return Some(message);
                }
                let data = self.body.data().await?.ok()?;
                self.body.flow_control().release_capacity(data.len()).unwrap();
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

    /// Whether the response headers have been sent.
    pub(crate) fn has_answered(&self) -> bool {
        matches!(self.answer, Answer::Sent(_))
    }

    /// Sends a message; before the first one, the response headers.
    pub(crate) async fn send(&mut self, message: &[u8]) {
        self.send_bytes(framed(message)).await;
    }

    /// Sends bytes that need not be messages.
    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        if let Answer::Owed(respond) = &mut self.answer {
            let mut response = Response::new(());
            let content_type = http::HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
            self.answer = Answer::Sent(respond.send_response(response, false).unwrap());
        }
        let Answer::Sent(sink) = &mut self.answer else { unreachable!() };
        write(sink, bytes.into()).await;
    }

    /// Answers with a response that is the end of the stream, in place of the headers. The requests that were not read are
    /// not looked at.
    pub(crate) fn end_with(mut self, response: Response<()>) -> Rest {
        let Answer::Owed(respond) = &mut self.answer else { panic!("the headers were sent") };
        respond.send_response(response, true).unwrap();
        Rest { _body: self.body, io: self.io }
    }

    /// Closes the connection as `Server.Stop`: at once, without GOAWAY or trailers.
    pub(crate) fn stop(self) {
        self.io.abort();
    }

    /// What is left after the client has closed: the connection ends.
    pub(crate) async fn closed(mut self) {
        assert_eq!(self.next().await, None);
        if let Answer::Sent(sink) = &mut self.answer {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let _ = sink.send_trailers(trailers);
        }
        drop((self.body, self.answer));
        within("the connection ends", self.io).await.unwrap();
    }
}

/// The connection of a stream that the server has ended.
pub(crate) struct Rest {
    _body: RecvStream,
    io: JoinHandle<()>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.io.abort();
    }
}

/// Writes as grpc-go does: in frames of 16 KiB at most, as the windows allow.
pub(crate) async fn write(sink: &mut SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        let wanted = data.len().min(FRAME);
        sink.reserve_capacity(wanted);
        while sink.capacity() < wanted {
            let room = within("room in the windows", poll_fn(|cx| sink.poll_capacity(cx))).await;
            room.unwrap().unwrap();
        }
        sink.send_data(data.split_to(wanted), false).unwrap();
    }
}
