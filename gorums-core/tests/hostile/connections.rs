//! Connections on which nobody speaks, or something else than HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use gorums_core::testing::Network;
use gorums_core::{Configuration, Connector, Server, ServerStats};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{ECHO, OnNode, Test, number, soon};
use crate::raw::{PREFACE, Raw, SETTINGS, frame};
use crate::scene::{Scene, connections};
use crate::tools::{MS, SECOND, alone, length};

/// Sockets that this process can open besides those that it has; a connection takes two.
fn spare_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024);
    let open = std::fs::read_dir("/proc/self/fd").map_or(64, Iterator::count);
    (limit - open.min(limit)).saturating_sub(200) / 2
}

/// So many connections, or as many as there can be.
fn up_to(count: usize) -> usize {
    let spare = spare_connections();
    if spare < count {
        println!("{spare} instead of {count} connections, for want of file descriptors: see `ulimit -n`");
    }
    count.min(spare)
}

/// So many connections, made a few at a time: what listens has only so much room for those that were not accepted.
async fn connect(address: SocketAddr, count: usize) -> Vec<Raw> {
    let mut connections = Vec::new();
    while connections.len() < count {
        let some = (count - connections.len()).min(50);
        connections.extend(join_all((0..some).map(|_| Raw::connect(address))).await);
    }
    connections
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open() {
    let handshake = length(3, 5) * SECOND;
    let scene = Scene::with(|server| server.handshake_timeout(handshake)).await;
    let most = up_to(length(400, 10_000));
    scene
        .bears("half-open connections", [most, most], async |scene, count| {
            let silent = connect(scene.address, count).await;
            // While they are open, others can still connect and call.
            connections(&scene.server, 2 + count).await;
            let one_more =
                Configuration::builder().node(1, scene.address.to_string()).connect_lazy().unwrap();
            one_more.nodes()[0].rpc(&ECHO, number(0)).await.unwrap();
            one_more.close().await;
            join_all(silent.into_iter().map(|raw| raw.drained(handshake + 10 * SECOND))).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preface_and_then_nothing() {
    let scene = Scene::start().await;
    let most = up_to(length(200, 10_000));
    scene
        .bears("a preface and then nothing", [most, most], async |scene, count| {
            let mut silent = connect(scene.address, count).await;
            let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
            for raw in &mut silent {
                raw.write(&greeting).await;
            }
            join_all(silent.into_iter().map(|raw| raw.drained(13 * SECOND))).await;
        })
        .await;
}

/// In memory, where the clock can be paused: exactly 10,000, and exactly in time.
#[tokio::test(start_paused = true)]
async fn ten_thousand_of_them_in_memory() {
    let _alone = alone().await;
    let network = Network::new();
    let server = Server::builder().add_service(Test::new(1)).on(network.listen("node:1"));
    let handle = server.handle();
    let serving = tokio::spawn(server.serve());
    let healthy =
        Configuration::builder().nodes(["node:1"]).connector(network.clone()).connect_lazy().unwrap();
    let calls = async {
        for call in 0_u64.. {
            healthy.nodes()[0].rpc(&ECHO, number(call)).await.unwrap();
            tokio::time::sleep(10 * MS).await;
        }
    };
    let attacks = async {
        // The last words count as a sign of life, and so the time for an answer to the first ping begins once more.
        let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        for (first_words, closed_after) in
            [(&[][..], 5 * SECOND), (&PREFACE[..7], 5 * SECOND), (&greeting[..], 6 * SECOND)]
        {
            let mut silent = Vec::new();
            for _ in 0..10_000 {
                let mut io = network.connect("node:1".into()).await.unwrap();
                io.write_all(first_words).await.unwrap();
                silent.push(io);
            }
            let start = tokio::time::Instant::now();
            soon("all are open", 20 * SECOND, || handle.stats().connections == 10_001).await;
            for io in &mut silent {
                while io.read_u8().await.is_ok() {}
            }
            let took = start.elapsed();
            assert!(took <= closed_after + 200 * MS, "closed after {took:?}");
            let mut healthy_only = ServerStats::default();
            (healthy_only.connections, healthy_only.streams, healthy_only.named_clients) = (1, 1, 1);
            soon("all are gone", 20 * SECOND, || handle.stats() == healthy_only).await;
        }
    };
    tokio::select! {
        () = calls => {}
        () = attacks => {}
    }
    assert_eq!(healthy.nodes()[0].stats().connections, 1);
    healthy.close().await;
    handle.shutdown().await;
    serving.await.unwrap().unwrap();
}

/// What speaks something else.
fn garbage(dice: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; dice.random_range(24..4_096)];
    dice.fill_bytes(&mut bytes);
    match dice.random_range(0..4) {
        0 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        // The beginning of a TLS handshake.
        1 => [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &bytes].concat(),
        2 => [&PREFACE[..20], &bytes].concat(),
        _ => bytes,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_the_preface() {
    let scene = Scene::start().await;
    scene
        .bears(
            "garbage instead of the preface",
            length([250, 1_000], [2_500, 10_000]),
            async |scene, count| {
                let mut dice = StdRng::seed_from_u64(1);
                for _ in 0..count {
                    let mut raw = Raw::connect(scene.address).await;
                    raw.write(&garbage(&mut dice)).await;
                    raw.drained(3 * SECOND).await;
                }
            },
        )
        .await;
}

/// Random frames: what makes sense is done, and the first that does not ends the connection. It ends at the latest
/// when no ping is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_after_the_preface() {
    let scene = Scene::start().await;
    scene
        .bears("garbage after the preface", length([250, 1_000], [2_500, 10_000]), async |scene, count| {
            let mut dice = StdRng::seed_from_u64(2);
            for _ in 0..count {
                let mut raw = Raw::greet(scene.address).await;
                for _ in 0..dice.random_range(1..20) {
                    let mut payload = vec![0; dice.random_range(0..300)];
                    dice.fill_bytes(&mut payload);
                    let (kind, stream) = (dice.random_range(0..12), dice.random_range(0..9));
                    if !raw.write(&frame(kind, dice.random(), stream, &payload)).await {
                        break;
                    }
                }
                let _ = raw.io.shutdown().await;
                raw.drained(Duration::from_secs(4)).await;
            }
        })
        .await;
}
