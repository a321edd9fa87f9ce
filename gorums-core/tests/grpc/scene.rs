//! A node on a network in memory, with gRPC services, and its clients of both kinds.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gorums_core::testing::{Faults, Network};
use gorums_core::{Configuration, Connector, Server, ServerBuilder, ServerError, ServerHandle, ServerStats};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::common::{ECHO, OnConfiguration, Test, text};
use crate::echo::{Echo, Seen};
use crate::raw::Raw;

const ADDRESS: &str = "node1:1";
/// A call over the node stream takes no longer, whatever the gRPC services do.
const PROMPT: Duration = Duration::from_millis(100);
/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    network: Network,
    pub(crate) faults: Faults,
    pub(crate) server: ServerHandle,
    serving: JoinHandle<Result<(), ServerError>>,
    /// What the service `test.Echo` has seen.
    pub(crate) seen: Arc<Seen>,
    /// Another client, which makes calls over the node stream.
    configuration: Configuration,
    tasks_before: usize,
}

impl Scene {
    /// A node with a service of gorums, `test.Test`, and one of gRPC, `test.Echo`.
    pub(crate) fn new(options: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let tasks_before = alive_tasks();
        let (echo, seen) = Echo::new();
        let network = Network::new();
        let listener = network.listen(ADDRESS);
        let faults = listener.faults();
        let builder = options(Server::builder().add_service(Test::new(1))).add_grpc_service(echo);
        let bound = builder.on(listener);
        let server = bound.handle();
        let serving = tokio::spawn(bound.serve());
        let configuration = Configuration::builder().nodes([ADDRESS]).connector(network.clone());
        let configuration = configuration.connect_lazy().unwrap();
        Self { network, faults, server, serving, seen, configuration, tasks_before }
    }

    /// A client of gRPC, with a connection of its own.
    pub(crate) fn channel(&self) -> Channel {
        self.channel_with(|endpoint| endpoint)
    }

    pub(crate) fn channel_with(&self, options: impl FnOnce(Endpoint) -> Endpoint) -> Channel {
        let network = self.network.clone();
        let connector = tower::service_fn(move |_| {
            let connecting = network.connect(ADDRESS.into());
            async { connecting.await.map(TokioIo::new) }
        });
        options(Endpoint::from_static("http://node1:1")).connect_with_connector_lazy(connector)
    }

    /// A client that looks at what comes only when it is told to.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::new(self.network.connect(ADDRESS.into()).await.unwrap()).await
    }

    /// While something goes on, calls over the node stream succeed at once.
    pub(crate) async fn undisturbed<T>(&self, what: impl Future<Output = T>) -> T {
        let calls = async {
            loop {
                self.call().await;
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            result = timeout(LIMIT, what) => result.expect("hangs"),
            () = calls => unreachable!(),
        }
    }

    /// A quorum call, which takes no time.
    pub(crate) async fn call(&self) {
        let start = Instant::now();
        self.configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
        assert!(start.elapsed() < PROMPT, "disturbed for {:?}", start.elapsed());
    }

    /// Waits until a condition holds, which takes little time.
    pub(crate) async fn eventually(&self, what: &str, condition: impl Fn(ServerStats, &Seen) -> bool) {
        let start = Instant::now();
        while !condition(self.server.stats(), &self.seen) {
            assert!(
                start.elapsed() < Duration::from_secs(1),
                "{what}: {:?} {:?}",
                self.server.stats(),
                self.seen
            );
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Shuts down, and finds what is left behind. How long it took.
    pub(crate) async fn finish(self) -> Duration {
        self.finish_with(async {}).await
    }

    /// Shuts down while something else happens, which also has to come to its end.
    pub(crate) async fn finish_with(self, what: impl Future<Output = ()>) -> Duration {
        self.configuration.close().await;
        let start = Instant::now();
        let shutdown = async {
            self.server.shutdown().await;
            start.elapsed()
        };
        let (took, ()) = tokio::join!(shutdown, what);
        self.serving.await.unwrap().unwrap();
        assert_eq!(self.server.stats(), ServerStats::default());
        assert_eq!(self.seen.running(), 0, "handlers are left");
        drop((self.configuration, self.network));
        let start = Instant::now();
        while alive_tasks() > self.tasks_before {
            let left = alive_tasks() - self.tasks_before;
            assert!(start.elapsed() < Duration::from_secs(1), "{left} tasks are left");
            sleep(Duration::from_millis(1)).await;
        }
        took
    }
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
