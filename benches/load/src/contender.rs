//! What is compared: ways to make a quorum call.

mod gorums_call;
mod raw_tcp;
mod tarpc_call;
mod tonic_unary;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::ValueEnum;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub(crate) use self::gorums_call::Gorums;
pub(crate) use self::raw_tcp::RawTcp;
pub(crate) use self::tarpc_call::Tarpc;
pub(crate) use self::tonic_unary::Tonic;
use crate::call_type::CallType;
use crate::message::Request;
use crate::setup::{QueueOptions, Setup};

/// The contenders, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// This project
    Gorums,
    /// A generated unary gRPC client for each node, and the replies as they come
    Tonic,
    /// tarpc with bincode over TCP, and the replies as they come
    Tarpc,
    /// A router by hand: length-prefixed frames over TCP, a map of pending calls and a writer for each node
    RawTcp,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gorums => "gorums",
            Self::Tonic => "tonic",
            Self::Tarpc => "tarpc",
            Self::RawTcp => "raw-tcp",
        }
    }

    /// Whether it can do this at all.
    pub(crate) fn can_do(self, setup: &Setup) -> bool {
        self == Self::Gorums || (self.supports(setup.call) && !setup.local_node)
    }

    /// Whether it has calls of this type.
    pub(crate) fn supports(self, call: CallType) -> bool {
        let quorum = matches!(
            call,
            CallType::Rpc
                | CallType::QuorumFirst
                | CallType::QuorumMajority
                | CallType::QuorumAll
                | CallType::QuorumThreshold
        );
        match self {
            Self::Gorums => true,
            Self::Tonic | Self::Tarpc => quorum,
            Self::RawTcp => quorum || matches!(call, CallType::UnicastQueued | CallType::MulticastQueued),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What one call is.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) call: CallType,
    /// Replies to wait for.
    pub(crate) needed: usize,
    pub(crate) request: Request,
}

/// What a contender needs to connect.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) addresses: Vec<String>,
    pub(crate) queue: QueueOptions,
    /// The first node is this process: the contender serves it itself, and the addresses are those of the others.
    pub(crate) local: Option<Arc<Counts>>,
    /// Nodes may be unreachable.
    pub(crate) lazy: bool,
}

/// What one server has got.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
}

impl Counts {
    /// One more request or one-way message.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

/// One way to call. The server echoes, and counts what it gets.
pub(crate) trait Contender: Send + Sync + Sized + 'static {
    /// Serves one node for as long as the runtime lives.
    fn serve(listener: TcpListener, counts: Arc<Counts>) -> impl Future<Output = Result<()>> + Send;

    /// Connects to all nodes, and waits until that is done unless it is to be lazy.
    fn connect(connect: &Connect) -> impl Future<Output = Result<Self>> + Send;

    /// Makes a call, and checks the replies that it gives.
    fn call<'a>(&'a self, job: &'a Job) -> impl Future<Output = Result<()>> + Send + 'a;

    /// Closes the connections, if dropping it is not enough.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// The first `needed` replies that succeed, for contenders that call each node by itself.
async fn enough<E: fmt::Display>(
    needed: usize,
    calls: impl Iterator<Item = impl Future<Output = Result<Bytes, E>>>,
    job: &Job,
) -> Result<()> {
    let mut replies: FuturesUnordered<_> = calls.collect();
    let (mut got, mut last_error) = (0, None);
    while got < needed {
        match replies.next().await {
            Some(Ok(reply)) => {
                check(&reply, job)?;
                got += 1;
            }
            Some(Err(error)) => last_error = Some(error),
            None => {
                let reason = last_error.map_or_else(String::new, |error| format!(": {error}"));
                bail!("{got} of {needed} replies came{reason}");
            }
        }
    }
    Ok(())
}

/// A reply has to be as long as was asked for.
fn check(reply: &Bytes, job: &Job) -> Result<()> {
    let (len, expected) = (reply.len(), job.request.reply_bytes as usize);
    if len != expected {
        bail!("a reply has {len} bytes and not {expected}");
    }
    Ok(())
}
