//! The calls of the engine to one peer, over one lane.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, FuturesOrdered};
use futures_util::{Stream, StreamExt};
use gorums::{ErrorClass, Node, NodeError, NodeErrorKind, RpcFuture};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::convert::{self, Malformed, vote_request};
use crate::proto::{self, AppendRequest, PeerNodeClient, SnapshotChunk, TransferRequest};
use crate::storage::{Position, SnapshotData};
use crate::types::{Id, LogId, Snapshot, Types, Vote};

/// Appends that are on their way to one peer at once.
const APPENDS_IN_FLIGHT: usize = 8;

/// How long calls may take with the defect of serial sends.
const WITHOUT_LIMITS: Duration = Duration::from_secs(5);

type RpcError = RPCError<Types>;

/// Calls one peer over one lane.
#[derive(Debug)]
pub(crate) struct PeerClient {
    pub(crate) target: Id,
    /// Over the lane of the client; `None` if its address is not one.
    pub(crate) node: Option<Node>,
    /// Over the lane for votes.
    pub(crate) control: Option<Node>,
    pub(crate) append_timeout: Duration,
    pub(crate) snapshot_chunk: usize,
    pub(crate) turn: Option<Arc<Semaphore>>,
}

impl PeerClient {
    /// Makes a call now, and waits for its answer no longer than the hard limit.
    fn bounded<T, F>(
        &self,
        action: RPCTypes,
        limit: Duration,
        call: F,
    ) -> impl Future<Output = Result<T, RpcError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> RpcFuture<T> + Send,
    {
        let (target, turn) = (self.target, self.turn.clone());
        let (sent, unsent) = if turn.is_none() { (Some(call()), None) } else { (None, Some(call)) };
        async move {
            let _turn = match &turn {
                Some(turn) => turn.acquire().await.ok(),
                None => None,
            };
            let late = || Timeout { action, id: target, target, timeout: limit };
            let Some(call) = sent.or_else(|| unsent.map(|call| call())) else { return Err(late().into()) };
            match timeout(limit, call).await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(error)) => Err(rpc_error(&error, late())),
                Err(_) => Err(late().into()),
            }
        }
    }

    /// The soft and the hard limit of a call.
    fn limits(&self, option: &RPCOption, least: Duration) -> (Duration, Duration) {
        let least = if self.turn.is_some() { WITHOUT_LIMITS } else { least };
        (option.soft_ttl().max(least), option.hard_ttl().max(least))
    }

    /// Sends an append now, and gives the way to its answer.
    fn append(
        &self,
        request: AppendEntriesRequest<Types>,
        option: &RPCOption,
    ) -> impl Future<Output = (Bounds, Result<AppendEntriesResponse<Types>, RpcError>)> + Send + use<> {
        let bounds = Bounds::of(&request);
        let least = if request.entries.is_empty() { Duration::ZERO } else { self.append_timeout };
        let (soft, hard) = self.limits(option, least);
        let node = self.node.clone();
        let sent = required(node.as_ref()).map(|node| {
            let node = node.clone();
            let call = move || node.append(AppendRequest::from(request)).timeout(soft).send();
            self.bounded(RPCTypes::AppendEntries, hard, call)
        });
        async move {
            let reply = match sent {
                Ok(call) => call.await,
                Err(error) => Err(error),
            };
            (bounds, reply.and_then(|reply| reply.try_into().map_err(malformed)))
        }
    }

    async fn ask_for_vote(
        &self,
        request: proto::VoteRequest,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        let (soft, hard) = self.limits(option, Duration::ZERO);
        let node = required(self.control.as_ref())?;
        let call = || node.request_vote(request).timeout(soft).send();
        let reply = self.bounded(RPCTypes::Vote, hard, call).await?;
        reply.try_into().map_err(malformed)
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
        option: &RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::View(view) = snapshot.snapshot else {
            return Err(NetworkError::from_string("a snapshot that was just received is not sent on").into());
        };
        let node = required(self.node.as_ref())?;
        let transfer = rand::random();
        let mut position = Some(Position::default());
        for sequence in 0.. {
            let Some(from) = position.take() else { break };
            let chunk = view.chunk(from, self.snapshot_chunk).await;
            let (records, next) = chunk.map_err(|error| NetworkError::new(&error))?;
            let meta = next.is_none().then(|| (&snapshot.meta).into());
            let chunk = SnapshotChunk { leader: Some((&vote).into()), transfer, sequence, records, meta };
            let call = || node.install_snapshot(chunk).timeout(option.soft_ttl()).send();
            // One chunk is on its way at a time: what else the peer and the link have to do is done in between.
            let reply = self.bounded(RPCTypes::InstallSnapshot, option.hard_ttl(), call).await?;
            let seen = convert::vote(reply.vote).map_err(malformed)?;
            if next.is_none() || seen > vote {
                return Ok(SnapshotResponse::new(seen));
            }
            position = next;
        }
        Err(NetworkError::from_string("the snapshot has too many chunks").into())
    }
}

fn required(node: Option<&Node>) -> Result<&Node, RpcError> {
    node.ok_or_else(|| Unreachable::from_string("its address is not one").into())
}

fn malformed(error: Malformed) -> RpcError {
    NetworkError::new(&error).into()
}

/// An error of a call, as the engine tells them apart: with one that will pass soon it tries again soon, and with one that
/// will not it pauses.
fn rpc_error(error: &NodeError, late: Timeout<Types>) -> RpcError {
    match (error.class(), error.kind()) {
        (_, NodeErrorKind::DeadlineExceeded) => late.into(),
        // Not connected, or the peer has stopped, or it speaks another language.
        (_, NodeErrorKind::Unavailable) | (ErrorClass::SteppedDown | ErrorClass::Permanent, _) => {
            Unreachable::new(error).into()
        }
        (ErrorClass::Transient, _) => NetworkError::new(error).into(),
    }
}

/// The entry before an append and the last one in it.
struct Bounds {
    previous: Option<LogId>,
    last: Option<LogId>,
}

impl Bounds {
    fn of(request: &AppendEntriesRequest<Types>) -> Self {
        let previous = request.prev_log_id;
        Self { previous, last: request.entries.last().map(|entry| entry.log_id).or(previous) }
    }

    /// What the engine is told, and whether the appends after it are of use.
    fn result(
        self,
        response: AppendEntriesResponse<Types>,
    ) -> (Result<StreamAppendResult<Types>, RpcError>, bool) {
        match response {
            AppendEntriesResponse::Conflict if self.previous.is_none() => {
                (Err(NetworkError::from_string("a conflict with nothing").into()), false)
            }
            AppendEntriesResponse::PartialSuccess(last) => (Ok(Ok(last)), last == self.last),
            response => {
                let goes_on = response.is_success();
                (Ok(response.into_stream_result(self.previous, self.last)), goes_on)
            }
        }
    }
}

impl RaftNetworkV2<Types> for PeerClient {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        self.append(request, &option).await.1
    }

    /// Several appends are on their way at once: gorums keeps their order, and each has a deadline of its own.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let this = &*self;
        let state = Some((input.fuse(), FuturesOrdered::new()));
        let replies = stream::unfold(state, move |state| {
            let option = option.clone();
            async move {
                let (mut input, mut sent) = state?;
                let (bounds, reply) = loop {
                    let more = sent.len() < APPENDS_IN_FLIGHT && !input.is_done();
                    tokio::select! {
                        biased;
                        Some(answered) = sent.next(), if !sent.is_empty() => break answered,
                        request = input.next(), if more => {
                            if let Some(request) = request {
                                sent.push_back(this.append(request, &option));
                            }
                        }
                        else => return None,
                    }
                };
                let bounds: Bounds = bounds;
                let (result, goes_on) = match reply {
                    Ok(response) => bounds.result(response),
                    Err(error) => (Err(error), false),
                };
                Some((result, goes_on.then_some((input, sent))))
            }
        });
        let replies: BoxStream<'s, _> = Box::pin(replies);
        Box::pin(async move { Ok(replies) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        self.ask_for_vote(vote_request(&request, false), &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        self.ask_for_vote(vote_request(&request, true), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            sent = self.send_snapshot(vote, snapshot, &option) => sent,
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RpcError> {
        let node = required(self.control.as_ref())?;
        let call = || node.transfer_leader(TransferRequest::from(&request)).timeout(option.soft_ttl()).send();
        let reply = self.bounded(RPCTypes::TransferLeader, option.hard_ttl(), call).await?;
        if reply.refusal.is_empty() {
            return Ok(Ok(()));
        }
        tracing::info!("node {} does not take leadership over: {}", self.target, reply.refusal);
        let expected = *request.from_leader();
        Ok(Err(TransferLeaderError::VoteChanged { expected, actual: expected }))
    }
}
