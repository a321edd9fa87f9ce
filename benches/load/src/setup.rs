//! What one measurement is of, and how long it takes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call_type::CallType;
use crate::contender::Kind;

/// What is done while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Callers that call all the time, or at a rate.
    Calls,
    /// The same with one node that accepts connections and never reads.
    BlackHole,
    /// Connections that do nothing.
    Idle,
    /// Connections that are made, used once, and closed.
    Connect,
}

/// One cell of a table. Everything but the contender is the same for those that are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) scenario: Scenario,
    pub(crate) contender: Kind,
    pub(crate) call: CallType,
    pub(crate) nodes: usize,
    /// Replies that a call waits for.
    pub(crate) needed: usize,
    pub(crate) request_bytes: usize,
    pub(crate) reply_bytes: usize,
    /// Calls that are open at once, of all callers together.
    pub(crate) in_flight: usize,
    /// Calls that one caller has open at once.
    pub(crate) pipeline: usize,
    /// Sets of connections, among which the callers are spread.
    pub(crate) clients: usize,
    /// Calls that are meant to start in a second; `None` to start one whenever another has ended.
    pub(crate) rate: Option<u64>,
    /// Replies of each node to a streaming call.
    pub(crate) updates: usize,
    /// Worker threads of the runtime; 0 is a current-thread runtime.
    pub(crate) workers: usize,
    /// The first node is this process itself.
    pub(crate) local_node: bool,
}

impl Setup {
    /// The same for all contenders.
    pub(crate) fn is_same_cell(&self, other: &Self) -> bool {
        Self { contender: other.contender, ..self.clone() } == *other
    }

    /// How many tasks call.
    pub(crate) fn callers(&self) -> usize {
        self.in_flight.div_ceil(self.pipeline)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contender, call, nodes, request_bytes, in_flight, .. } = self;
        write!(f, "{contender} {call}, {nodes} nodes, {request_bytes} B, {in_flight} in flight")?;
        self.rate.map_or(Ok(()), |rate| write!(f, ", {rate}/s"))
    }
}

/// How long things take.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// Before anything is counted.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What is the same for all measurements of one run of the program, and no figure of any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// Servers that run already. Without any, servers are started in this process.
    pub(crate) remotes: Vec<String>,
    pub(crate) queue: QueueOptions,
}

/// The queue to each node, for the contenders that have one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct QueueOptions {
    /// Messages; each contender's own default if it is not given.
    pub(crate) messages: Option<usize>,
    /// Bytes; only gorums has such a limit.
    pub(crate) bytes: Option<usize>,
    /// What the router over TCP does when it is full.
    pub(crate) raw_tcp: FullQueue,
}

/// What the router over TCP does with a message when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(crate) enum FullQueue {
    /// The caller waits.
    #[default]
    Wait,
    /// The call fails on that node.
    Fail,
    /// There is no bound.
    Grow,
}
