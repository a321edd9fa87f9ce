//! Messages that no node would send, on a stream that is in order.

use bytes::{BufMut, Bytes, BytesMut};
use gorums_core::Code;
use gorums_core::wire::{CANCEL, Entry, Envelope, RpcStatus};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::peer::{ECHO, Ended, HIGH_BIT, Peer, Stream, framed, message, open, request};
use crate::scene::Scene;
use crate::tools::length;

const FEW: [usize; 2] = [250, 1_000];
const MANY: [usize; 2] = [5_000, 20_000];

/// What makes a stream unreadable, and what the server says to it before it ends the stream.
fn unreadable() -> Vec<(&'static str, Bytes, Code)> {
    let raw = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    vec![
        ("4 GiB", raw(&[0, 0xff, 0xff, 0xff, 0xff]), Code::ResourceExhausted),
        (
            "too long, and of nobody",
            [&[0, 0, 0x40, 0, 1][..], &[0xff; 64]].concat().into(),
            Code::ResourceExhausted,
        ),
        ("compressed", raw(&[1, 0, 0, 0, 1, 0]), Code::Internal),
        ("neither compressed nor not", raw(&[0xff, 0, 0, 0, 1, 0]), Code::Internal),
        ("no protobuf", framed(&[0x0a, 1, 0]), Code::Internal),
        ("a field that is longer than its message", framed(&[8, 1, 0x12, 0x7f, 1]), Code::Internal),
        ("groups in groups", framed(&[0x0b; 1_000]), Code::Internal),
        ("a method that is not UTF-8", framed(&[8, 1, 0x12, 1, 0xff]), Code::Internal),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_cannot_be_read() {
    let scene = Scene::start().await;
    scene
        .bears("messages that cannot be read", length(FEW, MANY), async |scene, count| {
            for (what, bytes, code) in unreadable().into_iter().cycle().take(count) {
                let (mut peer, mut stream) = open(scene.address, &[("gorums-node-id", "0")]).await;
                stream.is_served().await;
                stream.send(bytes).await;
                let end = stream.end().await;
                assert_eq!(end.code(), Some(code), "{what}: {end:?}");
                // Only the stream ends.
                peer.open(&[]).await.is_served().await;
                peer.close().await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_random_bytes() {
    let scene = Scene::start().await;
    scene
        .bears("messages of random bytes", length(FEW, MANY), async |scene, count| {
            let mut dice = StdRng::seed_from_u64(3);
            for _ in 0..count {
                let (peer, mut stream) = open(scene.address, &[]).await;
                let mut bytes = vec![0; dice.random_range(5..5_000)];
                dice.fill_bytes(&mut bytes);
                if dice.random() {
                    // Messages of random bytes, instead of random prefixes.
                    bytes = bytes.chunks(dice.random_range(1..200)).flat_map(framed).collect();
                }
                stream.send(bytes.into()).await;
                let _ = stream.sink.send_data(Bytes::new(), true);
                let end = stream.end().await;
                assert!(
                    matches!(end.code(), Some(Code::Ok | Code::Internal | Code::ResourceExhausted)),
                    "{end:?}"
                );
                peer.close().await;
            }
        })
        .await;
}

/// An id is the sender's affair: whatever it is, a request is answered with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ids_that_no_client_gives() {
    let scene = Scene::start().await;
    scene
        .bears("ids that no client gives", length(MANY, [50_000, 200_000]), async |scene, count| {
            let (peer, mut stream) = open(scene.address, &[]).await;
            for _ in 0..count / 8 {
                let mut batch = BytesMut::new();
                for id in [0, 0, 1, 1, HIGH_BIT - 1, HIGH_BIT - 1, 0, 5] {
                    batch.extend_from_slice(&message(&request(id, ECHO, "x")));
                }
                stream.send(batch.freeze()).await;
                for id in [0, 0, 1, 1, HIGH_BIT - 1, HIGH_BIT - 1, 0, 5] {
                    stream.reply(id).await;
                }
            }
            peer.close().await;
        })
        .await;
}

/// Two requests with one id are two requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_id_for_many() {
    let scene = Scene::start().await;
    scene
        .bears("one id for many requests", length([25, 100], [250, 1_000]), async |scene, count| {
            for _ in 0..count {
                let (peer, mut stream) = open(scene.address, &[("gorums-features", "cancel")]).await;
                for _ in 0..20 {
                    stream.send(message(&request(7, ECHO, "release-sleep:1"))).await;
                }
                for _ in 0..20 {
                    stream.reply(7).await;
                }
                for _ in 0..3 {
                    stream.send(message(&request(7, ECHO, "hang"))).await;
                }
                peer.close().await;
            }
        })
        .await;
}

/// What looks like replies of the server's own calls: ids that it has not given, and those of its calls to others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_reply_to_nobody() {
    let scene = Scene::start().await;
    scene
        .bears(
            "replies to nobody",
            length([40_000, 160_000], [1_000_000, 4_000_000]),
            async |scene, count| {
                let headers = [("gorums-node-id", "0"), ("gorums-features", "cancel,end")];
                let (peer, mut stream) = open(scene.address, &headers).await;
                stream.is_served().await;
                let mallory = scene.server.clients().nodes().last().unwrap().clone();
                let mut batch = BytesMut::new();
                for turn in 0..count as u64 {
                    // Ids as the server gives them: a generation, and a slot, of which the healthy calls have the first.
                    let id = HIGH_BIT | (turn / 4) << 20 | (turn % 4);
                    let status = match turn % 3 {
                        0 => None,
                        1 => Some(RpcStatus::default()),
                        _ => Some(RpcStatus {
                            code: 13,
                            message: "forged".into(),
                            details: vec!["x".into(); 3],
                        }),
                    };
                    batch.extend_from_slice(&message(&Envelope { status, ..request(id, ECHO, "forged") }));
                    if batch.len() > 1 << 16 {
                        stream.send(batch.split().freeze()).await;
                    }
                }
                stream.send(batch.freeze()).await;
                stream.is_served().await;
                assert_eq!(mallory.stats().late_replies, count as u64);
                let seen = scene.service.seen.texts.lock().unwrap().clone();
                assert!(!seen.iter().any(|text| text == "forged"), "a reply was handled as a request");
                peer.close().await;
            },
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_cancel_what_does_not_run() {
    let scene = Scene::start().await;
    scene
        .bears(
            "cancellations of nothing",
            length([20_000, 80_000], [500_000, 2_000_000]),
            async |scene, count| {
                let (peer, mut stream) = open(scene.address, &[("gorums-features", "cancel")]).await;
                let mut batch = BytesMut::new();
                for id in 0..count as u64 {
                    let cancel =
                        Envelope { message_seq_no: id, method: CANCEL.into(), ..Envelope::default() };
                    batch.extend_from_slice(&message(&cancel));
                }
                stream.send(batch.freeze()).await;
                stream.is_served().await;
                peer.close().await;
            },
        )
        .await;
}

/// Each is refused, in order; who does not take the answers is not read from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_methods_that_are_not_there() {
    let scene = Scene::start().await;
    scene
        .bears("unknown methods", length([10_000, 40_000], [100_000, 400_000]), async |scene, count| {
            let (peer, mut stream) = open(scene.address, &[]).await;
            for batch in 0..count as u64 / 100 {
                let mut bytes = BytesMut::new();
                for id in 1..=100 {
                    let method = ["test.Test.Unknown", "", "\u{1f980}", "gorums.Cancelled"][id as usize % 4];
                    bytes.extend_from_slice(&message(&request(batch * 100 + id, method, "x")));
                }
                stream.send(bytes.freeze()).await;
                for id in 1..=100 {
                    stream.refusal(batch * 100 + id, Code::Unimplemented).await;
                }
            }
            peer.close().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_names_and_metadata_of_a_megabyte() {
    let scene = Scene::start().await;
    scene
        .bears("names and metadata of a megabyte", length([10, 40], [100, 400]), async |scene, count| {
            let (mut peer, mut stream) = open(scene.address, &[]).await;
            let long = Bytes::from("x".repeat(1 << 20));
            for id in 0..count as u64 {
                let method = String::from_utf8(long.to_vec()).unwrap();
                stream.send(message(&request(id, &method, "x"))).await;
                let reply = stream.next().await.unwrap();
                let status = reply.status.unwrap();
                assert_eq!(status.to_status().code(), Code::Unimplemented);
                assert!(status.message.len() <= 64 << 10, "a text of {} bytes", status.message.len());
                let short = Entry { key: "x-trace".into(), value: "x".into() };
                for entry in [
                    vec![Entry { value: long.clone(), ..short.clone() }],
                    vec![Entry { key: long.clone(), ..short.clone() }],
                    vec![short; 100_000],
                ] {
                    answered_or_refused(&mut stream, Envelope { entry, ..request(id, ECHO, "meta") }).await;
                    if stream.sink.poll_reset(&mut noop()).is_ready() {
                        stream = peer.open(&[]).await;
                    }
                }
            }
            peer.close().await;
        })
        .await;
}

fn noop() -> std::task::Context<'static> {
    std::task::Context::from_waker(std::task::Waker::noop())
}

/// Either is good, as long as the peer is told.
async fn answered_or_refused(stream: &mut Stream, envelope: Envelope) {
    stream.send(message(&envelope)).await;
    match stream.next().await {
        Ok(reply) => assert_eq!(reply.message_seq_no, envelope.message_seq_no),
        Err(Ended::Status(status)) => assert_eq!(status.code(), Code::ResourceExhausted),
        Err(ended @ Ended::Broken(_)) => panic!("{ended:?}"),
    }
}

/// Handlers that panic, fail and hang, and whose callers go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_make_handlers_fail() {
    let scene = Scene::start().await;
    say_nothing_of_panics_that_are_asked_for();
    scene
        .bears("handlers that fail", length([100, 400], [1_000, 4_000]), async |scene, count| {
            for turn in 0..count {
                let (peer, mut stream) = open(scene.address, &[]).await;
                let (text, code) = [("panic", Code::Internal), ("fail", Code::FailedPrecondition)][turn % 2];
                stream.send(message(&request(1, ECHO, text))).await;
                stream.refusal(1, code).await;
                stream.send(not_a_text()).await;
                stream.refusal(2, Code::InvalidArgument).await;
                stream.send(message(&request(3, ECHO, "hang"))).await;
                peer.close().await;
            }
        })
        .await;
}

fn say_nothing_of_panics_that_are_asked_for() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref() != Some(&"told to panic") {
            usual(panic);
        }
    }));
}

/// A payload that is none of the method's.
fn not_a_text() -> Bytes {
    let payload = Bytes::from_static(&[0x0a, 0x7f, 1]);
    message(&Envelope { payload, ..request(2, ECHO, "") })
}

/// Prefixes that announce much and bring little, as cheap as they can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_are_announced_and_never_come() {
    let scene = Scene::start().await;
    scene
        .bears("messages that never come", length([200, 200], [1_000, 1_000]), async |scene, count| {
            let (mut peers, mut streams) = (Vec::new(), Vec::new());
            for _ in 0..count / 10 {
                let mut peer = Peer::connect(scene.address).await;
                for _ in 0..10 {
                    let mut stream = peer.open(&[]).await;
                    stream.is_served().await;
                    let mut prefix = BytesMut::new();
                    prefix.put_u8(0);
                    prefix.put_u32(4 << 20);
                    prefix.put_bytes(0, 100);
                    stream.send(prefix.freeze()).await;
                    streams.push(stream);
                }
                peers.push(peer);
            }
            for peer in peers {
                peer.close().await;
            }
        })
        .await;
}
