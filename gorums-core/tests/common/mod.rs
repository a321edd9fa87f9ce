//! A service by hand, and clusters of it.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod dice;
pub mod log;
pub mod talk;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums_core::{
    CallType, Configuration, Method, Methods, Multicast, NodeId, NodeTarget, QuorumCall, QuorumTarget, Rpc,
    Server, ServerContext, ServerHandle, Service, Status, StreamingCall, Unicast, Updates,
};

#[derive(Clone, PartialEq, prost::Message)]
pub struct Text {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(uint64, tag = "2")]
    pub number: u64,
}

pub fn text(text: &str) -> Text {
    Text { text: text.into(), number: 0 }
}

pub fn number(number: u64) -> Text {
    Text { text: String::new(), number }
}

pub const ECHO: Method<Text, Text> = Method::prost("test.Test.Echo", CallType::QuorumCall);
pub const SAFE: Method<Text, Text> = Method::prost("test.Test.Safe", CallType::QuorumCall).idempotent();
pub const UNKNOWN: Method<Text, Text> = Method::prost("test.Test.Unknown", CallType::QuorumCall);
pub const NOTE: Method<Text, ()> = Method::prost("test.Test.Note", CallType::Multicast);
pub const COUNT: Method<Text, Text> = Method::prost("test.Test.Count", CallType::StreamingQuorumCall);

/// Calls without generated code.
pub trait OnConfiguration: QuorumTarget {
    fn quorum_call<Req, Resp>(
        &self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> QuorumCall<Req, Resp, Self::Quorum> {
        QuorumTarget::quorum_call(self, method, request)
    }

    fn streaming_call<Req, Resp>(
        &self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> StreamingCall<Req, Resp> {
        QuorumTarget::streaming_call(self, method, request)
    }

    fn multicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Multicast<Req> {
        QuorumTarget::multicast(self, method, request)
    }
}

impl<T: QuorumTarget> OnConfiguration for T {}

/// Calls without generated code.
pub trait OnNode: NodeTarget {
    fn rpc<Req, Resp>(&self, method: &'static Method<Req, Resp>, request: Req) -> Rpc<Req, Resp> {
        NodeTarget::rpc(self, method, request)
    }

    fn unicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Unicast<Req> {
        NodeTarget::unicast(self, method, request)
    }
}

impl<T: NodeTarget> OnNode for T {}

/// What the handlers saw, in order.
#[derive(Default)]
pub struct Seen {
    pub texts: Mutex<Vec<String>>,
    pub numbers: Mutex<Vec<u64>>,
    pub cancelled: AtomicU64,
    pub updates: AtomicU64,
    pub last_remaining: Mutex<Option<Duration>>,
    pub detached: AtomicBool,
    /// Handlers that have neither returned nor released, and how often one started while there was another.
    holding: AtomicU64,
    pub overlaps: AtomicU64,
}

/// A handler that has neither returned nor released.
struct Holding<'a> {
    seen: &'a Seen,
    released: bool,
}

impl<'a> Holding<'a> {
    fn enter(seen: &'a Seen) -> Self {
        if seen.holding.fetch_add(1, Ordering::SeqCst) > 0 {
            seen.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        Self { seen, released: false }
    }

    fn release(&mut self, ctx: &ServerContext) {
        self.leave();
        ctx.release();
    }

    fn leave(&mut self) {
        if !std::mem::replace(&mut self.released, true) {
            self.seen.holding.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[derive(Clone)]
pub struct Test {
    pub id: u64,
    pub seen: Arc<Seen>,
}

impl Test {
    pub fn new(id: u64) -> Self {
        Self { id, seen: Arc::default() }
    }

    /// Commands are in the text: `sleep:<ms>`, `release-sleep:<ms>`, `detach:<ms>`, `fail`, `panic`, `hang`, `fail:<id>`, `hang:<id>`.
    async fn echo(&self, ctx: &ServerContext, request: Text) -> Result<Text, Status> {
        let mut holding = Holding::enter(&self.seen);
        self.seen.texts.lock().unwrap().push(request.text.clone());
        self.seen.numbers.lock().unwrap().push(request.number);
        *self.seen.last_remaining.lock().unwrap() = ctx.remaining();
        let (command, argument) = request.text.split_once(':').unwrap_or((&request.text, ""));
        let here = argument.is_empty() || argument == self.id.to_string();
        match command {
            "sleep" => tokio::time::sleep(Duration::from_millis(argument.parse().unwrap())).await,
            "release-sleep" => {
                holding.release(ctx);
                tokio::time::sleep(Duration::from_millis(argument.parse().unwrap())).await;
            }
            "detach" => {
                let (seen, time) = (self.seen.clone(), Duration::from_millis(argument.parse().unwrap()));
                drop(ctx.detach(Duration::from_secs(3), async move {
                    tokio::time::sleep(time).await;
                    seen.detached.store(true, Ordering::SeqCst);
                }));
            }
            "yield" => tokio::task::yield_now().await,
            "yield-release" => {
                holding.release(ctx);
                tokio::task::yield_now().await;
            }
            "fail" if here => return Err(Status::failed_precondition("told to fail")),
            "panic" => panic!("told to panic"),
            "hang" if here => {
                ctx.cancelled().await;
                self.seen.cancelled.fetch_add(1, Ordering::SeqCst);
                return Err(Status::cancelled("gone"));
            }
            "connection-meta" => {
                let value = ctx.connection_metadata().get("x-client").map(|v| v.to_str().unwrap().to_owned());
                return Ok(Text { text: value.unwrap_or_default(), number: self.id });
            }
            "meta" => {
                let value = ctx.metadata().get("x-trace").map(|v| v.to_str().unwrap().to_owned());
                return Ok(Text { text: value.unwrap_or_default(), number: self.id });
            }
            _ => {}
        }
        Ok(Text { text: request.text, number: self.id })
    }

    async fn count(
        &self,
        ctx: &ServerContext,
        request: Text,
        updates: &mut Updates<Text>,
    ) -> Result<(), Status> {
        let mut holding = Holding::enter(&self.seen);
        self.seen.numbers.lock().unwrap().push(request.number);
        match request.text.as_str() {
            "yield" => tokio::task::yield_now().await,
            "yield-release" => {
                holding.release(ctx);
                tokio::task::yield_now().await;
            }
            _ => {}
        }
        let limit = if request.number == 0 { u64::MAX } else { request.number };
        for number in 1..=limit {
            self.seen.updates.fetch_add(1, Ordering::SeqCst);
            updates.send(Text { text: self.id.to_string(), number }).await?;
            tokio::task::yield_now().await;
        }
        if request.text == "fail" { Err(Status::aborted("told to fail")) } else { Ok(()) }
    }
}

impl Service for Test {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        let inner = Arc::new(self);
        methods.two_way(&ECHO, &inner, |inner, ctx, request| async move { inner.echo(&ctx, request).await });
        methods.two_way(&SAFE, &inner, |inner, ctx, request| async move { inner.echo(&ctx, request).await });
        methods.one_way(&NOTE, &inner, |inner, ctx, request| async move {
            let _ = inner.echo(&ctx, request).await;
        });
        methods.streaming(&COUNT, &inner, |inner, ctx, request, mut updates| async move {
            inner.count(&ctx, request, &mut updates).await
        });
    }
}

/// What carries the bytes between the nodes of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Memory,
    Tcp,
}

/// Servers behind faulty links, and their services. What the services have seen outlives a restart.
pub async fn faulty(transport: Transport, size: u32) -> (gorums_core::testing::Cluster, Vec<Test>) {
    let nodes: Vec<_> = (1..=u64::from(size)).map(Test::new).collect();
    let services = nodes.clone();
    let server = move |id: NodeId| Server::builder().add_service(services[id.get() as usize - 1].clone());
    let cluster = match transport {
        Transport::Memory => gorums_core::testing::Cluster::in_memory(size, server).await,
        Transport::Tcp => gorums_core::testing::Cluster::over_tcp(size, server).await,
    };
    (cluster, nodes)
}

/// How often each test is run: `GORUMS_REPEAT`, or once.
pub fn repetitions() -> u32 {
    std::env::var("GORUMS_REPEAT").map_or(1, |times| times.parse().expect("GORUMS_REPEAT is a number"))
}

/// Makes tests of async functions that take a [`Transport`]: in memory and over TCP, on two threads and on one.
#[allow(unused_macros)]
macro_rules! on_each_transport {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::common::{Transport, repetitions};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_memory() {
                for _ in 0..repetitions() {
                    super::$name(Transport::Memory).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_tcp() {
                for _ in 0..repetitions() {
                    super::$name(Transport::Tcp).await;
                }
            }

            #[tokio::test]
            async fn over_tcp_on_one_thread() {
                for _ in 0..repetitions() {
                    super::$name(Transport::Tcp).await;
                }
            }
        }
    )+};
}
#[allow(unused_imports)]
pub(crate) use on_each_transport;

pub struct Cluster {
    pub addresses: Vec<SocketAddr>,
    pub nodes: Vec<Test>,
    pub handles: Vec<ServerHandle>,
}

impl Cluster {
    pub async fn start(size: u64) -> Self {
        let mut cluster = Self { addresses: Vec::new(), nodes: Vec::new(), handles: Vec::new() };
        for id in 1..=size {
            let node = Test::new(id);
            let server = Server::builder().add_service(node.clone()).bind("127.0.0.1:0").await.unwrap();
            cluster.addresses.push(server.local_addr());
            cluster.nodes.push(node);
            cluster.handles.push(server.handle());
            tokio::spawn(server.serve());
        }
        cluster
    }

    pub fn configuration(&self) -> Configuration {
        Configuration::builder().nodes(self.addresses.iter().map(ToString::to_string)).connect_lazy().unwrap()
    }

    pub fn seen(&self, index: usize) -> Vec<u64> {
        self.nodes[index].seen.numbers.lock().unwrap().clone()
    }
}

/// Waits until a condition holds. The limit only turns a hang into a failure.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    within(what, wait).await;
}

pub async fn within<T>(what: &str, future: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap_or_else(|_| panic!("{what}: hangs"))
}

/// Looks every few milliseconds whether a condition holds, for up to `limit`.
pub async fn soon(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
