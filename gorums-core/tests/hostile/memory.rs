//! What a peer can make the server keep while its stream is open: no more than its window, some times over.

use bytes::{Bytes, BytesMut};
use gorums_core::wire::{CANCEL, Envelope};

use crate::common::soon;
use crate::peer::{ECHO, HIGH_BIT, Peer, Stream, message, open, request};
use crate::scene::Scene;
use crate::tools::{SECOND, length, report, resident_bytes};

/// A stream on which the first request keeps the turn, and all others wait.
async fn with_hung_handler(scene: &Scene) -> (Peer, Stream) {
    let seen = || scene.service.seen.texts.lock().unwrap().iter().any(|text| text == "hang");
    let (peer, mut stream) = open(scene.address, &[("gorums-features", "cancel")]).await;
    stream.send(message(&request(1, ECHO, "hang"))).await;
    soon("the first request", 10 * SECOND, seen).await;
    (peer, stream)
}

/// Sends `bytes` again and again, as long as the server takes them, and asserts that it does not keep more than
/// `most` for all of it.
async fn keeps_at_most(attack: &str, most: u64, rounds: usize, bytes: impl Fn(u64) -> Bytes) {
    let scene = Scene::start().await;
    let (peer, mut stream) = with_hung_handler(&scene).await;
    let before = resident_bytes();
    let (mut sent, mut peak) = (0, 0);
    for round in 0..rounds as u64 {
        let chunk = bytes(round);
        let len = chunk.len();
        let left = stream.send_some(chunk).await;
        sent += len - left.len();
        if let (Some(before), Some(now)) = (before, resident_bytes()) {
            peak = peak.max(now.saturating_sub(before));
        }
        if !left.is_empty() {
            break;
        }
    }
    report(attack, &format!("{} KiB sent, {} KiB kept at most", sent >> 10, peak >> 10));
    assert!(peak <= most, "{attack}: {peak} bytes kept of {sent}");
    peer.close().await;
    scene.has_borne(attack).await;
}

/// Requests that are given up at once do not pile up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_requests_that_were_cancelled() {
    keeps_at_most("requests and cancellations", 24 << 20, length(200, 2_000), |round| {
        let mut batch = BytesMut::new();
        for id in round * 2_000 + 2..(round + 1) * 2_000 + 2 {
            batch.extend_from_slice(&message(&request(id, ECHO, "x")));
            let cancel = Envelope { message_seq_no: id, method: CANCEL.into(), ..Envelope::default() };
            batch.extend_from_slice(&message(&cancel));
        }
        batch.freeze()
    })
    .await;
}

/// A message of no bytes takes room too: at last the window is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_empty_messages() {
    keeps_at_most("empty messages", 256 << 20, length(100, 1_000), |_| Bytes::from(vec![0; 500_000])).await;
}

/// A small request that waits does not keep what came together with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_small_requests_between_large_replies() {
    keeps_at_most("small requests between large replies", 32 << 20, length(600, 6_000), |round| {
        let mut batch = BytesMut::new();
        // All in one frame.
        let junk = Envelope { payload: vec![7; 500_000].into(), ..request(HIGH_BIT | 9, ECHO, "") };
        batch.extend_from_slice(&message(&junk));
        batch.extend_from_slice(&message(&request(round + 2, ECHO, "x")));
        batch.freeze()
    })
    .await;
}

/// Nor one whose neighbours are given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_small_requests_between_large_ones_that_were_cancelled() {
    keeps_at_most("small requests between cancelled ones", 32 << 20, length(600, 6_000), |round| {
        let mut batch = BytesMut::new();
        let (large, small) = (4 * round + 2, 4 * round + 3);
        let payload = vec![7; 500_000].into();
        batch.extend_from_slice(&message(&Envelope { payload, ..request(large, ECHO, "") }));
        batch.extend_from_slice(&message(&request(small, ECHO, "x")));
        let cancel = Envelope { message_seq_no: large, method: CANCEL.into(), ..Envelope::default() };
        batch.extend_from_slice(&message(&cancel));
        batch.freeze()
    })
    .await;
}

/// A client that reads nothing: what is owed to it is bounded, and then it is not read from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_replies_that_nobody_reads() {
    let scene = Scene::start().await;
    let (peer, mut stream) = open(scene.address, &[]).await;
    stream.is_served().await;
    let before = resident_bytes();
    let text = "x".repeat(1_000);
    let mut batch = BytesMut::new();
    for id in 0..1_000 {
        batch.extend_from_slice(&message(&request(id, "test.Test.Unknown", &text)));
        batch.extend_from_slice(&message(&request(id, ECHO, &text)));
    }
    let mut sent = 0;
    for _ in 0..length(100, 1_000) {
        let left = stream.send_some(batch.clone().freeze()).await;
        sent += batch.len() - left.len();
        if !left.is_empty() {
            break;
        }
    }
    assert!(sent < 32 << 20, "the server reads on: {sent} bytes");
    if let (Some(before), Some(now)) = (before, resident_bytes()) {
        let kept = now.saturating_sub(before);
        report("replies that nobody reads", &format!("{} KiB sent, {} KiB kept", sent >> 10, kept >> 10));
        assert!(kept < 64 << 20, "{kept} bytes");
    }
    peer.close().await;
    scene.has_borne("replies that nobody reads").await;
}

/// A client that comes again and again while a handler of its first stream hangs: of all its streams only the newest
/// waits, and when it has gone it is no longer among the clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_streams_that_wait_for_an_older_one() {
    let scene = Scene::start().await;
    let streams = async |scene: &Scene, first: usize, count: usize| {
        for dial in first..first + count {
            let name = format!("mallory-{dial}");
            let (peer, mut stream) =
                open(scene.address, &[("gorums-node-id", "0"), ("gorums-client", &name)]).await;
            stream.headers().await.unwrap();
            peer.close().await;
        }
    };
    let name = [("gorums-client", "mallory-0")];
    let (peer, mut hung) = open(scene.address, &name).await;
    hung.send(message(&request(1, ECHO, "sleep:3000"))).await;
    let seen = || scene.service.seen.texts.lock().unwrap().iter().any(|text| text == "sleep:3000");
    soon("the first request", 10 * SECOND, seen).await;
    streams(&scene, 1, 200).await;
    // Those of the healthy clients, the first one, and the newest one.
    soon("streams pile up", SECOND, || scene.server.stats().streams <= 4).await;
    assert_eq!(scene.server.stats().handlers, 1, "the first one has ended");
    soon("they are no clients", SECOND, || scene.server.clients().len() == 1).await;
    peer.close().await;
    scene.has_borne("streams that wait for an older one").await;
}
