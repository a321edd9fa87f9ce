//! HTTP/2 against its spirit: floods of what costs the sender little, and streams that are misused.

use bytes::Bytes;
use gorums_core::Server;
use h2::Reason;

use crate::common::Test;
use crate::peer::{ECHO, Ended, Peer, message, request};
use crate::raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING,
    PROTOCOL_ERROR, RST_STREAM, Raw, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, frame, open, open_block, reset,
};
use crate::scene::Scene;
use crate::tools::length;

const FLOOD: [usize; 2] = [5_000, 20_000];
const LONG_FLOOD: [usize; 2] = [250_000, 1_000_000];

/// Every ping and every change of settings is answered; a peer that does not read the answers is not read from.
async fn flood(attack: &str, kind: u8, payload: &'static [u8]) {
    let scene = Scene::start().await;
    scene
        .bears(attack, length(FLOOD, LONG_FLOOD), async |scene, count| {
            let mut raw = Raw::greet(scene.address).await;
            let chunk = frame(kind, 0, 0, payload).repeat(100);
            for _ in 0..count / 100 {
                assert!(raw.write(&chunk).await);
                for _ in 0..100 {
                    while raw.next_of(kind).await.expect("closed").flags != ACK {}
                }
            }
            // And once without reading what comes back.
            let mut raw = Raw::greet(scene.address).await;
            let chunk = frame(kind, 0, 0, payload).repeat(10_000);
            for _ in 0..count / 100 {
                let write = tokio::io::AsyncWriteExt::write_all(&mut raw.io, &chunk);
                if tokio::time::timeout(crate::tools::MS * 200, write).await.is_err() {
                    return;
                }
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings() {
    flood("a flood of pings", PING, &[7; 8]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings() {
    flood("a flood of settings", SETTINGS, &[0, 3, 0, 0, 0, 100]).await;
}

/// Streams that are opened and reset at once: h2 closes the connection when more of them wait than it likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets() {
    let scene = Scene::start().await;
    scene
        .bears("rapid resets", length(FLOOD, LONG_FLOOD), async |scene, count| {
            let mut made = 0;
            while made < count {
                let mut raw = Raw::greet(scene.address).await;
                let mut chunk = Vec::new();
                for stream in 0..500 {
                    chunk.extend_from_slice(&open(2 * stream + 1, &[("gorums-node-id", "0")]));
                    chunk.extend_from_slice(&reset(2 * stream + 1));
                }
                raw.write(&chunk).await;
                made += 500;
                assert_eq!(raw.closed().await, Some(ENHANCE_YOUR_CALM));
            }
        })
        .await;
}

/// One by one, so that each stream has been accepted when it is reset; by a client that names itself, so that each
/// stream supersedes the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_resets() {
    let scene = Scene::start().await;
    scene
        .bears("slow resets", length([250, 1_000], [5_000, 20_000]), async |scene, count| {
            let mut peer = Peer::connect(scene.address).await;
            for dial in 0..count {
                let name = format!("mallory-{dial}");
                let mut stream = peer.open(&[("gorums-node-id", "0"), ("gorums-client", &name)]).await;
                stream.headers().await.unwrap();
                stream.sink.send_reset(Reason::CANCEL);
            }
            peer.close().await;
        })
        .await;
}

/// The reset of one stream is no matter of another one on the same connection, as through a proxy.
#[tokio::test]
async fn a_stream_that_is_reset_at_once_takes_no_other_one_with_it() {
    let server = Server::builder().add_service(Test::new(1)).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let serving = tokio::spawn(server.serve());
    let mut raw = Raw::greet(address).await;
    raw.write(&open(1, &[])).await;
    let mut chunk = Vec::new();
    for stream in 1..=5 {
        chunk.extend_from_slice(&open(2 * stream + 1, &[]));
        chunk.extend_from_slice(&reset(2 * stream + 1));
    }
    raw.write(&chunk).await;
    raw.write(&frame(DATA, 0, 1, &message(&request(1, ECHO, "x")))).await;
    let reply = raw.next_of(DATA).await.expect("the connection was closed");
    assert_eq!(reply.stream, 1);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_after_the_end_of_a_stream() {
    let scene = Scene::start().await;
    scene
        .bears(
            "data after the end of a stream",
            length([250, 1_000], [2_500, 10_000]),
            async |scene, count| {
                for _ in 0..count / 10 {
                    let mut raw = Raw::greet(scene.address).await;
                    raw.write(&open(1, &[])).await;
                    raw.write(&frame(DATA, END_STREAM, 1, &message(&request(1, ECHO, "x")))).await;
                    for id in 0..10 {
                        raw.write(&frame(DATA, 0, 1, &message(&request(id, ECHO, "too late")))).await;
                    }
                    let error = loop {
                        let frame = raw.next().await.expect("closed without a word");
                        if [RST_STREAM, GOAWAY].contains(&frame.kind) && frame.code() != 0 {
                            break frame.code();
                        }
                    };
                    assert!([PROTOCOL_ERROR, STREAM_CLOSED].contains(&error), "{error}");
                }
            },
        )
        .await;
}

/// As many streams as the server has announced; the others are refused, and those there are go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_on_one_connection() {
    let scene = Scene::start().await;
    scene
        .bears(
            "many streams on one connection",
            length([250, 1_000], [2_500, 10_000]),
            async |scene, count| {
                let mut raw = Raw::greet(scene.address).await;
                let limit = loop {
                    let frame = raw.next_of(SETTINGS).await.unwrap();
                    let mut settings = frame.payload.chunks(6);
                    if let Some(limit) = settings.find(|setting| setting[1] == 3) {
                        break u32::from_be_bytes(limit[2..].try_into().unwrap()) as usize;
                    }
                };
                let (mut answered, mut refused) = (0, 0);
                for stream in 0..count {
                    raw.write(&open(2 * stream as u32 + 1, &[("gorums-node-id", "0")])).await;
                    loop {
                        let frame = raw.next().await.expect("closed");
                        answered += usize::from(frame.kind == HEADERS);
                        refused += usize::from(frame.kind == RST_STREAM && frame.code() == 7);
                        if [HEADERS, RST_STREAM].contains(&frame.kind) {
                            break;
                        }
                    }
                }
                assert_eq!((answered, refused), (limit, count - limit));
                raw.write(&frame(DATA, 0, 1, &message(&request(1, ECHO, "x")))).await;
                assert_eq!(raw.next_of(DATA).await.unwrap().stream, 1);
            },
        )
        .await;
}

/// Each ends the connection at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn violations() {
    let scene = Scene::start().await;
    let endless = || {
        [frame(HEADERS, 0, 1, &open_block(&[])), frame(CONTINUATION, 0, 1, &open_block(&[])).repeat(1_000)]
    };
    let violations: Vec<(&str, Vec<u8>)> = vec![
        ("data on stream 0", frame(DATA, 0, 0, b"x")),
        ("data on a stream that is not open", frame(DATA, 0, 9, b"x")),
        ("a stream of the server's", open(2, &[])),
        ("streams that go back", [open(5, &[]), open(3, &[])].concat()),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
        ("a window that does not grow", frame(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes())),
        ("a ping that is too short", frame(PING, 0, 0, &[1])),
        ("settings that make no sense", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])),
        ("headers that no table has", frame(HEADERS, END_HEADERS, 1, &[0xff; 64])),
        ("headers that never end", endless().concat()),
        ("a frame that is too long", frame(DATA, 0, 1, &vec![0; (1 << 20) + 1])),
    ];
    scene
        .bears("violations of HTTP/2", length([5, 20], [100, 400]), async |scene, count| {
            for (what, bytes) in violations.iter().cycle().take(count * violations.len()) {
                let mut raw = Raw::greet(scene.address).await;
                raw.write(bytes).await;
                assert_ne!(raw.closed().await, Some(0), "{what}");
            }
        })
        .await;
}

/// Headers that are longer than the server announces are refused, and the connection goes on or ends with a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_too_long() {
    let scene = Scene::start().await;
    scene
        .bears("headers that are too long", length([25, 100], [250, 1_000]), async |scene, count| {
            for _ in 0..count {
                let value = "x".repeat(10_000);
                let mut peer = Peer::connect(scene.address).await;
                let names: Vec<_> = (0..100).map(|number| format!("x-{number}")).collect();
                let headers: Vec<_> = names.iter().map(|name| (&**name, &*value)).collect();
                let mut stream = peer.open(&headers).await;
                match stream.headers().await {
                    Ok(head) => assert_eq!(head.status, 431),
                    Err(error) => assert!(error.is_reset() || error.is_go_away() || error.is_io(), "{error}"),
                }
                peer.close().await;
            }
        })
        .await;
}

/// A peer that ends its stream in order gets its replies, and the end with a status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_end_at_once() {
    let scene = Scene::start().await;
    scene
        .bears("streams that end at once", length([500, 2_000], [12_500, 50_000]), async |scene, count| {
            let mut peer = Peer::connect(scene.address).await;
            for _ in 0..count {
                let mut stream = peer.open(&[("gorums-node-id", "0")]).await;
                stream.sink.send_data(Bytes::new(), true).unwrap();
                let end = stream.end().await;
                assert!(
                    matches!(&end, Ended::Status(status) if status.code() == gorums_core::Code::Ok),
                    "{end:?}"
                );
            }
            peer.close().await;
        })
        .await;
}
