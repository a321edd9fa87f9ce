//! Servers in this process.

use std::time::Duration;

use gorums::{BoundSystem, Configuration, Server, System};

use crate::failure::Failure;
use crate::interceptors::{self, Interceptor};
use crate::proto::StorageServer;
use crate::service::Replica;

/// How many servers there are.
const SIZE: u32 = 4;

/// Four servers in this process, on free ports, which know each other.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    addresses: Vec<String>,
    systems: Vec<System>,
}

impl LocalCluster {
    pub(crate) async fn start(timeout: Duration, interceptors: &[Interceptor]) -> Result<Self, Failure> {
        let members = System::local_cluster_with(SIZE, |builder| {
            let configuration = Configuration::builder().timeout(timeout);
            builder.server(interceptors::add(Server::builder(), interceptors)).configuration(configuration)
        });
        let systems: Vec<_> = members.await?.into_iter().map(serve).collect();
        let addresses = systems.iter().map(|system| system.address().to_owned()).collect();
        Ok(Self { addresses, systems })
    }

    /// Where the servers are, in the order of their ids.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Stops all servers.
    pub(crate) async fn shutdown(self) {
        for system in self.systems {
            if let Err(error) = system.stop().await {
                tracing::error!("a server did not stop in good order: {error}");
            }
        }
    }
}

/// Serves the store as this member.
pub(crate) fn serve(bound: BoundSystem) -> System {
    let replica = Replica::new(bound.id(), bound.configuration().clone());
    bound.add_service(StorageServer::new(replica)).serve()
}
