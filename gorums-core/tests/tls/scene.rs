//! A server, a client that is well, and one that is not.

use std::future::Future;
use std::time::Duration;

use gorums_core::testing::Cluster;
use gorums_core::{
    ClientTls, Configuration, ConfigurationBuilder, Node, NodeError, NodeErrorKind, Server, ServerBuilder,
    ServerTls,
};
use tokio::time::{Instant, sleep};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

use crate::common::log::Log;
use crate::common::{ECHO, OnNode, Test, text};

/// In which a client has to learn that it is refused.
const BOUND: Duration = Duration::from_secs(2);
/// A call of the client that is well takes no longer.
const PROMPT: Duration = Duration::from_millis(100);

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) log: Log,
    healthy: Configuration,
    _capturing: DefaultGuard,
}

impl Scene {
    /// One server in memory, at `node1`.
    pub(crate) async fn new(
        server: impl Fn(ServerBuilder) -> ServerBuilder + Send + Sync + 'static,
        healthy: impl FnOnce(ConfigurationBuilder) -> ConfigurationBuilder,
    ) -> Self {
        let (log, capturing) = Log::capture(Level::WARN);
        let test = Test::new(1);
        let mut cluster =
            Cluster::in_memory(1, move |_| server(Server::builder().add_service(test.clone()))).await;
        let healthy = cluster.configure(healthy).unwrap();
        healthy.wait_connected().await.unwrap();
        Self { cluster, log, healthy, _capturing: capturing }
    }

    pub(crate) async fn with_tls(server: ServerTls, healthy: ClientTls) -> Self {
        Self::new(move |builder| builder.tls(server.clone()), |builder| builder.tls(healthy)).await
    }

    pub(crate) fn configure(
        &mut self,
        options: impl FnOnce(ConfigurationBuilder) -> ConfigurationBuilder,
    ) -> Configuration {
        self.cluster.configure(options).unwrap()
    }

    pub(crate) fn healthy(&self) -> &Node {
        self.healthy.node(1).unwrap()
    }

    /// While something goes on, the client that is well makes calls, all of which succeed at once.
    pub(crate) async fn undisturbed<T>(&self, what: impl Future<Output = T>) -> T {
        let node = self.healthy();
        let calls = async {
            loop {
                let start = Instant::now();
                node.rpc(&ECHO, text("x")).await.unwrap();
                assert!(start.elapsed() < PROMPT, "disturbed for {:?}", start.elapsed());
                sleep(Duration::from_millis(5)).await;
            }
        };
        let connections = node.stats().connections;
        let result = tokio::select! {
            result = what => result,
            () = calls => unreachable!(),
        };
        assert_eq!(node.stats().connections, connections, "the client that is well has lost its connection");
        result
    }

    /// A client with these options fails at once as `Unavailable`, again and again, with `told` in the error and one
    /// line with `logged` in the server's log for each attempt, while others are undisturbed.
    pub(crate) async fn refuses(
        mut self,
        options: impl Fn(ConfigurationBuilder) -> ConfigurationBuilder,
        told: &str,
        logged: &str,
    ) {
        let refused = self.configure(&options);
        let node = refused.node(1).unwrap();
        for _ in 0..10 {
            let error = self.undisturbed(failure(node)).await;
            assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
            assert!(error.to_string().contains(told), "{error}");
            assert!(!error.is_ambiguous(), "{error}");
        }
        refused.abort().await;
        self.undisturbed(sleep(Duration::from_secs(5))).await;
        let all = self.log.lines("");
        let lines = all.iter().filter(|line| line.contains(logged)).count();
        assert!(lines > 0 && lines == all.len(), "{all:#?}");
        // A new client makes one attempt, and there is one more line.
        let once = self.configure(options);
        let node = once.node(1).unwrap();
        let error = self.undisturbed(failure(node)).await;
        let attempts = self.log.lines("refused a connection").len();
        assert!((1..=2).contains(&attempts), "{attempts} lines for {error}");
        drop(once);
        self.cluster.finish().await;
    }
}

/// The error of a call, in bounded time.
pub(crate) async fn failure(node: &Node) -> NodeError {
    let start = Instant::now();
    let error = node.rpc(&ECHO, text("x")).await.unwrap_err();
    assert!(start.elapsed() < BOUND, "{:?} until {error}", start.elapsed());
    error
}
