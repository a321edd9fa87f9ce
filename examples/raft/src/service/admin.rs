//! The service for administrators.

use std::future::Future;

use gorums::{ServerContext, Status};
use tokio::time::Instant;

use crate::error::Error;
use crate::node::Node;
use crate::proto::{
    AddRequest, Admin, ChangeReply, CompactRequest, LogId, NodeStatus, RemoveRequest, StatusRequest,
    TransferTo, VotersRequest,
};

/// Serves administrators.
#[derive(Debug)]
pub(crate) struct AdminService {
    node: Node,
}

impl AdminService {
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }

    /// Waits for a change, no longer than the caller does.
    async fn change(
        &self,
        ctx: &ServerContext,
        change: impl Future<Output = Result<Option<LogId>, Error>>,
    ) -> Result<ChangeReply, Status> {
        ctx.release();
        let deadline = ctx.deadline().unwrap_or_else(|| Instant::now() + self.node.options().call_timeout);
        let changed = tokio::time::timeout_at(deadline, change).await;
        changed.unwrap_or(Err(Error::OutcomeUnknown)).map(|id| ChangeReply { id }).map_err(Status::from)
    }
}

impl Admin for AdminService {
    async fn get_status(&self, _: &ServerContext, _: StatusRequest) -> Result<NodeStatus, Status> {
        Ok(self.node.status())
    }

    async fn add_learner(&self, ctx: &ServerContext, request: AddRequest) -> Result<ChangeReply, Status> {
        let member = request.member.ok_or_else(|| Status::invalid_argument("the address is missing"))?;
        if !(1..1 << 20).contains(&request.node) {
            return Err(
                Error::Invalid(format!("{} is not an id: they go from 1 to 2^20 - 1", request.node)).into()
            );
        }
        let added = self.node.add_learner(request.node, member.address);
        self.change(ctx, async { added.await.map(Some) }).await
    }

    async fn set_voters(&self, ctx: &ServerContext, request: VotersRequest) -> Result<ChangeReply, Status> {
        let set = self.node.set_voters(request.nodes.into_iter().collect());
        self.change(ctx, async { set.await.map(Some) }).await
    }

    async fn remove_node(&self, ctx: &ServerContext, request: RemoveRequest) -> Result<ChangeReply, Status> {
        self.change(ctx, async { self.node.remove(request.node).await.map(Some) }).await
    }

    async fn transfer(&self, ctx: &ServerContext, request: TransferTo) -> Result<ChangeReply, Status> {
        self.change(ctx, async { self.node.transfer(request.node).await.map(|()| None) }).await
    }

    async fn compact(&self, ctx: &ServerContext, _: CompactRequest) -> Result<ChangeReply, Status> {
        self.change(ctx, async { self.node.compact().await.map(|()| None) }).await
    }
}
