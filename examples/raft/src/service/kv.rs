//! The key-value store, as a node serves it.

use std::future::Future;

use gorums::{ServerContext, Status, Updates};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::error::Error;
use crate::network::in_turn;
use crate::node::{MARGIN, Node, Write};
use crate::proto::{
    DeleteRequest, GetReply, GetRequest, Kv, PutRequest, SwapRequest, WatchEvent, WatchRequest, Written,
    operation,
};
use crate::storage::Updated;

/// The longest key, in bytes.
const MAX_KEY: usize = 4 << 10;
/// The longest value, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// Serves clients.
#[derive(Debug)]
pub(crate) struct KvService {
    node: Node,
}

impl KvService {
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }

    /// Begins a call in its turn, and ends it when nobody waits for it any more.
    async fn serve<T>(
        &self,
        ctx: &ServerContext,
        method: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Status> {
        let begun = Instant::now();
        let result = tokio::select! {
            biased;
            result = in_turn(ctx, call) => result,
            () = ctx.cancelled() => return Err(Status::cancelled("nobody waits for the answer any more")),
        };
        self.node.count(method, &result, begun.elapsed());
        result.map_err(Status::from)
    }

    async fn write(
        &self,
        ctx: &ServerContext,
        method: &'static str,
        write: Write,
    ) -> Result<Written, Status> {
        let call = async {
            check(&write.change)?;
            self.node.write(write, deadline(ctx)).await
        };
        self.serve(ctx, method, call).await
    }
}

/// When the answer has to be on its way.
fn deadline(ctx: &ServerContext) -> Option<Instant> {
    ctx.deadline().map(|deadline| deadline.checked_sub(MARGIN).unwrap_or(deadline))
}

fn check(change: &operation::Change) -> Result<(), Error> {
    let (key, value) = match change {
        operation::Change::Put(put) => (&put.key, Some(&put.value)),
        operation::Change::Delete(delete) => (&delete.key, None),
        operation::Change::CompareAndSwap(swap) => (&swap.key, swap.value.as_ref()),
    };
    if key.len() > MAX_KEY {
        return Err(Error::Invalid(format!("a key of {} bytes is longer than {MAX_KEY}", key.len())));
    }
    match value {
        Some(value) if value.len() > MAX_VALUE => {
            Err(Error::Invalid(format!("a value of {} bytes is longer than {MAX_VALUE}", value.len())))
        }
        _ => Ok(()),
    }
}

fn missing() -> Status {
    Error::Invalid("the request does not say what to do".into()).into()
}

impl Kv for KvService {
    async fn put(&self, ctx: &ServerContext, request: PutRequest) -> Result<Written, Status> {
        let (session, routing) = (request.session, request.routing());
        let change = request.put.ok_or_else(missing)?.into();
        self.write(ctx, "put", Write { session, routing, change }).await
    }

    async fn get(&self, ctx: &ServerContext, request: GetRequest) -> Result<GetReply, Status> {
        self.serve(ctx, "get", self.node.get(request, deadline(ctx))).await
    }

    async fn delete(&self, ctx: &ServerContext, request: DeleteRequest) -> Result<Written, Status> {
        let (session, routing) = (request.session, request.routing());
        let change = request.delete.ok_or_else(missing)?.into();
        self.write(ctx, "delete", Write { session, routing, change }).await
    }

    async fn compare_and_swap(&self, ctx: &ServerContext, request: SwapRequest) -> Result<Written, Status> {
        let (session, routing) = (request.session, request.routing());
        let change = request.swap.ok_or_else(missing)?.into();
        self.write(ctx, "compare_and_swap", Write { session, routing, change }).await
    }

    async fn watch(
        &self,
        ctx: &ServerContext,
        request: WatchRequest,
        mut updates: Updates<WatchEvent>,
    ) -> Result<(), Status> {
        ctx.release();
        let (start, mut feed) = self.node.reader().watch().map_err(Error::from)?;
        updates.send(WatchEvent { revision: start, key: None, value: None }).await?;
        loop {
            let happened = tokio::select! {
                biased;
                happened = feed.recv() => happened,
                () = ctx.cancelled() => return Err(Status::cancelled("nobody watches any more")),
            };
            let changes = match happened {
                Ok(Updated::Changes(changes)) => changes,
                Ok(Updated::Replaced) | Err(RecvError::Lagged(_)) => return Err(Error::Lagged.into()),
                Err(RecvError::Closed) => return Err(Error::Stopped("the node has stopped".into()).into()),
            };
            for change in changes.iter() {
                if change.revision > start && change.key.starts_with(&request.prefix) {
                    let (key, value) = (Some(change.key.clone()), change.value.clone());
                    updates.send(WatchEvent { revision: change.revision, key, value }).await?;
                }
            }
        }
    }
}
