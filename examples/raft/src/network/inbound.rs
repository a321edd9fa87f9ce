//! What a node does with the messages of its peers.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;

use gorums::{ServerContext, Status};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::RaftError;

use crate::convert::{self, Malformed};
use crate::proto::{
    AppendReply, AppendRequest, Peer, SnapshotChunk, SnapshotReply, TransferReply, TransferRequest,
    VoteReply, VoteRequest,
};
use crate::storage::{SnapshotData, Stage};
use crate::types::{Raft, Snapshot, Types};

/// Serves the peers.
#[derive(Debug)]
pub(crate) struct PeerService {
    raft: Raft,
    stage: Stage,
    /// Whether peers have to show by their certificates that they are nodes.
    certified: bool,
}

impl PeerService {
    pub(crate) fn new(raft: Raft, stage: Stage, certified: bool) -> Self {
        Self { raft, stage, certified }
    }

    /// With TLS, whoever has a certificate of the CA may be a client, but only a node may be a peer.
    fn check(&self, ctx: &ServerContext) -> Result<(), Status> {
        let is_node = || ctx.peer_certificates().is_some_and(|shown| !shown.node_ids().is_empty());
        if self.certified && !is_node() {
            return Err(Status::permission_denied("only nodes may call this: the certificate names none"));
        }
        Ok(())
    }
}

/// Starts something in the turn of a request, so that what the peer sent in order begins in order, and lets the next
/// request begin before it has ended.
pub(crate) async fn in_turn<F: Future>(ctx: &ServerContext, work: F) -> F::Output {
    let mut work = pin!(work);
    let mut started = false;
    poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        if !started && polled.is_pending() {
            started = true;
            ctx.release();
        }
        polled
    })
    .await
}

fn malformed(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: &RaftError<Types>) -> Status {
    Status::unavailable(error.to_string())
}

fn out_of_turn() -> Status {
    Status::aborted("not the chunk that comes next: begin again")
}

fn disk(error: &io::Error) -> Status {
    Status::internal(error.to_string())
}

impl Peer for PeerService {
    async fn append(&self, ctx: &ServerContext, request: AppendRequest) -> Result<AppendReply, Status> {
        self.check(ctx)?;
        let request = request.try_into().map_err(malformed)?;
        let response = in_turn(ctx, self.raft.append_entries(request)).await;
        response.map(Into::into).map_err(|error| stopped(&error))
    }

    async fn request_vote(&self, ctx: &ServerContext, request: VoteRequest) -> Result<VoteReply, Status> {
        self.check(ctx)?;
        ctx.release();
        let trial = request.trial;
        let request = request.try_into().map_err(malformed)?;
        let response = if trial { self.raft.pre_vote(request).await } else { self.raft.vote(request).await };
        response.map(Into::into).map_err(|error| stopped(&error))
    }

    async fn install_snapshot(
        &self,
        ctx: &ServerContext,
        chunk: SnapshotChunk,
    ) -> Result<SnapshotReply, Status> {
        self.check(ctx)?;
        ctx.release();
        let SnapshotChunk { leader, transfer, sequence, records, meta } = chunk;
        let leader = convert::vote(leader).map_err(malformed)?;
        let own = self.raft.metrics().borrow_watched().vote;
        if own > leader {
            return Ok(SnapshotReply { vote: Some((&own).into()) });
        }
        if !self.stage.put(transfer, sequence, records).await.map_err(|error| disk(&error))? {
            return Err(out_of_turn());
        }
        let Some(meta) = meta else { return Ok(SnapshotReply { vote: Some((&own).into()) }) };
        let meta = meta.try_into().map_err(malformed)?;
        let _kept = self.stage.keep(transfer).ok_or_else(out_of_turn)?;
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Staged(transfer) };
        let response = self.raft.install_full_snapshot(leader, snapshot).await;
        let response = response.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(SnapshotReply { vote: Some((&response.vote).into()) })
    }

    async fn transfer_leader(
        &self,
        ctx: &ServerContext,
        request: TransferRequest,
    ) -> Result<TransferReply, Status> {
        self.check(ctx)?;
        ctx.release();
        let request = request.try_into().map_err(malformed)?;
        let response = self.raft.handle_transfer_leader(request).await;
        let response = response.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(TransferReply { refusal: response.err().map(|error| error.to_string()).unwrap_or_default() })
    }
}
