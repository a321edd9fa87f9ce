//! The service: what a server does with each call.

use std::time::Duration;

use gorums::{Configuration, NodeId, QuorumError, ServerContext, Status, Updates};

use crate::proto::{ReadRequest, ReadResponse, Storage, StorageClient, WriteRequest, WriteResponse};
use crate::quorum::{Newest, reason};
use crate::store::Store;

/// One server of the cluster.
#[derive(Debug)]
pub(crate) struct Replica {
    store: Store,
    id: NodeId,
    /// What nested calls are made on: the servers of the cluster, this one included.
    members: Configuration,
}

impl Replica {
    /// The server with this id among the members.
    pub(crate) fn new(id: NodeId, members: Configuration) -> Self {
        Self { store: Store::default(), id, members }
    }

    fn peers(&self) -> Result<&Configuration, Status> {
        let missing = || {
            Status::failed_precondition(
                "this server knows no peers, which nested calls need: start it with --peers",
            )
        };
        if self.members.len() > 1 { Ok(&self.members) } else { Err(missing()) }
    }

    fn read(&self, request: &ReadRequest) -> ReadResponse {
        tracing::info!("node {}: Read '{}'", self.id, request.key.escape_debug());
        self.store.read(&request.key)
    }

    fn write(&self, request: WriteRequest) -> WriteResponse {
        let (key, value) = (request.key.escape_debug(), request.value.escape_debug());
        tracing::info!("node {}: Write '{key}' = '{value}'", self.id);
        self.store.write(request)
    }
}

impl Storage for Replica {
    async fn read_rpc(&self, _: &ServerContext, request: ReadRequest) -> Result<ReadResponse, Status> {
        Ok(self.read(&request))
    }

    async fn write_rpc(&self, _: &ServerContext, request: WriteRequest) -> Result<WriteResponse, Status> {
        Ok(self.write(request))
    }

    async fn write_unicast(&self, _: &ServerContext, request: WriteRequest) {
        self.write(request);
    }

    async fn write_multicast(&self, _: &ServerContext, request: WriteRequest) {
        self.write(request);
    }

    async fn read_qc(&self, _: &ServerContext, request: ReadRequest) -> Result<ReadResponse, Status> {
        Ok(self.read(&request))
    }

    async fn write_qc(&self, _: &ServerContext, request: WriteRequest) -> Result<WriteResponse, Status> {
        Ok(self.write(request))
    }

    async fn read_nested_qc(
        &self,
        ctx: &ServerContext,
        request: ReadRequest,
    ) -> Result<ReadResponse, Status> {
        let peers = self.peers()?;
        // Nothing below depends on the order of requests: the caller's next one need not wait for it.
        ctx.release();
        let mut call = peers.read_qc(request);
        if let Some(time) = time_for_nested_call(ctx) {
            call = call.timeout(time);
        }
        call.quorum(Newest).await.map_err(|error| refusal(&error))
    }

    async fn write_nested_multicast(
        &self,
        ctx: &ServerContext,
        request: WriteRequest,
    ) -> Result<WriteResponse, Status> {
        // As a write, it is to survive a minority of dead servers.
        let peers = self.peers()?.majority();
        ctx.release();
        let mut call = peers.write_multicast(request);
        if let Some(time) = time_for_nested_call(ctx) {
            call = call.timeout(time);
        }
        call.await.map_err(|error| refusal(&error))?;
        Ok(WriteResponse { new: true })
    }

    async fn read_correctable(
        &self,
        _: &ServerContext,
        request: ReadRequest,
        mut updates: Updates<ReadResponse>,
    ) -> Result<(), Status> {
        updates.send(self.read(&request)).await
    }
}

/// Tells the caller which nodes a nested call failed on: by their addresses, which it knows, and not by the
/// ids that they have here.
fn refusal(error: &QuorumError) -> Status {
    let outcome = format!("its nested call succeeded on {} of {} nodes", error.replies(), error.size());
    let nodes = error.nodes().iter().map(|error| format!("\n{}: {}", error.address(), reason(error)));
    Status::new(Status::from(error.clone()).code(), nodes.fold(outcome, |text, line| text + &line))
}

/// Nine tenths of the caller's time: the rest is for telling the caller what went wrong. `None` if the
/// caller does not say how long it waits.
fn time_for_nested_call(ctx: &ServerContext) -> Option<Duration> {
    ctx.remaining().map(|remaining| remaining * 9 / 10)
}
