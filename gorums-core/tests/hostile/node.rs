//! A node that is called and means harm.

use std::future::poll_fn;

use bytes::Bytes;
use gorums_core::wire::{Envelope, Messages};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::Response;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::common::within;

/// A port on which it listens.
pub(crate) struct Mallory {
    listener: TcpListener,
}

impl Mallory {
    pub(crate) async fn listen() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    pub(crate) async fn accept_io(&self) -> TcpStream {
        within("a connection", self.listener.accept()).await.unwrap().0
    }

    /// Accepts a connection and its stream, and answers the request for it.
    pub(crate) async fn accept(&self) -> Conversation {
        let io = self.accept_io().await;
        let mut connection = h2::server::Builder::new()
            .initial_window_size(8 << 20)
            .initial_connection_window_size(64 << 20)
            .handshake::<_, Bytes>(io)
            .await
            .unwrap();
        let (request, respond) = within("a stream", connection.accept()).await.unwrap().unwrap();
        let io = tokio::spawn(async move { while let Some(Ok(_)) = connection.accept().await {} });
        let sink = answer(respond);
        Conversation { sink, body: request.into_body(), messages: Messages::new(usize::MAX), io }
    }
}

fn answer(mut respond: SendResponse<Bytes>) -> SendStream<Bytes> {
    let response = Response::builder().header("content-type", "application/grpc");
    let response = response.header("gorums-features", "cancel,end").body(()).unwrap();
    respond.send_response(response, false).unwrap()
}

/// The stream of a client.
pub(crate) struct Conversation {
    sink: SendStream<Bytes>,
    body: RecvStream,
    messages: Messages,
    io: JoinHandle<()>,
}

impl Conversation {
    /// The next message; `None` when the client has given the stream up.
    pub(crate) async fn next(&mut self) -> Option<Envelope> {
        loop {
            if let Some(message) = self.messages.next_message().unwrap() {
                return Some(Envelope::from_message(message).unwrap());
            }
            let data = within("a message", self.body.data()).await?.ok()?;
            self.body.flow_control().release_capacity(data.len()).unwrap();
            self.messages.add(data);
        }
    }

    /// Sends as the windows allow. False once the client has given the stream up.
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

    /// Waits until the client has given the stream up.
    pub(crate) async fn given_up(mut self) {
        while self.next().await.is_some() {}
        self.io.abort();
    }
}
