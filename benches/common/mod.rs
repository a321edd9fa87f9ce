//! What the benches share: a service, and nodes that offer it.
#![allow(dead_code)]

use bytes::Bytes;
use gorums::testing::Network;
use gorums::{Configuration, ConfigurationBuilder, Server, ServerBuilder, ServerContext, Status, Updates};
use tokio::runtime::{Builder, Runtime};

/// A payload.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    /// Any bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
}

impl Payload {
    /// So many bytes.
    pub(crate) fn of(len: usize) -> Self {
        Self { data: vec![7; len].into() }
    }
}

/// Gives back what it gets.
#[gorums::service(package = "bench")]
pub(crate) trait Echo {
    /// Gives the request of one node back.
    async fn repeat(&self, ctx: &ServerContext, request: Payload) -> Result<Payload, Status>;

    /// Gives the request back.
    #[quorumcall]
    async fn echo(&self, ctx: &ServerContext, request: Payload) -> Result<Payload, Status>;

    /// Gives the request back ten times.
    #[quorumcall(stream)]
    async fn echoes(
        &self,
        ctx: &ServerContext,
        request: Payload,
        out: Updates<Payload>,
    ) -> Result<(), Status>;

    /// Takes the request.
    #[multicast]
    async fn note(&self, ctx: &ServerContext, request: Payload);
}

#[derive(Clone)]
struct Echoes;

impl Echo for Echoes {
    async fn repeat(&self, _: &ServerContext, request: Payload) -> Result<Payload, Status> {
        Ok(request)
    }

    async fn echo(&self, _: &ServerContext, request: Payload) -> Result<Payload, Status> {
        Ok(request)
    }

    async fn echoes(
        &self,
        _: &ServerContext,
        request: Payload,
        mut out: Updates<Payload>,
    ) -> Result<(), Status> {
        for _ in 0..10 {
            out.send(request.clone()).await?;
        }
        Ok(())
    }

    async fn note(&self, _: &ServerContext, _: Payload) {}
}

/// A server that offers the service.
pub(crate) fn server() -> ServerBuilder {
    Server::builder().add_service(EchoServer::new(Echoes))
}

/// A runtime with as many workers as there are cores.
pub(crate) fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

/// A runtime that does everything in the thread that waits for it.
pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The addresses of so many servers, in this process and over loopback TCP.
pub(crate) async fn serve(size: usize) -> Vec<String> {
    let mut addresses = Vec::new();
    for _ in 0..size {
        let server = server().bind("127.0.0.1:0").await.expect("a free port");
        addresses.push(server.local_addr().to_string());
        tokio::spawn(server.serve());
    }
    addresses
}

/// A configuration of so many nodes, over loopback TCP.
pub(crate) async fn remote(size: usize) -> Configuration {
    remote_with(size, |builder| builder).await
}

/// A configuration of so many nodes, over loopback TCP, with options.
pub(crate) async fn remote_with(
    size: usize,
    options: impl FnOnce(ConfigurationBuilder) -> ConfigurationBuilder,
) -> Configuration {
    let builder = Configuration::builder().nodes(serve(size).await);
    options(builder).connect().await.expect("live servers")
}

/// A configuration of so many nodes on a network in memory.
pub(crate) async fn in_memory(size: usize) -> Configuration {
    let network = Network::new();
    let addresses: Vec<_> = (1..=size).map(|number| format!("node{number}:1")).collect();
    for address in &addresses {
        tokio::spawn(server().serve_with_incoming(network.listen(address)));
    }
    Configuration::builder().connector(network).nodes(addresses).connect().await.expect("live servers")
}

/// A configuration of this process alone.
pub(crate) fn local() -> Configuration {
    Configuration::builder().local_node(1, server()).connect_lazy().expect("one local node")
}
