//! Many clients that offer services, on one server: what is left of them when they go, in whatever way.
//!
//! The long forms, over TCP and with figures:
//!
//! `GORUMS_SOAK=1 cargo test --release -p gorums-core --test many_clients -- --test-threads=1 --nocapture`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "soak/tools.rs"]
#[allow(dead_code)]
mod tools;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::{NOTE, OnConfiguration, OnNode, SAFE, Test, text, within};
use futures_util::stream::select;
use gorums_core::testing::{Faults, Network, Proxy, Traffic};
use gorums_core::{
    Configuration, Methods, NodeErrorKind, Replies, Server, ServerHandle, ServerStats, Service,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tools::{MS, SECOND, is_soak, length, report, resident_bytes};

/// Pings every 10 s, and 3 s for the answer: the defaults.
const KEEPALIVE: Duration = Duration::from_secs(13);
/// For the timers of Tokio, which count in milliseconds, and for the tasks that then end.
const MARGIN: Duration = Duration::from_millis(100);

/// What a client offers: it counts notes, and never answers a call.
#[derive(Clone, Default)]
struct Callee {
    notes: Arc<AtomicU64>,
}

impl Service for Callee {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        let inner = Arc::new(self);
        methods.one_way(&NOTE, &inner, |inner, _, _| async move {
            inner.notes.fetch_add(1, Relaxed);
        });
        methods.two_way(&common::ECHO, &inner, |_, ctx, request| async move {
            ctx.release();
            ctx.cancelled().await;
            Ok(request)
        });
    }
}

/// A server that is reached over two links: those who come over the second one can be made to vanish.
struct World {
    server: ServerHandle,
    serving: JoinHandle<()>,
    links: Links,
    callee: Callee,
}

enum Links {
    Memory { network: Network, faults: Faults },
    Tcp([Proxy; 2]),
}

const ADDRESSES: [&str; 2] = ["node:1", "node:2"];

impl World {
    fn in_memory() -> Self {
        let network = Network::new();
        let [near, far] = ADDRESSES.map(|address| network.listen(address));
        let faults = far.faults();
        let server = Server::builder().add_service(Test::new(1)).on(select(near, far));
        let handle = server.handle();
        let serving = tokio::spawn(async { server.serve().await.unwrap() });
        Self { server: handle, serving, links: Links::Memory { network, faults }, callee: Callee::default() }
    }

    async fn over_tcp() -> Self {
        let server = Server::builder().add_service(Test::new(1)).bind("127.0.0.1:0").await.unwrap();
        let proxy = async || Proxy::start(server.local_addr()).await.unwrap();
        let (links, handle) = (Links::Tcp([proxy().await, proxy().await]), server.handle());
        let serving = tokio::spawn(async { server.serve().await.unwrap() });
        Self { server: handle, serving, links, callee: Callee::default() }
    }

    /// The faults of the second link.
    fn faults(&self) -> &Faults {
        match &self.links {
            Links::Memory { faults, .. } => faults,
            Links::Tcp([_, far]) => far,
        }
    }

    /// A client with callbacks, over one of the links.
    fn client(&self, link: usize) -> Configuration {
        let builder = Configuration::builder()
            .serve_callbacks(Server::builder().add_service(self.callee.clone()))
            .drain_timeout(10 * MS);
        match &self.links {
            Links::Memory { network, .. } => {
                builder.connector(network.clone()).nodes([ADDRESSES[link]]).connect_lazy()
            }
            Links::Tcp(proxies) => builder.nodes([proxies[link].address().to_string()]).connect_lazy(),
        }
        .unwrap()
    }

    /// Connects this many clients, half of them over each link.
    async fn clients(&self, count: usize) -> Vec<Configuration> {
        let clients: Vec<_> = (0..count).map(|client| self.client(client * 2 / count)).collect();
        for client in &clients {
            within("a connection", client.wait_connected()).await.unwrap();
        }
        let all = self.server.wait_for_clients(|clients| clients.len() == count);
        within("all clients are known", all).await.unwrap();
        clients
    }

    async fn end(self) {
        self.server.shutdown().await;
        self.serving.await.unwrap();
    }
}

/// What a server with so many clients has open.
fn with_clients(clients: usize, calls: usize) -> ServerStats {
    let mut stats = ServerStats::default();
    (stats.connections, stats.streams, stats.named_clients, stats.calls) = (clients, clients, clients, calls);
    stats
}

/// Every client gets one multicast; half of them vanish without closing, with a call to each in flight; what the
/// server has of them is gone within the keepalive time, and what it has of the others is not touched.
async fn half_vanish(world: World, count: usize) -> Duration {
    let _alone = tools::alone().await;
    let mut clients = world.clients(count).await;
    let server = world.server.clone();
    let everybody = server.clients();
    assert_eq!(server.stats(), with_clients(count, 0));
    everybody.multicast(&NOTE, text("to all")).await.unwrap();
    let notes = world.callee.notes.clone();
    common::soon("the multicast", 10 * SECOND, || notes.load(Relaxed) == count as u64).await;
    // One call to all, and one to each: none is answered.
    let replies = everybody.quorum_call(&common::ECHO, text("hang")).timeout(1_000 * SECOND).send();
    let calls: Vec<_> = everybody.iter().map(call).collect();
    assert_eq!((server.stats().calls, everybody.pending()), (1 + count, 1 + count));
    world.faults().set_both(Traffic::Drop);
    let start = Instant::now();
    // The clients are gone, as if their machines had lost power: nothing of their ends gets through.
    let vanished = clients.drain(count / 2..).map(|client| async move { client.abort().await });
    futures_util::future::join_all(vanished).await;
    let left = with_clients(count - count / 2, 1 + count - count / 2);
    let gone = || server.stats() == left && server.clients().len() == clients.len();
    while !gone() {
        assert!(start.elapsed() < KEEPALIVE + length(MARGIN, SECOND), "left: {:?}", server.stats());
        tokio::time::sleep(10 * MS).await;
    }
    let took = start.elapsed();
    assert!(took > 3 * SECOND, "vanished ends were told apart after {took:?}, before any ping was due");
    ends_lost(replies, count / 2).await;
    for call in calls.into_iter().skip(count / 2) {
        let error = within("a call to a client that has vanished", call).await.unwrap().unwrap_err();
        assert!(matches!(error, NodeErrorKind::ConnectionLost), "{error:?}");
    }
    assert_eq!(server.stats().calls, count - count / 2, "the calls to the others go on");
    // The others have noticed nothing.
    let rest = server.clients();
    assert!(rest.node_ids().eq(everybody.node_ids().take(count - count / 2)), "others than the first half");
    rest.multicast(&NOTE, text("to the rest")).await.unwrap();
    let all = (count + count - count / 2) as u64;
    common::soon("the second multicast", 10 * SECOND, || notes.load(Relaxed) == all).await;
    for client in &clients {
        assert_eq!(client.nodes()[0].stats().connections, 1, "connected again");
    }
    for client in clients {
        client.abort().await;
    }
    common::soon("the end", 10 * SECOND, || server.stats() == ServerStats::default()).await;
    assert!(server.clients().is_empty());
    drop((everybody, rest));
    world.end().await;
    took
}

type Call = JoinHandle<Result<(), NodeErrorKind>>;

/// A call that is not answered. The clients have been numbered in the order in which they have connected.
fn call(client: &gorums_core::Node) -> Call {
    let call = client.rpc(&common::ECHO, text("hang")).timeout(1_000 * SECOND).send();
    tokio::spawn(async { call.await.map(|_| ()).map_err(|error| error.kind().clone()) })
}

/// A quorum call has heard of the loss of so many, and of no others.
async fn ends_lost(mut replies: Replies<common::Text>, lost: usize) {
    for _ in 0..lost {
        let reply = within("a reply", replies.next()).await.unwrap();
        let error = reply.result.unwrap_err();
        assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
    }
    assert!(futures_util::FutureExt::now_or_never(replies.next()).is_none());
}

#[tokio::test(start_paused = true)]
async fn half_of_a_thousand_clients_vanish_in_memory() {
    half_vanish(World::in_memory(), 1_000).await;
}

/// The clock is the real one, and so this takes as long as it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_thousand_clients_vanish_over_tcp() {
    if !is_soak() {
        return;
    }
    let took = half_vanish(World::over_tcp().await, 1_000).await;
    report("1,000 clients over TCP, of which 500 vanish", &format!("gone from all tables after {took:.1?}"));
}

/// How a client goes.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Close,
    Abort,
    Drop,
    Reset,
}

/// Clients come, are called, and go, again and again: nothing of them is left.
async fn come_and_go(world: World, rounds: usize, at_once: usize) {
    let _alone = tools::alone().await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let server = world.server.clone();
    let mut resident = Vec::new();
    for round in 0..rounds {
        let leave = [Leave::Close, Leave::Abort, Leave::Drop, Leave::Reset][round % 4];
        let clients: Vec<_> = (0..at_once).map(|_| world.client(1)).collect();
        for client in &clients {
            let node = &client.nodes()[0];
            within("a call", node.rpc(&SAFE, text("x"))).await.unwrap_or_else(|e| panic!("{leave:?}: {e}"));
        }
        let known = within("known", server.wait_for_clients(|known| known.len() == at_once)).await.unwrap();
        known.multicast(&NOTE, text("x")).await.unwrap();
        let unanswered = known.quorum_call(&common::ECHO, text("hang")).send();
        if matches!(leave, Leave::Reset) {
            world.faults().reset();
        }
        for client in clients {
            match leave {
                Leave::Close => client.close().await,
                Leave::Abort | Leave::Reset => client.abort().await,
                Leave::Drop => drop(client),
            }
        }
        drop((known, unanswered));
        let what = format!("after {leave:?} in round {round}");
        common::soon(&what, 10 * SECOND, || server.stats() == ServerStats::default()).await;
        assert!(server.clients().is_empty(), "{what}");
        if round == rounds / 2 || round == rounds - 1 {
            resident.extend(resident_bytes());
        }
    }
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    common::soon("tasks", 10 * SECOND, || alive() <= tasks).await;
    if let [half, full] = resident[..] {
        let grown = full.saturating_sub(half);
        let figures =
            format!("{} clients: grown by {} KiB in the second half", rounds * at_once, grown >> 10);
        report("clients that come and go", &figures);
        // 1 KiB kept of each of 5,000 clients would be 5 MiB.
        assert!(grown < 4 << 20, "{figures}");
    }
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_clients_come_and_go_in_memory() {
    come_and_go(World::in_memory(), 400, 25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_come_and_go_over_tcp() {
    come_and_go(World::over_tcp().await, length(8, 400), 25).await;
}
