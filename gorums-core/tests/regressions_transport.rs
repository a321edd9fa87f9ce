//! Each of these was wrong once, below the calls.
#![allow(clippy::unwrap_used, clippy::wildcard_imports, missing_docs)]

mod common;
use bytes::Bytes;
use common::*;
use gorums_core::wire::{Envelope, Messages, NODE_STREAM};
use gorums_core::*;
use prost::Message as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

fn frame(e: &Envelope) -> Bytes {
    let body = e.encode_to_vec();
    let mut out = vec![0];
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&body);
    out.into()
}

/// The peer replies, and closes at once.
#[tokio::test]
async fn a_reply_right_before_the_close_counts() {
    let (client, server) = tokio::io::duplex(1 << 20);
    let client = std::sync::Mutex::new(Some(client));
    let connector = move |_: Arc<str>| -> futures_util::future::BoxFuture<'static, std::io::Result<BoxedIo>> {
        let io = client.lock().unwrap().take();
        Box::pin(async move {
            io.map(|io| Box::new(io) as BoxedIo).ok_or_else(|| std::io::ErrorKind::ConnectionRefused.into())
        })
    };
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(server).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut body = request.into_body();
        let data =
            tokio::select! { d = body.data() => d.unwrap().unwrap(), _ = connection.accept() => panic!() };
        let mut messages = Messages::new(1 << 20);
        messages.add(data);
        let request = Envelope::from_message(messages.next_message().unwrap().unwrap()).unwrap();
        let mut response = http::Response::new(());
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let mut sink = respond.send_response(response, false).unwrap();
        let reply = Envelope {
            message_seq_no: request.message_seq_no,
            method: request.method.clone(),
            payload: request.payload.clone(),
            ..Default::default()
        };
        sink.send_data(frame(&reply), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        sink.send_trailers(trailers).unwrap();
        // Writes the reply, and does not let the client run before the close.
        poll_fn(|cx| {
            assert!(connection.poll_accept(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop((connection, sink, body)); // closes the socket
    });
    let configuration =
        Configuration::builder().nodes(["node:1"]).connector(connector).connect_lazy().unwrap();
    let reply = configuration.nodes()[0].rpc(&ECHO, text("x")).send().await;
    assert!(reply.is_ok(), "the reply arrived, but: {}", reply.unwrap_err());
}

/// Two streams on one connection with the default window, as through a proxy.
#[tokio::test]
async fn an_idle_stream_takes_no_room_from_another_one() {
    let cluster = Cluster::start(1).await;
    let io = tokio::net::TcpStream::connect(cluster.addresses[0]).await.unwrap();
    let (client, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let mut keep = Vec::new();
    for stream in 1..=2 {
        let mut client = client.clone().ready().await.unwrap();
        let request = http::Request::post(format!("http://x{NODE_STREAM}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (response, mut sink) = client.send_request(request, false).unwrap();
        let e = Envelope {
            message_seq_no: 1 << 20,
            method: "test.Test.Echo".into(),
            payload: text("hello").encode_to_vec().into(),
            ..Default::default()
        };
        sink.send_data(frame(&e), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        let data = tokio::time::timeout(Duration::from_secs(2), body.data())
            .await
            .unwrap_or_else(|_| panic!("no reply on stream {stream}"))
            .unwrap()
            .unwrap();
        assert!(data.len() > 5);
        body.flow_control().release_capacity(data.len()).unwrap();
        keep.push((sink, body));
    }
}

/// A port that accepts and never says a word, as of a process that is stopped.
#[tokio::test(start_paused = true)]
async fn a_node_that_never_answers_is_down() {
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let dials = kept.clone();
    let connector = move |_: Arc<str>| -> futures_util::future::BoxFuture<'static, std::io::Result<BoxedIo>> {
        let (client, server) = tokio::io::duplex(1 << 20);
        kept.lock().unwrap().push(server);
        Box::pin(async move { Ok(Box::new(client) as BoxedIo) })
    };
    let configuration =
        Configuration::builder().nodes(["node:1"]).connector(connector).connect_lazy().unwrap();
    let _ = configuration.wait_connected().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let start = tokio::time::Instant::now();
    let error = configuration.nodes()[0].rpc(&ECHO, text("x")).send().await.unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "after 30 s without a word ({} dials): {error} after {:?}",
        dials.lock().unwrap().len(),
        start.elapsed()
    );
}

/// A caller that closes with calls in flight ends its direction of the stream, waits, and then resets the stream.
#[tokio::test]
async fn a_handler_is_told_that_its_caller_has_closed() {
    let (mut cluster, nodes) = faulty(Transport::Memory, 1).await;
    let configuration =
        cluster.configure(|builder| builder.drain_timeout(Duration::from_millis(10))).unwrap();
    let call = configuration.nodes()[0].rpc(&ECHO, text("hang")).timeout(Duration::from_secs(60)).send();
    let told = || nodes[0].seen.cancelled.load(std::sync::atomic::Ordering::SeqCst);
    eventually("the handler", || !nodes[0].seen.texts.lock().unwrap().is_empty()).await;
    within("close", configuration.close()).await;
    let error = within("the call", call).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Closed), "{error}");
    eventually("the handler is told", || told() == 1).await;
    cluster.finish().await;
}
