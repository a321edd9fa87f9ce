//! What a server bounds.

use std::time::Duration;

use gorums_core::testing::Cluster;
use gorums_core::{Code, Connector, MetadataMap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::common::{ECHO, NOTE, OnNode, Test, number, text};
use crate::pki::Ca;
use crate::scene::{Scene, failure};

fn metadata(entries: usize, len: usize) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for _ in 0..entries {
        metadata.append("x-trace", "x".repeat(len).parse().unwrap());
    }
    metadata
}

#[tokio::test(start_paused = true)]
async fn metadata_of_a_request() {
    let scene = Scene::new(|builder| builder, |builder| builder).await;
    let node = scene.healthy();
    // 7 bytes of key, 4 of encoding, 32 for the entry; the deadline takes some too.
    for (entries, len, fits) in [(1, 16_000, true), (1, 16_384, false), (350, 0, true), (400, 0, false)] {
        let call = node.rpc(&ECHO, text("x")).metadata(metadata(entries, len));
        match call.await {
            Ok(_) => assert!(fits, "{entries} of {len}"),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.status().unwrap().code(), Code::OutOfRange);
                assert!(error.to_string().contains("larger than the limit of 16384 bytes"), "{error}");
            }
        }
    }
    // A one-way message is dropped, and what follows is handled.
    node.unicast(&NOTE, number(7)).metadata(metadata(400, 0)).await.unwrap();
    node.rpc(&ECHO, text("x")).await.unwrap();
    assert_eq!(node.stats().connections, 1);
    scene.cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn metadata_of_a_connection() {
    let scene = Scene::new(|builder| builder.max_metadata_size(1000), |builder| builder).await;
    let told = "the metadata of the configuration is larger than the server's `max_metadata_size`";
    let mut scene = scene;
    let refused = scene.configure(|builder| builder.metadata(metadata(1, 1000)));
    let error = scene.undisturbed(failure(refused.node(1).unwrap())).await;
    assert!(error.to_string().contains(told), "{error}");
    let fits = scene.configure(|builder| builder.metadata(metadata(1, 300)));
    fits.node(1).unwrap().rpc(&ECHO, text("x")).await.unwrap();
    let call = fits.node(1).unwrap().rpc(&ECHO, text("x")).metadata(metadata(1, 1000));
    assert_eq!(call.await.unwrap_err().status().unwrap().code(), Code::OutOfRange);
    drop((refused, fits));
    scene.cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn requests_in_progress() {
    let test = Test::new(1);
    let service = test.clone();
    let mut cluster = Cluster::in_memory(1, move |_| {
        gorums_core::Server::builder().add_service(service.clone()).max_concurrent_requests(3)
    })
    .await;
    let configuration = cluster.configuration();
    let node = configuration.node(1).unwrap();
    let calls: Vec<_> = (0..9).map(|_| node.rpc(&ECHO, text("release-sleep:1000")).send()).collect();
    sleep(Duration::from_millis(500)).await;
    for expected in [3, 6, 9] {
        assert_eq!(test.seen.texts.lock().unwrap().len(), expected);
        assert_eq!(cluster.server(1).unwrap().stats().handlers, 3);
        sleep(Duration::from_secs(1)).await;
    }
    for call in calls {
        call.await.unwrap();
    }
    cluster.finish().await;
}

/// A byte stream to the server of a scene.
async fn dial(network: &gorums_core::testing::Network) -> gorums_core::BoxedIo {
    network.connect("node1:1".into()).await.unwrap()
}

/// Serves on a network in memory, with TLS or without.
fn served(
    tls: bool,
) -> (gorums_core::testing::Network, gorums_core::ServerHandle, tokio::task::JoinHandle<()>) {
    let network = gorums_core::testing::Network::new();
    let mut builder = gorums_core::Server::builder().add_service(Test::new(1));
    if tls {
        builder = builder.tls(Ca::new("ca").server(&["node1"]));
    }
    let server = builder.on(network.listen("node1:1"));
    let handle = server.handle();
    let serving = tokio::spawn(async move { server.serve().await.unwrap() });
    (network, handle, serving)
}

/// The time until the server ends a connection on which these bytes were sent.
async fn lasts(io: &mut gorums_core::BoxedIo, sent: &[u8]) -> Duration {
    let start = Instant::now();
    io.write_all(sent).await.unwrap();
    let mut received = Vec::new();
    let _ = io.read_to_end(&mut received).await;
    start.elapsed()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test(start_paused = true)]
async fn connections_that_come_to_nothing_end_soon() {
    let hello = [0x16, 3, 1, 2, 0];
    let begun = [PREFACE, SETTINGS].concat();
    for (tls, sent) in [
        (false, &b""[..]),
        (false, &PREFACE[..10]),
        // HTTP/2, and then nothing: not even answers to pings, which is known after 6 s.
        (false, &begun),
        (true, &b""[..]),
        (true, &hello),
    ] {
        let (network, handle, serving) = served(tls);
        let mut io = dial(&network).await;
        let took = lasts(&mut io, sent).await;
        let bound = Duration::from_secs(5)..Duration::from_millis(6100);
        assert!(bound.contains(&took), "{took:?} for {sent:?}, TLS {tls}");
        drop(io);
        handle.abort().await;
        serving.await.unwrap();
    }
}

/// A client that is refused is read out, so that what it still sends does not tear away the reason; but not for long.
#[tokio::test(start_paused = true)]
async fn a_refused_client_is_read_out() {
    let (network, handle, serving) = served(true);
    let mut io = dial(&network).await;
    io.write_all(PREFACE).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    io.write_all(&vec![0; 1 << 20]).await.unwrap();
    let mut alert = Vec::new();
    io.read_to_end(&mut alert).await.unwrap();
    assert_eq!(alert.first(), Some(&0x15), "{alert:?}");
    assert_eq!(handle.stats().connections, 1);
    sleep(Duration::from_millis(600)).await;
    assert_eq!(handle.stats().connections, 0);
    handle.abort().await;
    serving.await.unwrap();
}

/// Requests for something else than a node stream do not keep a connection.
#[tokio::test(start_paused = true)]
async fn requests_for_nothing_do_not_keep_a_connection() {
    let (network, handle, serving) = served(false);
    let (mut requests, connection) = h2::client::handshake(dial(&network).await).await.unwrap();
    let start = Instant::now();
    let asks = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            let request = http::Request::post("http://node1:1/test.Test/Echo").body(()).unwrap();
            let Ok((response, _)) = requests.send_request(request, true) else { break };
            let Ok(response) = response.await else { break };
            assert_eq!(response.headers()["grpc-status"], "12");
        }
    };
    let _ = tokio::join!(connection, asks);
    assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    handle.abort().await;
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn streams_of_a_connection() {
    let network = gorums_core::testing::Network::new();
    let server = gorums_core::Server::builder().max_streams(3).on(network.listen("node1:1"));
    let handle = server.handle();
    let serving = tokio::spawn(async move { server.serve().await.unwrap() });
    let (_requests, mut connection) = h2::client::handshake(dial(&network).await).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(1), &mut connection).await;
    assert!(told.is_err(), "the connection has ended");
    assert_eq!(connection.max_concurrent_send_streams(), 3);
    handle.abort().await;
    serving.await.unwrap();
}

/// 10,000 connections that come to nothing, while another client works.
#[tokio::test(start_paused = true)]
async fn half_open_connections_disturb_nobody() {
    let ca = Ca::new("ca");
    let network = gorums_core::testing::Network::new();
    let builder = gorums_core::Server::builder().add_service(Test::new(1)).tls(ca.server(&["node1"]));
    let server = builder.on(network.listen("node1:1"));
    let handle = server.handle();
    let serving = tokio::spawn(async move { server.serve().await.unwrap() });
    let configuration = gorums_core::Configuration::builder()
        .nodes(["node1:1"])
        .connector(network.clone())
        .tls(ca.client())
        .connect()
        .await
        .unwrap();
    let node = configuration.node(1).unwrap();
    let mut open = Vec::new();
    for each in 0..10_000 {
        let mut io = dial(&network).await;
        io.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
        open.push(io);
        if each % 100 == 0 {
            node.rpc(&ECHO, text("x")).timeout(Duration::from_secs(1)).await.unwrap();
        }
    }
    assert!(handle.stats().connections > 9_000, "{:?}", handle.stats());
    sleep(Duration::from_secs(7)).await;
    node.rpc(&ECHO, text("x")).await.unwrap();
    assert_eq!(handle.stats().connections, 1);
    assert_eq!(node.stats().connections, 1);
    drop(open);
    configuration.close().await;
    handle.shutdown().await;
    serving.await.unwrap();
}
