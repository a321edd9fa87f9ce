//! What happened in a simulation, in order. It is outside of the hosts, and so outlives their crashes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums_core::{NodeError, NodeStats, QuorumError};

use crate::plan::Call;

/// A call, by its client and its place in the client's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId {
    pub client: u32,
    pub number: u32,
}

/// One time that a request was handled: on which node, and over which of the client's connections. Those of a client
/// are numbered in the order in which it made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub call: CallId,
    pub node: u32,
    pub connection: u16,
}

#[derive(Debug)]
pub enum Event {
    Called {
        id: CallId,
        call: Call,
    },
    /// A handler has started.
    Started(Run),
    /// A handler lets the next one start, as it released or returned.
    Passed(Run),
    /// A handler returns a reply.
    Replied(Run),
    /// A node has crashed, and its handlers with it.
    Crashed(u32),
    Ended {
        id: CallId,
        end: End,
    },
    /// What a client sees when the ends of all its calls are known, and nothing fails any more.
    Finished {
        client: u32,
        report: Report,
    },
}

/// How a call ended.
#[derive(Debug, Default)]
pub struct End {
    pub after: Duration,
    pub verdict: Verdict,
    /// What the caller was told of each node.
    pub nodes: BTreeMap<u32, Told>,
    /// What is wrong with the replies as such.
    pub wrong: Vec<String>,
}

#[derive(Debug, Default)]
pub enum Verdict {
    /// The caller lost interest.
    #[default]
    Dropped,
    /// The caller got what it wanted: replies of so many nodes, or none for a one-way call.
    Succeeded {
        needed: usize,
    },
    /// One node was called, and failed.
    Failed,
    OutOfReach(QuorumError),
    /// So many replies were read.
    Read,
}

#[derive(Debug)]
pub enum Told {
    Replied,
    Failed(NodeError),
}

/// The state of a client after its program.
#[derive(Debug)]
pub struct Report {
    /// Calls in flight, of the configuration and of each node, at the moment when the last call ended.
    pub pending: Vec<usize>,
    /// How long the call to all nodes took that was made when all faults were over, or why it failed.
    pub recovered: Result<Duration, String>,
    pub stats: Vec<NodeStats>,
    pub closed_after: Duration,
}

/// Shared by all hosts of a simulation.
#[derive(Clone, Default)]
pub struct Record {
    events: Arc<Mutex<Vec<(Duration, Event)>>>,
}

impl Record {
    /// Adds an event. To be called on a simulated host.
    pub fn add(&self, event: Event) {
        self.add_at(turmoil::sim_elapsed().unwrap_or_default(), event);
    }

    pub fn add_at(&self, at: Duration, event: Event) {
        self.events.lock().unwrap().push((at, event));
    }

    pub fn take(&self) -> Vec<(Duration, Event)> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}
