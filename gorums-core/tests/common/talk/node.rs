//! The service of a node that talks, and what it has seen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums_core::testing::Cluster;
use gorums_core::{
    CallType, Method, Methods, NodeId, Server, ServerBuilder, ServerContext, Service, Status, Updates,
};
use tokio::sync::{mpsc, watch};

use crate::common::Transport;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Line {
    /// Which talk, or which task of a test, it belongs to.
    #[prost(uint64, tag = "1")]
    pub talk: u64,
    #[prost(uint64, tag = "2")]
    pub value: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub padding: Vec<u8>,
}

pub fn line(talk: u64, value: u64) -> Line {
    Line { talk, value, padding: Vec::new() }
}

/// Starts a talk, which greets.
pub const OPEN: Method<Line, Line> = Method::prost("test.Talk.Open", CallType::StreamingQuorumCall);
/// Says something in a talk.
pub const SAY: Method<Line, ()> = Method::prost("test.Talk.Say", CallType::Unicast);
/// Answers with what was asked, as soon as the node's gate is open; the next request has to wait for it.
pub const ASK: Method<Line, Line> = Method::prost("test.Talk.Ask", CallType::QuorumCall);
/// As `ASK`.
pub const ASK_AGAIN: Method<Line, Line> =
    Method::prost("test.Talk.AskAgain", CallType::QuorumCall).idempotent();
/// Answers when the gate is open, and does not care for whom; others need not wait for it.
pub const STUBBORN: Method<Line, Line> = Method::prost("test.Talk.Stubborn", CallType::Rpc);
/// Adds to a sum.
pub const ADD: Method<Line, ()> = Method::prost("test.Talk.Add", CallType::Unicast);
/// Answers with the sum.
pub const TOTAL: Method<Line, Line> = Method::prost("test.Talk.Total", CallType::Rpc);
/// Answers with 1, 2, 3, .. up to what was asked; without end for 0.
pub const COUNT: Method<Line, Line> = Method::prost("test.Talk.Count", CallType::StreamingQuorumCall);
/// Is kept.
pub const NOTE: Method<Line, ()> = Method::prost("test.Talk.Note", CallType::Multicast);

/// What a talk says first.
pub const GREETING: u64 = u64::MAX;
/// Ends a talk well.
pub const BYE: u64 = u64::MAX - 1;
/// Ends a talk, or what is stubborn, with an error.
pub const BAD: u64 = u64::MAX - 2;
/// Makes the handler of a talk panic.
pub const PANIC: u64 = u64::MAX - 3;

/// How long closing and shutting down wait for calls that do not end.
pub const DRAIN: Duration = Duration::from_millis(100);

/// A node's service, and what it has seen.
#[derive(Clone, Default)]
pub struct Talks {
    state: Arc<State>,
}

pub struct State {
    gate: watch::Sender<bool>,
    talks: Mutex<HashMap<u64, mpsc::UnboundedSender<u64>>>,
    sums: Mutex<HashMap<u64, u64>>,
    /// What was asked, in the order in which the handlers started.
    pub asked: Mutex<Vec<Line>>,
    pub notes: Mutex<Vec<Line>>,
    /// Stubborn handlers that were started.
    pub stubborn: AtomicU64,
    /// Talks whose handler was told that the caller has gone.
    pub cancelled: AtomicU64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            gate: watch::Sender::new(true),
            talks: Mutex::default(),
            sums: Mutex::default(),
            asked: Mutex::default(),
            notes: Mutex::default(),
            stubborn: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        }
    }
}

impl std::ops::Deref for Talks {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

/// A talk in the table of its node, for as long as its handler runs.
struct Listed<'a>(&'a State, u64);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.talks.lock().unwrap().remove(&self.1);
    }
}

impl State {
    /// Lets what is asked be answered, or not.
    pub fn set_gate(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// How many talks there are.
    pub fn open(&self) -> usize {
        self.talks.lock().unwrap().len()
    }

    pub fn cancelled(&self) -> u64 {
        self.cancelled.load(SeqCst)
    }

    /// The values that were asked, in the order in which the handlers started.
    pub fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().iter().map(|line| line.value).collect()
    }

    async fn talk(&self, ctx: &ServerContext, talk: u64, updates: &mut Updates<Line>) -> Result<(), Status> {
        let (sender, mut said) = mpsc::unbounded_channel();
        self.talks.lock().unwrap().insert(talk, sender);
        let _listed = Listed(self, talk);
        ctx.release();
        let mut value = GREETING;
        loop {
            match value {
                BYE => return Ok(()),
                BAD => return Err(Status::invalid_argument("bad input")),
                PANIC => panic!("told to panic"),
                value if updates.send(line(talk, value)).await.is_err() => break,
                _ => {}
            }
            value = tokio::select! {
                biased;
                () = ctx.cancelled() => break,
                Some(value) = said.recv() => value,
            };
        }
        self.cancelled.fetch_add(1, SeqCst);
        if ctx.remaining() == Some(Duration::ZERO) {
            return Err(Status::deadline_exceeded("the caller waits no longer"));
        }
        Err(Status::cancelled("the caller has gone"))
    }

    async fn pass_gate(&self) {
        // The sender lives as long as the state.
        let _ = self.gate.subscribe().wait_for(|open| *open).await;
    }

    /// Nothing else is handled in between: the context has the turn for as long as it lives.
    async fn ask(&self, _ctx: &ServerContext, request: Line) -> Result<Line, Status> {
        self.asked.lock().unwrap().push(line(request.talk, request.value));
        self.pass_gate().await;
        Ok(line(request.talk, request.value))
    }

    async fn count(&self, request: Line, updates: &mut Updates<Line>) -> Result<(), Status> {
        let end = if request.value == 0 { u64::MAX } else { request.value };
        for value in 1..=end {
            updates.send(line(request.talk, value)).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

impl Service for Talks {
    const NAME: &'static str = "test.Talk";

    fn register(self, methods: &mut Methods) {
        let state = &self.state;
        methods.streaming(&OPEN, state, |state, ctx, request, mut updates| async move {
            state.talk(&ctx, request.talk, &mut updates).await
        });
        methods.one_way(&SAY, state, |state, _, request| async move {
            if let Some(talk) = state.talks.lock().unwrap().get(&request.talk) {
                // A talk that has just ended does not hear it.
                let _ = talk.send(request.value);
            }
        });
        methods.two_way(&ASK, state, |state, ctx, request| async move { state.ask(&ctx, request).await });
        methods.two_way(
            &ASK_AGAIN,
            state,
            |state, ctx, request| async move { state.ask(&ctx, request).await },
        );
        methods.two_way(&STUBBORN, state, |state, ctx, request| async move {
            state.stubborn.fetch_add(1, SeqCst);
            ctx.release();
            state.pass_gate().await;
            if request.value == BAD { Err(Status::invalid_argument("bad input")) } else { Ok(request) }
        });
        methods.one_way(&ADD, state, |state, _, request| async move {
            *state.sums.lock().unwrap().entry(request.talk).or_default() += request.value;
        });
        methods.two_way(&TOTAL, state, |state, _, request| async move {
            let total = state.sums.lock().unwrap().remove(&request.talk).unwrap_or_default();
            Ok(line(request.talk, total))
        });
        methods.streaming(&COUNT, state, |state, ctx, request, mut updates| async move {
            ctx.release();
            state.count(request, &mut updates).await
        });
        methods.one_way(&NOTE, state, |state, _, request| async move {
            state.notes.lock().unwrap().push(request);
        });
    }
}

pub fn server(talks: Talks) -> ServerBuilder {
    Server::builder().add_service(talks).drain_timeout(DRAIN)
}

/// Nodes with talks behind faulty links.
pub async fn talking(transport: Transport, size: u32) -> (Cluster, Vec<Talks>) {
    let nodes: Vec<_> = (0..size).map(|_| Talks::default()).collect();
    let services = nodes.clone();
    let of_node = move |id: NodeId| server(services[id.get() as usize - 1].clone());
    let cluster = match transport {
        Transport::Memory => Cluster::in_memory(size, of_node).await,
        Transport::Tcp => Cluster::over_tcp(size, of_node).await,
    };
    (cluster, nodes)
}
