//! The service of a node.

use gorums::{ServerContext, Status};

use crate::allocator::{Grant, Phase};
use crate::error::Error;
use crate::node::TsoNode;
use crate::proto::{StatusRequest, Timestamps, TimestampsRequest, Tso, TsoStatus};

/// Timestamps in one call, at most.
pub(crate) const MAX_BATCH: u32 = 1 << 16;

/// Serves clients. Granting waits for nothing: it is done when the handler is first polled.
#[derive(Debug)]
pub(crate) struct TsoService(pub(crate) TsoNode);

impl Tso for TsoService {
    async fn get_timestamps(
        &self,
        _: &ServerContext,
        request: TimestampsRequest,
    ) -> Result<Timestamps, Status> {
        if !(1..=MAX_BATCH).contains(&request.count) {
            let error = format!("a batch has 1 to {MAX_BATCH} timestamps, and not {}", request.count);
            return Err(Error::Invalid(error).into());
        }
        let Grant { first, count, epoch } = self.0.grant(request.count)?;
        Ok(Timestamps { first: first.raw(), count, epoch })
    }

    async fn get_status(&self, _: &ServerContext, _: StatusRequest) -> Result<TsoStatus, Status> {
        let mut status = TsoStatus { node: self.0.raft().id(), ..TsoStatus::default() };
        match self.0.phase().borrow().clone() {
            Phase::Idle { leader } => (status.phase, status.leader) = ("idle".into(), leader),
            Phase::Serving { epoch } => (status.phase, status.epoch) = ("serving".into(), epoch),
            Phase::Poisoned { reason } => (status.phase, status.reason) = ("poisoned".into(), reason),
        }
        if let Some((next, end)) = self.0.bounds() {
            (status.next, status.end) = (next.raw(), end.raw());
        }
        Ok(status)
    }

    async fn ping(&self, _: &ServerContext, request: TimestampsRequest) -> Result<Timestamps, Status> {
        Ok(Timestamps { count: request.count, ..Timestamps::default() })
    }
}
