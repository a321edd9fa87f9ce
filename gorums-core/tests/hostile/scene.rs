//! A server with healthy clients that call it, and are called by it, all the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gorums_core::{Configuration, Node, NodeError, Server, ServerBuilder, ServerHandle, ServerStats};
use tokio::sync::MutexGuard;
use tokio::task::JoinHandle;

use crate::common::{ECHO, OnNode, Test, number, soon, within};
use crate::tools::{MS, SECOND, alone, is_soak, median, report, resident_bytes};

/// How much more memory the process may have after the larger attack than after the smaller one. What the allocator
/// keeps varies by as much; what is kept of each of some thousand messages would be more.
const NOISE: u64 = 8 << 20;

/// Of so many calls the latency is kept.
const MAX_MEASURED: usize = 100_000;

/// A server on a TCP port, with two healthy clients: one that calls it, and one that it calls back.
pub(crate) struct Scene {
    pub(crate) address: SocketAddr,
    pub(crate) server: ServerHandle,
    /// What the server offers.
    pub(crate) service: Test,
    serving: JoinHandle<()>,
    clients: Vec<Configuration>,
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Calls>>,
    before: ServerStats,
    /// Measured alone, and not beside the healthy clients of another one.
    _alone: MutexGuard<'static, ()>,
}

/// The calls of a healthy client.
#[derive(Default)]
struct Calls {
    latencies: Vec<(Instant, Duration)>,
    errors: Vec<NodeError>,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::with(|server| server).await
    }

    /// A server with other options.
    pub(crate) async fn with(options: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let guard = alone().await;
        let service = Test::new(1);
        let server = options(Server::builder().add_service(service.clone())).bind("127.0.0.1:0").await;
        let server = server.unwrap();
        let (address, handle) = (server.local_addr(), server.handle());
        let serving = tokio::spawn(async { server.serve().await.unwrap() });
        let dial = || Configuration::builder().node(1, address.to_string());
        let called_back = Test::new(2);
        let caller = dial().connect_lazy().unwrap();
        let offering = dial()
            .serve_callbacks(Server::builder().add_service(called_back.clone()))
            .connect_lazy()
            .unwrap();
        for client in [&caller, &offering] {
            within("a healthy client", client.wait_connected()).await.unwrap();
        }
        let known =
            within("the client", handle.wait_for_clients(|clients| clients.len() == 1)).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let targets = [caller.nodes()[0].clone(), known.nodes()[0].clone()];
        let services = [service.clone(), called_back];
        let call = |(node, service)| tokio::spawn(call_until(stop.clone(), node, service));
        let callers = targets.into_iter().zip(services).map(call).collect();
        let before = {
            let mut before = ServerStats::default();
            (before.connections, before.streams, before.named_clients) = (2, 2, 2);
            before
        };
        let clients = vec![caller, offering];
        Self { address, server: handle, service, serving, clients, stop, callers, before, _alone: guard }
    }

    /// Makes an attack twice. It asserts by itself how it is met, and has let go of everything when it returns.
    pub(crate) async fn bears(self, attack: &str, sizes: [usize; 2], run: impl AsyncFn(&Self, usize)) {
        // Something to compare with.
        let calm = Instant::now();
        tokio::time::sleep(if is_soak() { SECOND } else { 50 * MS }).await;
        let start = Instant::now();
        let mut resident = Vec::new();
        for size in sizes {
            run(&self, size).await;
            self.recovers(attack).await;
            resident.extend(resident_bytes());
        }
        let end = Instant::now();
        let mut grown = String::new();
        if let [first, second] = resident[..] {
            let more = second.saturating_sub(first);
            grown = format!("; {} KiB more memory after {} than after {}", more >> 10, sizes[1], sizes[0]);
            assert!(more < NOISE, "{attack}{grown}");
        }
        let (before, during) = self.end(calm, start, end).await;
        report(attack, &format!("median of a healthy call {before:.0?} before, {during:.0?} during{grown}"));
    }

    /// Ends everything after an attack that was made beforehand, and asserts that the healthy clients were not
    /// disturbed.
    pub(crate) async fn has_borne(self, attack: &str) {
        self.recovers(attack).await;
        let now = Instant::now();
        self.end(now, now, now).await;
    }

    /// Waits until the server has of the healthy clients only, and asserts that it does.
    async fn recovers(&self, attack: &str) {
        let start = Instant::now();
        let open = || {
            let mut open = self.server.stats();
            // A healthy one may be in flight.
            open.calls = open.calls.saturating_sub(1);
            open
        };
        while open() != self.before {
            assert!(start.elapsed() < 15 * SECOND, "{attack} has left {:?}", self.server.stats());
            tokio::time::sleep(MS).await;
        }
        assert_eq!(self.server.clients().len(), 1, "{attack} has left clients: {}", self.server.clients());
        assert!(self.clients[0].pending() <= 1, "calls in flight at a client that has one at most");
    }

    /// Ends everything, and asserts that the healthy clients were not disturbed. The medians of their calls in the
    /// two times.
    async fn end(self, calm: Instant, start: Instant, end: Instant) -> (Duration, Duration) {
        self.stop.store(true, Relaxed);
        let (mut before, mut during) = (vec![], vec![]);
        for caller in self.callers {
            let calls = within("a healthy caller", caller).await.unwrap();
            assert!(calls.errors.is_empty(), "healthy calls failed: {:?}", calls.errors);
            for (at, latency) in calls.latencies {
                let when = if at < start { &mut before } else { &mut during };
                if (calm..end).contains(&at) {
                    when.push(latency);
                }
            }
        }
        for client in &self.clients {
            assert_eq!(client.nodes()[0].stats().connections, 1, "a healthy client had to connect again");
            within("close", client.close()).await;
        }
        within("shutdown", self.server.shutdown()).await;
        within("the server", self.serving).await.unwrap();
        let median =
            |latencies: &mut Vec<_>| if latencies.is_empty() { Duration::ZERO } else { median(latencies) };
        (median(&mut before), median(&mut during))
    }
}

/// Calls until it is to stop. What the service remembers of these calls would look like a leak, and is forgotten.
async fn call_until(stop: Arc<AtomicBool>, node: Node, service: Test) -> Calls {
    let mut calls = Calls { latencies: Vec::with_capacity(MAX_MEASURED), errors: Vec::new() };
    for call in 1.. {
        if stop.load(Relaxed) {
            break;
        }
        let start = Instant::now();
        match node.rpc(&ECHO, number(call)).await {
            Ok(_) if calls.latencies.len() < MAX_MEASURED => calls.latencies.push((start, start.elapsed())),
            Ok(_) => {}
            Err(error) => calls.errors.push(error),
        }
        if call % 100 == 0 {
            service.seen.numbers.lock().unwrap().clear();
            service.seen.texts.lock().unwrap().retain(|text| !text.is_empty());
        }
    }
    calls
}

/// Looks every few milliseconds whether the server has so many connections.
pub(crate) async fn connections(server: &ServerHandle, count: usize) {
    soon("connections", 15 * SECOND, || server.stats().connections == count).await;
}
