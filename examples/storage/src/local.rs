//! Servers in this process.

use std::sync::Arc;
use std::time::Duration;

use gorums::{Server, ServerHandle};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::members::Members;
use crate::proto::StorageServer;
use crate::service::Replica;

/// How many servers there are.
const SIZE: usize = 4;

/// Four servers in this process, on free ports, which know each other.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    addresses: Vec<String>,
    handles: Vec<ServerHandle>,
    serving: JoinSet<()>,
}

impl LocalCluster {
    pub(crate) async fn start(timeout: Duration) -> Result<Self, Failure> {
        let mut replicas = Vec::with_capacity(SIZE);
        let mut servers = Vec::with_capacity(SIZE);
        for _ in 0..SIZE {
            let replica = Arc::new(Replica::default());
            let service = StorageServer::from_arc(replica.clone());
            servers.push(Server::builder().add_service(service).bind("127.0.0.1:0").await?);
            replicas.push(replica);
        }
        let addresses: Vec<_> = servers.iter().map(|server| server.local_addr().to_string()).collect();
        for (address, replica) in addresses.iter().zip(&replicas) {
            Members::new(address, addresses.clone()).introduce_to(replica, timeout)?;
        }
        let handles = servers.iter().map(gorums::BoundServer::handle).collect();
        let mut serving = JoinSet::new();
        for server in servers {
            serving.spawn(async move {
                if let Err(error) = server.serve().await {
                    tracing::error!("a server ended: {error}");
                }
            });
        }
        Ok(Self { addresses, handles, serving })
    }

    /// Where the servers are, in the order of their ids.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Stops all servers.
    pub(crate) async fn shutdown(self) {
        for handle in &self.handles {
            handle.shutdown().await;
        }
        self.serving.join_all().await;
    }
}
