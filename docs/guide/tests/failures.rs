//! The rows of the table of the page on failures, one by one, on a network in memory whose clock is simulated.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use gorums::testing::{Cluster, Traffic};
use gorums::{
    Code, ConfigError, Configuration, ErrorClass, MailboxOverflow, Node, NodeError, NodeErrorKind, Overflow,
    QueueLimits, QuorumError, QuorumErrorKind, Server, ServerContext, Status, Updates,
};
use tokio::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[gorums::service(package = "guide")]
pub trait Faulty {
    #[rpc]
    async fn ask(&self, ctx: &ServerContext, request: String) -> Result<String, Status>;
    #[rpc(idempotent)]
    async fn ask_again(&self, ctx: &ServerContext, request: String) -> Result<String, Status>;
    #[quorumcall]
    async fn ask_all(&self, ctx: &ServerContext, request: String) -> Result<String, Status>;
    #[quorumcall(stream, idempotent)]
    async fn listen(
        &self,
        ctx: &ServerContext,
        request: String,
        updates: Updates<String>,
    ) -> Result<(), Status>;
    #[unicast]
    async fn tell(&self, ctx: &ServerContext, request: String);
    #[multicast]
    async fn tell_all(&self, ctx: &ServerContext, request: String);
}

/// What a handler does is in its request.
#[derive(Clone, Default)]
struct Handlers {
    id: u32,
    started: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

impl Handlers {
    async fn handle(&self, ctx: &ServerContext, request: String) -> Result<String, Status> {
        self.started.fetch_add(1, Ordering::SeqCst);
        match request.as_str() {
            "fail" => Err(Status::not_found("nothing here")),
            "panic" => panic!("a handler panics"),
            "hang" => {
                ctx.release();
                pending().await
            }
            "hang in turn" => pending().await,
            "cancel" => {
                ctx.release();
                ctx.cancelled().await;
                self.cancelled.fetch_add(1, Ordering::SeqCst);
                Ok(String::new())
            }
            "slow" => {
                ctx.release();
                sleep(SECOND).await;
                Ok(request)
            }
            "third hangs" if self.id == 3 => pending().await,
            "2 KB" => Ok("x".repeat(2_000)),
            "long" => Ok("x".repeat(5 << 20)),
            _ => Ok(request),
        }
    }
}

impl Faulty for Handlers {
    async fn ask(&self, ctx: &ServerContext, request: String) -> Result<String, Status> {
        self.handle(ctx, request).await
    }

    async fn ask_again(&self, ctx: &ServerContext, request: String) -> Result<String, Status> {
        self.handle(ctx, request).await
    }

    async fn ask_all(&self, ctx: &ServerContext, request: String) -> Result<String, Status> {
        self.handle(ctx, request).await
    }

    async fn listen(
        &self,
        ctx: &ServerContext,
        request: String,
        mut updates: Updates<String>,
    ) -> Result<(), Status> {
        ctx.release();
        updates.send(request.clone()).await?;
        for number in 0..request.parse().unwrap_or(0) {
            updates.send(number.to_string()).await?;
        }
        self.handle(ctx, request).await.map(drop)
    }

    async fn tell(&self, ctx: &ServerContext, request: String) {
        let _ = self.handle(ctx, request).await;
    }

    async fn tell_all(&self, ctx: &ServerContext, request: String) {
        let _ = self.handle(ctx, request).await;
    }
}

/// Three nodes, and what their handlers have counted.
struct Scene {
    cluster: Cluster,
    handlers: Vec<Handlers>,
    configuration: Configuration,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(
        options: impl FnOnce(gorums::ConfigurationBuilder) -> gorums::ConfigurationBuilder,
    ) -> Self {
        let handlers: Vec<_> = (1..=3).map(|id| Handlers { id, ..Handlers::default() }).collect();
        let of_nodes = handlers.clone();
        let server = move |id: gorums::NodeId| {
            let handlers = of_nodes[id.get() as usize - 1].clone();
            Server::builder().add_service(FaultyServer::new(handlers))
        };
        let mut cluster = Cluster::in_memory(3, server).await;
        let configuration = cluster.configure(options).unwrap();
        Self { cluster, handlers, configuration }
    }

    fn node(&self, id: u32) -> Node {
        self.configuration.node(id).unwrap().clone()
    }

    /// Until a handler of this node has started.
    async fn started(&self, id: usize) {
        while self.handlers[id - 1].started.load(Ordering::SeqCst) == 0 {
            sleep(MS).await;
        }
    }

    async fn connected(self) -> Self {
        self.configuration.wait_connected().await.unwrap();
        self
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// What a quorum error says of a node; nodes that nobody waited for any more are `Cancelled` in it.
fn of_node(error: &QuorumError, id: u32) -> &NodeError {
    error.nodes().iter().find(|error| error.node() == id).unwrap()
}

fn is_lost(error: &NodeError) -> bool {
    matches!(error.kind(), NodeErrorKind::ConnectionLost) && error.is_ambiguous() && error.is_transient()
}

#[tokio::test(start_paused = true)]
async fn a_node_is_down_at_the_start() {
    let mut scene = Scene::new().await;
    scene.cluster.kill(3).await;
    let error = scene.cluster.configure(|builder| builder).unwrap().wait_connected().await.unwrap_err();
    assert!(
        matches!(&error, ConfigError::Connect(nodes) if nodes.len() == 1 && nodes[0].node() == 3),
        "{error}"
    );

    let start = Instant::now();
    let error = scene.node(3).ask(text("x")).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Unavailable) && !error.is_ambiguous(), "{error}");
    assert!(start.elapsed() < SECOND, "after two dials, not at the deadline");

    scene.configuration.ask_all(text("x")).majority().await.unwrap();
    let error = scene.configuration.ask_all(text("x")).all().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
    assert!(matches!(of_node(&error, 3).kind(), NodeErrorKind::Unavailable), "{error}");
    let error = scene.configuration.tell_all(text("x")).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::SendFailure);
    assert!(matches!(of_node(&error, 3).kind(), NodeErrorKind::Unavailable), "{error}");
    let by_node = scene.configuration.listen(text("x")).send().into_map().await;
    assert_eq!(by_node.values().filter(|result| result.is_err()).count(), 1);

    let waits = scene.node(3).ask(text("x")).wait_for_ready(true).send();
    scene.cluster.start(3).await;
    assert_eq!(waits.await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_node_dies_with_calls_in_flight() {
    let mut scene = Scene::new().await.connected().await;
    let node = scene.node(1);
    let once = node.ask(text("slow")).send();
    let again = node.ask_again(text("slow")).send();
    let watch = scene.configuration.listen(text("hang")).send();
    scene.started(1).await;
    scene.cluster.restart(1).await;
    assert!(is_lost(&once.await.unwrap_err()));
    assert_eq!(again.await.unwrap(), "slow", "was sent again");
    let mut of_node = Box::pin(watch.of_node(1));
    let mut last = None;
    while let Some(item) = of_node.next().await {
        last = Some(item);
    }
    assert!(is_lost(&last.unwrap().unwrap_err()), "a streaming call is never sent again");
}

#[tokio::test(start_paused = true)]
async fn a_black_hole() {
    let scene = Scene::new().await.connected().await;
    scene.cluster.faults(3).set_both(Traffic::Drop);
    let node = scene.node(3);
    let start = Instant::now();
    scene.configuration.ask_all(text("x")).majority().await.unwrap();
    assert!(start.elapsed() < SECOND, "the others decide");

    let error = node.ask(text("x")).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::DeadlineExceeded) && error.is_ambiguous(), "{error}");
    assert_eq!(start.elapsed().as_secs(), 5);
    let error = node.ask(text("x")).timeout(60 * SECOND).await.unwrap_err();
    assert!(is_lost(&error), "{error}");
    assert!(start.elapsed() <= 14 * SECOND, "{:?}", start.elapsed());
    node.tell(text("x")).send().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_stops_reading() {
    let scene = Scene::new().await.connected().await;
    scene.cluster.faults(3).set_both(Traffic::StopReading);
    let start = Instant::now();
    let error = scene.node(3).ask(text("x")).timeout(60 * SECOND).await.unwrap_err();
    assert!(is_lost(&error), "{error}");
    assert!(start.elapsed() <= 14 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_slow_node_and_late_replies() {
    let scene = Scene::new().await.connected().await;
    scene.cluster.faults(3).set_both(Traffic::Delay(SECOND));
    let start = Instant::now();
    scene.configuration.ask_all(text("x")).majority().await.unwrap();
    assert!(start.elapsed() < SECOND);
    sleep(5 * SECOND).await;
    assert_eq!(scene.node(3).stats().late_replies, 1);
    assert_eq!(scene.handlers[2].started.load(Ordering::SeqCst), 1, "it was handled all the same");
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_full() {
    let limits = QueueLimits { messages: 2, ..QueueLimits::default() };
    let mut scene = Scene::with(|builder| builder.queue_limits(limits)).await.connected().await;
    scene.cluster.kill(3).await;
    let node = scene.node(3);
    let waiting: Vec<_> = (0..2).map(|_| node.ask(text("x")).wait_for_ready(true).send()).collect();
    let error = node.ask(text("x")).wait_for_ready(true).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::QueueFull) && !error.is_ambiguous(), "{error}");
    let error = scene.configuration.ask_all(text("x")).wait_for_ready(true).all().await.unwrap_err();
    assert!(matches!(of_node(&error, 3).kind(), NodeErrorKind::QueueFull), "{error}");
    scene.configuration.ask_all(text("x")).wait_for_ready(true).majority().await.unwrap();

    assert!(node.tell(text("x")).wait_for_ready(true).send().is_err());
    node.tell(text("x")).wait_for_ready(true).overflow(Overflow::DropNewest).send().unwrap();
    assert_eq!(node.stats().queue.dropped, 1);
    let waits = node.tell(text("x")).wait_for_ready(true).overflow(Overflow::Wait).timeout(SECOND).queued();
    assert!(matches!(waits.await.unwrap_err().kind(), NodeErrorKind::DeadlineExceeded));
    let counts = node.stats().queue;
    assert_eq!(counts.offered, counts.sent + counts.dropped + counts.failed + counts.queued);
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_passes() {
    let scene = Scene::new().await.connected().await;
    let error = scene.configuration.ask_all(text("third hangs")).timeout(SECOND).all().await.unwrap_err();
    assert_eq!((error.kind(), error.replies()), (QuorumErrorKind::DeadlineExceeded, 2));
    assert!(error.is_ambiguous() && error.is_transient());
    let mut replies = scene.configuration.ask_all(text("third hangs")).timeout(SECOND).send();
    let mut late = 0;
    while let Some(reply) = replies.next().await {
        late += usize::from(matches!(
            reply.result.map_err(|error| error.kind().clone()),
            Err(NodeErrorKind::DeadlineExceeded)
        ));
    }
    assert_eq!(late, 1);
    assert_eq!(scene.configuration.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_caller_is_dropped() {
    let scene = Scene::new().await.connected().await;
    let call = scene.configuration.ask_all(text("cancel")).all();
    timeout(SECOND, call).await.unwrap_err();
    sleep(SECOND).await;
    assert!(scene.handlers.iter().all(|handlers| handlers.cancelled.load(Ordering::SeqCst) == 1));
    assert_eq!(scene.configuration.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_fails_or_panics() {
    let scene = Scene::new().await;
    let error = scene.node(1).ask(text("fail")).await.unwrap_err();
    assert_eq!((error.status().unwrap().code(), error.class()), (Code::NotFound, ErrorClass::Permanent));
    assert!(!error.is_ambiguous());
    let error = scene.configuration.ask_all(text("fail")).first().await.unwrap_err();
    assert_eq!((error.kind(), error.nodes().len()), (QuorumErrorKind::Incomplete, 3));
    let error = scene.node(1).ask(text("panic")).await.unwrap_err();
    assert_eq!((error.status().unwrap().code(), error.class()), (Code::Internal, ErrorClass::Permanent));
    assert!(error.is_ambiguous());
    scene.node(1).tell(text("panic")).await.unwrap();
    assert_eq!(scene.node(1).ask(text("x")).await.unwrap(), "x", "the stream goes on");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_keeps_the_turn() {
    let scene = Scene::new().await.connected().await;
    scene.node(1).tell(text("hang in turn")).send().unwrap();
    let error = scene.node(1).ask(text("x")).timeout(SECOND).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::DeadlineExceeded));
    assert_eq!(scene.node(2).ask(text("x")).await.unwrap(), "x", "other nodes go on");
}

/// The same service, as a client with another version of the schema knows it.
mod other {
    use super::{ServerContext, Status};

    #[gorums::service(package = "guide")]
    pub trait Faulty {
        #[rpc]
        async fn ask(&self, ctx: &ServerContext, request: String) -> Result<u64, Status>;
        #[rpc]
        async fn ask_again(&self, ctx: &ServerContext, request: u64) -> Result<String, Status>;
        #[rpc]
        async fn new(&self, ctx: &ServerContext, request: ()) -> Result<(), Status>;
    }
}

#[tokio::test(start_paused = true)]
async fn schemas_that_differ() {
    use other::FaultyNodeClient;

    let scene = Scene::new().await;
    let node = scene.node(1);
    let code = |error: NodeError| error.status().map(Status::code);
    assert_eq!(code(node.new(()).await.unwrap_err()), Some(Code::Unimplemented));
    assert_eq!(code(FaultyNodeClient::ask_again(&node, 7).await.unwrap_err()), Some(Code::InvalidArgument));
    let error = FaultyNodeClient::ask(&node, text("x")).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Decode) && error.is_ambiguous(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_too_long() {
    let scene = Scene::new().await.connected().await;
    let error = scene.node(1).ask("x".repeat(5 << 20)).await.unwrap_err();
    assert_eq!(error.status().unwrap().code(), Code::OutOfRange);
    assert!(!error.is_ambiguous() && !error.is_transient());
    let error = scene.node(1).ask(text("long")).await.unwrap_err();
    assert_eq!(error.status().unwrap().code(), Code::Internal);
    assert!(error.is_ambiguous() && !error.is_transient());
    assert_eq!(scene.handlers[0].started.load(Ordering::SeqCst), 1, "its handler has run");

    let scene = Scene::with(|builder| builder.max_message_size(1_000)).await.connected().await;
    let other = scene.node(1).ask(text("hang")).send();
    scene.started(1).await;
    let error = scene.node(1).ask_again(text("2 KB")).timeout(SECOND).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Decode) && error.is_ambiguous(), "{error}");
    assert!(error.to_string().contains("longer than the limit of 1000"), "{error}");
    // No other call is touched.
    assert_eq!(scene.node(1).ask(text("release")).await.unwrap(), "release");
    assert_eq!(scene.node(1).stats().connections, 1);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn a_server_shuts_down() {
    let mut scene = Scene::new().await.connected().await;
    let finishes = scene.node(1).ask(text("slow")).timeout(60 * SECOND).send();
    let hangs = scene.node(1).ask(text("hang")).timeout(60 * SECOND).send();
    scene.started(1).await;
    sleep(500 * MS).await;
    scene.cluster.stop(1).await;
    assert_eq!(finishes.await.unwrap(), "slow", "within the drain timeout of 1 s");
    assert!(is_lost(&hangs.await.unwrap_err()));
    let error = scene.node(1).ask(text("x")).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_configuration_is_closed() {
    let scene = Scene::new().await.connected().await;
    let hangs = scene.node(1).ask(text("hang")).timeout(60 * SECOND).send();
    scene.started(1).await;
    scene.configuration.close().await;
    assert!(matches!(hangs.await.unwrap_err().kind(), NodeErrorKind::Closed));
    let error = scene.configuration.tell_all(text("x")).send().unwrap_err();
    assert!(error.nodes().iter().all(|error| matches!(error.kind(), NodeErrorKind::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_caller_reads_too_slowly() {
    let scene = Scene::new().await.connected().await;
    let mut updates = scene.configuration.listen(text("2000")).no_timeout().send();
    sleep(SECOND).await;
    let mut overrun = 0;
    while let Some(update) = updates.next().await {
        overrun +=
            usize::from(update.result.is_err_and(|error| matches!(error.kind(), NodeErrorKind::Overrun)));
    }
    assert_eq!(overrun, 3);
    let call = scene.configuration.listen(text("2000")).no_timeout();
    let newest = call.mailbox(3, MailboxOverflow::KeepNewest).send();
    sleep(SECOND).await;
    let newest: Vec<_> = newest.successes().map(|(_, number)| number).collect().await;
    assert_eq!(newest.iter().filter(|number| *number == "1999").count(), 3);
    assert!(newest.len() < 10, "{newest:?}");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_left_out_are_no_successes() {
    let scene = Scene::new().await;
    let only_first = |request: &String, node: &Node| (node.id() == 1).then(|| request.clone());
    scene.configuration.ask_all(text("x")).map_request(only_first).first().await.unwrap();
    let error = scene.configuration.ask_all(text("x")).map_request(only_first).majority().await.unwrap_err();
    assert!([2, 3].iter().all(|id| matches!(of_node(&error, *id).kind(), NodeErrorKind::Skipped)), "{error}");
    let for_nobody = |_: &String, _: &Node| None::<String>;
    scene.configuration.tell_all(text("x")).map_request(for_nobody).await.unwrap();
    let nobody = scene.configuration.only([9]);
    assert_eq!(nobody.tell_all(text("x")).send().unwrap_err().kind(), QuorumErrorKind::SendFailure);
    assert!(nobody.listen(text("x")).send().next().await.is_none());
    assert_eq!(nobody.ask_all(text("x")).first().await.unwrap_err().kind(), QuorumErrorKind::Incomplete);
}
