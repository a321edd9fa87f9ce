//! What the servers use, which they tell through a service of their own.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use gorums::{Configuration, ServerContext, Status};

use crate::contender::Counts;
use crate::usage::Usage;

/// What one server has used since its process started.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ServerUsage {
    /// Tells processes apart: servers that share one use the same CPU and memory.
    #[prost(uint64, tag = "1")]
    pub(crate) process: u64,
    /// CPU time in user mode, in microseconds.
    #[prost(uint64, tag = "2")]
    pub(crate) user_us: u64,
    /// CPU time in the kernel, in microseconds.
    #[prost(uint64, tag = "3")]
    pub(crate) system_us: u64,
    /// Resident memory, in KiB.
    #[prost(uint64, tag = "4")]
    pub(crate) resident_kib: u64,
    /// Requests and one-way messages.
    #[prost(uint64, tag = "5")]
    pub(crate) requests: u64,
    /// Heap allocations; 0 if they are not counted.
    #[prost(uint64, tag = "6")]
    pub(crate) allocations: u64,
}

/// Tells what a server uses.
#[gorums::service(package = "bench")]
pub(crate) trait Statistics {
    #[quorumcall(idempotent)]
    async fn usage(&self, ctx: &ServerContext, request: ()) -> Result<ServerUsage, Status>;
}

/// The server's end.
pub(crate) struct Resources(pub(crate) Arc<Counts>);

impl Statistics for Resources {
    async fn usage(&self, _: &ServerContext, (): ()) -> Result<ServerUsage, Status> {
        let usage = Usage::now();
        Ok(ServerUsage {
            process: process(),
            user_us: usage.user_us,
            system_us: usage.system_us,
            resident_kib: Usage::resident_kib(),
            requests: self.0.requests(),
            allocations: usage.allocations,
        })
    }
}

/// A number that no other process on any machine is likely to have.
fn process() -> u64 {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    *PROCESS.get_or_init(|| {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        nanos.rotate_left(20) ^ u64::from(std::process::id())
    })
}

/// Asks servers what they use, over connections that carry nothing else.
pub(crate) struct UsageReader(Configuration);

impl UsageReader {
    pub(crate) async fn connect(addresses: &[String]) -> Result<Self> {
        let configuration = Configuration::builder().nodes(addresses).connect().await;
        Ok(Self(configuration.context("the servers tell no statistics")?))
    }

    /// What each server has used so far, in no order.
    pub(crate) async fn fetch(&self) -> Result<Vec<ServerUsage>> {
        let mut replies = self.0.usage(()).send();
        let mut usages = Vec::new();
        while let Some(reply) = replies.next().await {
            usages.push(reply.result?);
        }
        Ok(usages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gorums::Server;

    #[tokio::test]
    async fn a_server_tells_what_it_has_counted() {
        let counts = Arc::new(Counts::default());
        let server = Server::builder().add_service(StatisticsServer::new(Resources(counts.clone())));
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().to_string();
        tokio::spawn(server.serve());
        let client = UsageReader::connect(&[address]).await.unwrap();
        counts.request();
        let usages = client.fetch().await.unwrap();
        assert_eq!(usages.len(), 1);
        assert_eq!((usages[0].requests, usages[0].process), (1, process()));
        assert!(usages[0].resident_kib > 0);
    }
}
