//! Parts of the inside that benches measure by themselves. Only with the feature `bench`, for this project alone, and not
//! covered by semantic versioning.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::call::tally::{Outcome, Quorum, Tally};
use crate::channel::queue::{Awaits, Body, Outgoing, Overflow, Push, Queue, QueueLimits};
use crate::id::{Initiator, MessageId};
use crate::node::{Node, Targets};
use crate::payload::Payload;
use crate::router::entry::{Entry, Incoming, Look, Mode};
use crate::router::pending::PendingTable;
use crate::wire::{self, Message, Outline};

/// Appends a message with its prefix: a request with a timeout, or a reply without one.
pub fn encode(buf: &mut BytesMut, id: u64, method: &str, timeout: Option<Duration>, payload: &[u8]) {
    let outline = Outline::request(id, method, timeout, None);
    wire::encode(buf, &outline, payload.len(), |buf| buf.extend_from_slice(payload));
}

/// Finds the parts of a message without its prefix, and gives the length of its payload.
///
/// # Errors
///
/// The message is malformed.
pub fn parse(message: Bytes) -> Result<usize, wire::DecodeError> {
    Message::parse(message).map(|message| message.into_payload().len())
}

/// The queue to one node.
#[derive(Debug)]
pub struct RequestQueue {
    queue: Queue,
    now: Instant,
    taken: VecDeque<Outgoing>,
}

impl Default for RequestQueue {
    fn default() -> Self {
        Self { queue: Queue::new(QueueLimits::default()), now: Instant::now(), taken: VecDeque::new() }
    }
}

impl RequestQueue {
    /// Offers an encoded request. True if it was taken.
    pub fn push(&mut self, sequence: u64, message: &[u8]) -> bool {
        let encode = |buf: &mut BytesMut| buf.extend_from_slice(message);
        let mut request = Outgoing {
            id: MessageId::new(Initiator::Client, sequence),
            body: Body::encode(message.len(), encode),
            deadline: Some(self.now + Duration::from_secs(5)),
            awaits: Awaits::Reply,
            overflow: Overflow::Fail,
            priority: crate::Priority::Normal,
            idempotent: false,
            wait_for_ready: false,
            sent_before: false,
            place: 0,
        };
        let push = self.queue.push(&mut request, self.now);
        request.body.recycle();
        matches!(push, Push::Queued(_))
    }

    /// Takes what waits, as one batch, and gives the number of its bytes.
    pub fn take(&mut self) -> usize {
        let batch = self.queue.take(usize::MAX, true, &mut self.taken);
        self.taken.clear();
        batch.len()
    }
}

/// The table of calls in flight to some nodes.
#[derive(Debug)]
pub struct Calls {
    table: PendingTable,
    targets: Targets,
    needed: usize,
    now: Instant,
}

impl Calls {
    /// Calls to so many nodes, for which a majority decides.
    pub fn new(nodes: u32) -> Self {
        let members = Node::detached(nodes).members().clone();
        Self {
            table: PendingTable::new(Initiator::Client),
            targets: Targets::Many(members),
            needed: nodes as usize / 2 + 1,
            now: Instant::now(),
        }
    }

    /// One call from its registration to its removal: each node is sent a request and replies. Gives the number of replies
    /// that the caller sees; 0 if anything went wrong.
    pub fn run(&self) -> usize {
        let tally = Tally::new(Quorum::Threshold(self.needed), self.targets.len());
        let begin = |entry: &mut Entry| entry.begin(self.targets.clone(), Mode::Counted(tally), self.now);
        let Some(id) = self.table.register(begin) else { return 0 };
        let ordinals = || self.targets.iter().map(|node| node.channel().ordinal());
        for ordinal in ordinals() {
            self.table.sent(id, ordinal, 1);
        }
        self.table.look(id, Waker::noop());
        for ordinal in ordinals() {
            if self.table.deliver(id, ordinal, Incoming::Reply(Payload::default()), self.now).is_err() {
                return 0;
            }
        }
        let look = self.table.look(id, Waker::noop());
        self.table.end(id, |_| ());
        if let Look::Replies(replies) = look { replies.len() } else { 0 }
    }
}

/// Counts successes of so many nodes until a majority is reached. Gives how many it took.
pub fn tally(nodes: usize) -> usize {
    let mut tally = Tally::new(Quorum::Majority, nodes);
    let mut counted = 0;
    while tally.outcome() == Outcome::Pending {
        tally.count(true);
        counted += 1;
    }
    counted
}
