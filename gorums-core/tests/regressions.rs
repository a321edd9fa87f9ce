//! Each of these was wrong once.
#![allow(clippy::unwrap_used, clippy::wildcard_imports, missing_docs)]

mod common;
use common::*;
use gorums_core::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn graceful_shutdown_lets_running_handlers_reply() {
    let cluster = Cluster::start(1).await;
    let configuration = cluster.configuration();
    let call = configuration.nodes()[0].rpc(&ECHO, text("sleep:300")).send();
    soon("seen", 5000 * MS, || cluster.seen(0).len() == 1).await;
    let (reply, ()) = tokio::join!(call, cluster.handles[0].shutdown());
    assert!(reply.is_ok(), "{}", reply.unwrap_err());
}

#[test]
fn waiting_for_room_of_a_node_that_is_down_does_not_spin() {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let often = Backoff { initial: 5 * MS, max: 5 * MS };
            let configuration = Configuration::builder()
                .nodes(["127.0.0.1:9"])
                .backoff(often)
                .queue_limits(QueueLimits { messages: 1, ..QueueLimits::default() })
                .connect_lazy()
                .unwrap();
            let _ = configuration.wait_connected().await;
            tokio::time::sleep(100 * MS).await; // down by now
            configuration
                .multicast(&NOTE, text("1"))
                .wait_for_ready(true)
                .timeout(Duration::from_secs(3600))
                .send()
                .unwrap();
            let error = configuration
                .multicast(&NOTE, text("2"))
                .wait_for_ready(true)
                .overflow(Overflow::Wait)
                .timeout(200 * MS)
                .await
                .unwrap_err();
            tx.send(error.kind()).unwrap();
        });
    });
    let kind = rx
        .recv_timeout(Duration::from_secs(5))
        .expect("spins: its own deadline of 200 ms is never looked at");
    assert_eq!(kind, QuorumErrorKind::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overrun_call_is_given_up_at_the_nodes() {
    let cluster = Cluster::start(1).await;
    let configuration = cluster.configuration();
    configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
    let mut replies =
        configuration.streaming_call(&COUNT, number(0)).no_timeout().mailbox(4, MailboxOverflow::Fail).send();
    tokio::time::sleep(200 * MS).await;
    let mut overrun = false;
    while let Some(r) = replies.next().await {
        overrun |= matches!(r.result, Err(e) if matches!(e.kind(), NodeErrorKind::Overrun));
    }
    assert!(overrun);
    drop(replies);
    tokio::time::sleep(500 * MS).await;
    let before = cluster.nodes[0].seen.updates.load(Ordering::SeqCst);
    tokio::time::sleep(500 * MS).await;
    let after = cluster.nodes[0].seen.updates.load(Ordering::SeqCst);
    assert_eq!(before, after, "the handler still sends to a caller that has gone");
}

#[tokio::test]
async fn keepalive_never() {
    let cluster = Cluster::start(1).await;
    let configuration = Configuration::builder()
        .nodes(cluster.addresses.iter().map(ToString::to_string))
        .keepalive(Duration::MAX, Duration::from_secs(3))
        .connect_lazy()
        .unwrap();
    configuration.quorum_call(&ECHO, text("x")).timeout(1000 * MS).all().await.unwrap();
    tokio::time::sleep(100 * MS).await;
    configuration.quorum_call(&ECHO, text("x")).timeout(1000 * MS).all().await.unwrap();
}

#[tokio::test]
async fn drain_without_limit() {
    let cluster = Cluster::start(1).await;
    let configuration = Configuration::builder()
        .nodes(cluster.addresses.iter().map(ToString::to_string))
        .drain_timeout(Duration::MAX)
        .connect_lazy()
        .unwrap();
    configuration.quorum_call(&ECHO, text("x")).timeout(1000 * MS).all().await.unwrap();
    let call = configuration.nodes()[0].rpc(&ECHO, text("sleep:200")).send();
    soon("seen", 5000 * MS, || cluster.seen(0).len() == 2).await;
    cluster.handles[0].abort().await; // so that the loop looks whether it is finished
    let c2 = configuration.clone();
    tokio::time::timeout(Duration::from_secs(5), c2.close()).await.unwrap();
    call.await.unwrap_err();
    let error = configuration.nodes()[0].rpc(&ECHO, text("x")).timeout(1000 * MS).send().await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Closed), "{error:?}");
    assert!(!configuration.nodes()[0].is_connected());
    assert!(
        matches!(configuration.wait_connected().await.unwrap_err(), ConfigError::Connect(e) if matches!(e[0].kind(), NodeErrorKind::Closed))
    );
}

const BIG: Method<Text, Text> = Method::prost("test.Big.Big", CallType::Rpc);
struct Big;
impl Service for Big {
    const NAME: &'static str = "test.Big";
    fn register(self, methods: &mut Methods) {
        let inner = Arc::new(self);
        methods.two_way(&BIG, &inner, |_, _ctx, request: Text| async move {
            if request.text == "status" {
                return Err(Status::internal("x".repeat(request.number as usize)));
            }
            Ok(Text { text: "x".repeat(request.number as usize), number: 0 })
        });
    }
}

async fn big(request: Text) -> (Result<Text, NodeError>, Result<Text, NodeError>) {
    let test = Test::new(1);
    let server =
        Server::builder().add_service(Big).add_service(test.clone()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().to_string();
    tokio::spawn(server.serve());
    let configuration = Configuration::builder().nodes([address]).connect_lazy().unwrap();
    let node = &configuration.nodes()[0];
    let other = node.rpc(&ECHO, text("release-sleep:500")).send();
    soon("seen", 5000 * MS, || test.seen.texts.lock().unwrap().len() == 1).await;
    let big = node.rpc(&BIG, request).send().await;
    (big, other.await)
}

#[tokio::test]
async fn a_reply_near_the_limit_fails_alone() {
    let (big, other) = big(Text { text: String::new(), number: (4 << 20) - 10 }).await;
    assert!(other.is_ok(), "another call was hurt: {:?}; the big one: {:?}", other.err(), big.err());
}

#[tokio::test]
async fn a_long_status_fails_alone() {
    let (big, other) = big(Text { text: "status".into(), number: 5 << 20 }).await;
    assert!(other.is_ok(), "another call was hurt: {:?}; the big one: {:?}", other.err(), big.err());
}

#[tokio::test]
async fn what_was_sent_once_stays_ambiguous() {
    let cluster = Cluster::start(1).await;
    let often = Backoff { initial: 5 * MS, max: 5 * MS };
    let configuration = Configuration::builder()
        .nodes(cluster.addresses.iter().map(ToString::to_string))
        .backoff(often)
        .connect_lazy()
        .unwrap();
    let node = &configuration.nodes()[0];
    let fails = node.rpc(&SAFE, text("sleep:100000")).send();
    let waits = node.rpc(&SAFE, text("x")).wait_for_ready(true).timeout(1000 * MS).send();
    soon("seen", 5000 * MS, || cluster.seen(0).len() == 1).await;
    cluster.handles[0].abort().await;
    let (fails, waits) = (fails.await.unwrap_err(), waits.await.unwrap_err());
    assert!(
        fails.is_ambiguous() && waits.is_ambiguous(),
        "its handler ran, but: {fails:?} ambiguous={} / {waits:?} ambiguous={}",
        fails.is_ambiguous(),
        waits.is_ambiguous()
    );
}

const WATCH: Method<Text, Text> =
    Method::prost("test.Test.Count", CallType::StreamingQuorumCall).idempotent();
#[tokio::test]
async fn a_streaming_call_ends_with_its_connection() {
    let cluster = Cluster::start(1).await;
    let address = cluster.addresses[0];
    let often = Backoff { initial: 5 * MS, max: 5 * MS };
    let configuration =
        Configuration::builder().nodes([address.to_string()]).backoff(often).connect_lazy().unwrap();
    let mut replies = configuration
        .streaming_call(&WATCH, number(0))
        .wait_for_ready(true)
        .no_timeout()
        .mailbox(100, MailboxOverflow::KeepNewest)
        .send();
    let mut last = 0;
    for _ in 0..200 {
        last = last.max(replies.next().await.unwrap().result.unwrap().number);
    }
    cluster.handles[0].abort().await;
    let test = Test::new(1);
    let server = Server::builder().add_service(test).bind(address).await.unwrap();
    tokio::spawn(server.serve());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        match tokio::time::timeout(1000 * MS, replies.next())
            .await
            .expect("nothing")
            .expect("an error before the end")
            .result
        {
            Ok(reply) => {
                assert!(reply.number > last, "update {} again, after {last}", reply.number);
                last = reply.number;
            }
            Err(error) => {
                assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost));
                return;
            }
        }
    }
    panic!("never ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_congested_stream_notices_that_its_peer_has_gone() {
    let cluster = Cluster::start(1).await;
    let configuration = Configuration::builder()
        .nodes(cluster.addresses.iter().map(ToString::to_string))
        .drain_timeout(50 * MS)
        .connect_lazy()
        .unwrap();
    let call = configuration.nodes()[0].rpc(&ECHO, text("hang")).timeout(Duration::from_secs(3600)).send();
    soon("seen", 5000 * MS, || cluster.seen(0).len() == 1).await;
    for _ in 0..1500 {
        configuration.multicast(&NOTE, text("note")).overflow(Overflow::Wait).await.unwrap();
    }
    tokio::time::sleep(200 * MS).await;
    let d = configuration.close();
    d.await;
    drop(call);
    drop(configuration);
    soon("the handler is told", Duration::from_secs(10), || {
        cluster.nodes[0].seen.cancelled.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Bomb;
impl prost::Message for Bomb {
    fn encode_raw(&self, _: &mut impl bytes::BufMut) {
        panic!("cannot encode")
    }
    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }
    fn encoded_len(&self) -> usize {
        10
    }
    fn clear(&mut self) {}
}
const BOMB: Method<Text, Bomb> = Method::prost("test.Bomb.Bomb", CallType::Rpc);
struct BombService;
impl Service for BombService {
    const NAME: &'static str = "test.Bomb";
    fn register(self, methods: &mut Methods) {
        let inner = Arc::new(self);
        methods.two_way(&BOMB, &inner, |_, _ctx, _request: Text| async move { Ok(Bomb) });
    }
}
#[tokio::test]
async fn a_reply_that_panics_while_it_is_encoded_hurts_nobody_else() {
    let test = Test::new(1);
    let server = Server::builder()
        .add_service(BombService)
        .add_service(test.clone())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr().to_string();
    tokio::spawn(server.serve());
    let configuration = Configuration::builder().nodes([address]).connect_lazy().unwrap();
    let node = &configuration.nodes()[0];
    let other = node.rpc(&ECHO, text("release-sleep:300")).send();
    soon("seen", 5000 * MS, || test.seen.texts.lock().unwrap().len() == 1).await;
    let bomb = node.rpc(&BOMB, text("")).send().await.unwrap_err();
    let other = other.await;
    assert!(other.is_ok(), "{:?} (bomb: {bomb:?})", other.err());
    assert!(matches!(bomb.kind(), NodeErrorKind::Status(s) if s.code() == Code::Internal), "{bomb:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_dropped_at_any_moment_end_at_the_server() {
    let cluster = Cluster::start(1).await;
    let configuration = cluster.configuration();
    configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
    for round in 0..300_u64 {
        let calls: Vec<_> = (0..64)
            .map(|_| {
                Some(
                    configuration
                        .streaming_call(&COUNT, Text { text: "yield-release".into(), number: 0 })
                        .no_timeout()
                        .mailbox(1, MailboxOverflow::KeepNewest)
                        .send(),
                )
            })
            .collect();
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(round % 100) {
            std::hint::spin_loop();
        }
        drop(calls);
        if round % 10 == 0 {
            tokio::time::sleep(20 * MS).await;
        }
    }
    tokio::time::sleep(2000 * MS).await;
    configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
    let before = cluster.nodes[0].seen.updates.load(Ordering::SeqCst);
    tokio::time::sleep(500 * MS).await;
    let after = cluster.nodes[0].seen.updates.load(Ordering::SeqCst);
    assert_eq!(before, after, "handlers of callers that have gone still send");
}
