//! What the long tests share: a service that keeps little, one test at a time, and figures.
#![allow(missing_docs, unreachable_pub)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gorums_core::testing::Cluster;
use gorums_core::{
    CallType, Configuration, Method, Methods, NodeId, Server, ServerBuilder, ServerContext, Service, Status,
};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// Whether the tests run for their full length: `GORUMS_SOAK` is set.
pub fn is_soak() -> bool {
    std::env::var_os("GORUMS_SOAK").is_some()
}

/// The short or the full length of something.
pub fn length<T>(short: T, full: T) -> T {
    if is_soak() { full } else { short }
}

/// Keeps tests that measure from running beside others of this file.
pub async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

/// 16 bytes without padding.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    #[prost(fixed64, tag = "1")]
    pub number: u64,
    #[prost(fixed32, tag = "2")]
    pub sender: u32,
    /// What the handler does: one of the constants below.
    #[prost(uint32, tag = "3")]
    pub what: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub padding: Bytes,
}

/// Reply at once.
pub const REPLY: u32 = 1;
/// Keep the turn for [`Item::number`] milliseconds, and reply then.
pub const BUSY: u32 = 2;
/// Keep the turn until the caller has gone.
pub const HANG: u32 = 3;
/// Pass the turn on, and wait until the caller has gone.
pub const RELEASE_AND_HANG: u32 = 4;

pub fn item(sender: u32, number: u64) -> Item {
    Item { number, sender, what: REPLY, padding: Bytes::new() }
}

pub const CALL: Method<Item, Item> = Method::prost("soak.Soak.Call", CallType::QuorumCall);
pub const SAFE: Method<Item, Item> = Method::prost("soak.Soak.Safe", CallType::QuorumCall).idempotent();
pub const NOTE: Method<Item, ()> = Method::prost("soak.Soak.Note", CallType::Multicast);

/// What a node has handled.
#[derive(Default)]
pub struct Handled {
    /// How many messages.
    pub count: u64,
    pub senders: HashMap<u32, OfSender>,
    /// Messages that came after one of their sender with a higher number, or the same: sender, number, last.
    pub disorder: Vec<(u32, u64, u64)>,
    /// Messages of others that came after the first one of sender 0.
    pub after_first_call: u64,
    /// Each message, if they are kept: sender and number.
    pub all: Option<Vec<(u32, u64)>>,
}

impl Handled {
    fn take(&mut self, item: &Item) {
        self.count += 1;
        self.after_first_call += u64::from(item.sender != 0 && self.senders.contains_key(&0));
        let sender = self.senders.entry(item.sender).or_default();
        if item.number <= sender.last {
            self.disorder.push((item.sender, item.number, sender.last));
        }
        sender.last = item.number;
        sender.count += 1;
        if let Some(all) = &mut self.all {
            all.push((item.sender, item.number));
        }
    }
}

#[derive(Default)]
pub struct OfSender {
    pub count: u64,
    pub last: u64,
}

/// A service that keeps what it has handled. Numbers of a sender begin with 1.
#[derive(Clone, Default)]
pub struct Soak {
    pub handled: Arc<Mutex<Handled>>,
}

impl Soak {
    /// Keeps every message.
    pub fn keeping() -> Self {
        let handled = Handled { all: Some(Vec::new()), ..Handled::default() };
        Self { handled: Arc::new(Mutex::new(handled)) }
    }

    async fn handle(&self, ctx: ServerContext, item: Item) -> Result<Item, Status> {
        self.handled.lock().unwrap().take(&item);
        match item.what {
            BUSY => tokio::time::sleep(Duration::from_millis(item.number)).await,
            HANG => gone(&ctx).await,
            RELEASE_AND_HANG => {
                ctx.release();
                gone(&ctx).await;
            }
            _ => {}
        }
        Ok(Item { padding: Bytes::new(), ..item })
    }
}

impl Service for Soak {
    const NAME: &'static str = "soak.Soak";

    fn register(self, methods: &mut Methods) {
        let inner = Arc::new(self);
        let call = |inner: Arc<Self>, ctx, item| async move { inner.handle(ctx, item).await };
        methods.two_way(&CALL, &inner, call);
        methods.two_way(&SAFE, &inner, call);
        methods.one_way(&NOTE, &inner, |inner, ctx, item| async move {
            let _ = inner.handle(ctx, item).await;
        });
    }
}

/// Servers behind faulty links over TCP, and their services, which outlive a restart.
/// Waits until the caller has certainly gone: at its deadline the handler may hear of that before the caller.
async fn gone(ctx: &ServerContext) {
    ctx.cancelled().await;
    tokio::time::sleep(SECOND).await;
}

pub async fn over_tcp(size: u32) -> (Cluster, Vec<Soak>) {
    over_tcp_with(size, Server::builder).await
}

/// Nodes with other options.
pub async fn over_tcp_with(
    size: u32,
    options: impl Fn() -> ServerBuilder + Send + Sync + 'static,
) -> (Cluster, Vec<Soak>) {
    let nodes: Vec<_> = (0..size).map(|_| Soak::default()).collect();
    let services = nodes.clone();
    let server = move |id: NodeId| options().add_service(services[id.get() as usize - 1].clone());
    let cluster = Cluster::over_tcp(size, server);
    (cluster.await, nodes)
}

/// G6: what was offered went somewhere, on every node.
pub fn assert_counters_add_up(configuration: &Configuration) {
    for node in configuration {
        let counts = node.stats().queue;
        let sum = counts.sent + counts.dropped + counts.failed + counts.queued;
        assert_eq!(counts.offered, sum, "{node}: {counts:?}");
    }
}

/// The value below which so many of a hundred values are.
pub fn percentile<T: Copy + PartialOrd>(values: &mut [T], percent: usize) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let index = values.len() * percent / 100;
    values[index.min(values.len() - 1)]
}

pub fn median<T: Copy + PartialOrd>(values: &mut [T]) -> T {
    percentile(values, 50)
}

/// Bytes of memory that this process has; `None` where that cannot be told.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// One line of what was measured.
pub fn report(test: &str, figures: &str) {
    println!("{test}: {figures}");
}
