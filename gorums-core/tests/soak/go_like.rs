//! Peers that send each message as a DATA frame of its own, as Go does, at an end that is busy.
//!
//! h2 closes a connection on which many small frames wait to be read, unless it is told how many there may be.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use gorums_core::wire::{Envelope, Messages, NODE_STREAM};
use gorums_core::{CallType, Configuration, MailboxOverflow, Method, Server};
use h2::{RecvStream, SendStream};
use prost::Message as _;
use tokio::time::Instant;

use crate::common::{OnConfiguration, OnNode, within};
use crate::tools::*;

const WATCH: Method<Item, Item> = Method::prost("soak.Soak.Watch", CallType::StreamingQuorumCall);
/// Replies that a server sends in one go.
const REPLIES: u64 = 100_000;

fn framed(id: u64, method: &'static str, item: &Item) -> Bytes {
    let payload = item.encode_to_vec().into();
    let envelope = Envelope { message_seq_no: id, method: method.into(), payload, ..Envelope::default() };
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(envelope.encoded_len() as u32);
    envelope.encode(&mut frame).unwrap();
    frame.freeze()
}

/// Sends one DATA frame when there is room for it.
async fn send(sink: &mut SendStream<Bytes>, frame: Bytes) {
    sink.reserve_capacity(frame.len());
    while sink.capacity() < frame.len() {
        poll_fn(|cx| sink.poll_capacity(cx)).await.unwrap().unwrap();
    }
    sink.send_data(frame, false).unwrap();
}

/// The next message, and the room for it given back.
async fn receive(body: &mut RecvStream, messages: &mut Messages) -> Envelope {
    loop {
        if let Some(message) = messages.next_message().unwrap() {
            return Envelope::from_message(message).unwrap();
        }
        let data = body.data().await.expect("the connection was lost").unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        messages.add(data);
    }
}

/// G1 and G2, at the server: all that the peer sends while a handler keeps the turn is handled, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_small_frames_at_a_busy_handler_keeps_its_connection() {
    let _alone = alone().await;
    let busy = length(2 * SECOND, 10 * SECOND);
    let soak = Soak::default();
    let server = Server::builder().add_service(soak.clone()).bind("127.0.0.1:0").await.unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(server.serve());

    let io = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://go{NODE_STREAM}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, mut sink) = client.ready().await.unwrap().send_request(request, false).unwrap();
    let start = Instant::now();
    let hold = Item { what: BUSY, ..item(1, busy.as_millis() as u64) };
    send(&mut sink, framed(1, CALL.name(), &hold)).await;
    // As much as there is room for, and some more when the handler has returned.
    let (mut number, mut before) = (0, 0);
    while start.elapsed() < busy + SECOND / 2 {
        number += 1;
        within("room", send(&mut sink, framed(number + 1, NOTE.name(), &item(2, number)))).await;
        if start.elapsed() < busy {
            before = number;
        }
    }
    let last = number + 2;
    send(&mut sink, framed(last, CALL.name(), &item(3, 1))).await;
    let mut body = within("headers", response).await.unwrap().into_body();
    let mut messages = Messages::new(1 << 20);
    assert_eq!(within("reply", receive(&mut body, &mut messages)).await.message_seq_no, 1);
    assert_eq!(within("reply", receive(&mut body, &mut messages)).await.message_seq_no, last);
    {
        let handled = soak.handled.lock().unwrap();
        assert_eq!(handled.count, number + 2, "lost");
        assert_eq!(handled.disorder, [], "sender, number, number before");
    }
    report(
        "small frames at a busy handler",
        &format!("{before} frames while it was busy for {busy:?}, {} after", number - before),
    );
    assert!(before > 50_000, "only {before} frames were sent while the handler was busy");
    drop((sink, body));
    connection.abort();
    handle.shutdown().await;
    serving.await.unwrap().unwrap();
}

/// A server on a thread of its own: sends replies to the one call on its one stream, each as a frame of its own, and
/// goes on answering others.
fn start_server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (io, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(io).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            // Drives the connection until the client closes it.
            let driving = tokio::spawn(async move { while let Some(Ok(_)) = connection.accept().await {} });
            let (mut body, mut messages) = (request.into_body(), Messages::new(1 << 20));
            let mut response = http::Response::new(());
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            let mut sink = respond.send_response(response, false).unwrap();
            let call = receive(&mut body, &mut messages).await;
            for number in 1..=REPLIES {
                send(&mut sink, framed(call.message_seq_no, WATCH.name(), &item(1, number))).await;
            }
            let call = receive(&mut body, &mut messages).await;
            send(&mut sink, framed(call.message_seq_no, CALL.name(), &item(1, REPLIES + 1))).await;
            driving.await.unwrap();
        });
    });
    address
}

/// The same at the client, whose only thread is busy with something else.
#[tokio::test]
async fn a_server_that_sends_small_frames_at_a_busy_client_keeps_its_connection() {
    let _alone = alone().await;
    let busy: Duration = length(SECOND, 10 * SECOND);
    let configuration = Configuration::builder()
        .node(1, start_server().to_string())
        .timeout(60 * SECOND)
        .connect_lazy()
        .unwrap();
    let watch = configuration.streaming_call(&WATCH, item(1, 1));
    let mut replies = watch.mailbox(2 * REPLIES as usize, MailboxOverflow::Fail).send();
    let mut number = 0;
    while number < REPLIES {
        let reply = within("reply", futures_util::StreamExt::next(&mut replies)).await.unwrap();
        number += 1;
        assert_eq!(reply.result.unwrap().number, number, "out of order");
        if number == 1 {
            // The one thread of this runtime does something else, and so its task cannot read.
            std::thread::sleep(busy);
        }
    }
    drop(replies);
    let node = &configuration.nodes()[0];
    assert_eq!(within("reply", node.rpc(&CALL, item(1, 2))).await.unwrap().number, REPLIES + 1);
    report(
        "small frames at a busy client",
        &format!("{REPLIES} frames, of which most while it was busy for {busy:?}"),
    );
    assert_eq!(node.stats().connections, 1);
    assert_eq!(configuration.pending(), 0);
    within("close", configuration.close()).await;
}
