//! A request that waits to be written, and what may be said of queues.

use std::cell::Cell;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::id::MessageId;
use crate::payload::Payload;

/// How much may wait to be written to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Requests; 256 by default.
    pub messages: usize,
    /// Bytes; 1 MiB by default. One request that is larger is taken when the queue is empty.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages: 256, bytes: 1 << 20 }
    }
}

/// What a one-way call does when the queue of a node is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Fail on that node with [`NodeErrorKind::QueueFull`](crate::NodeErrorKind::QueueFull).
    #[default]
    Fail,
    /// Wait for room, within the deadline, or until enough other nodes have taken a [multicast](crate::Multicast). Only a
    /// call that is awaited can wait; `send` fails.
    Wait,
    /// Drop this message, count it, and report success.
    DropNewest,
    /// Drop the oldest one-way message that waits, count it, and take this one instead.
    DropOldest,
}

/// Whether a request passes others that wait to be sent to the same node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Priority {
    /// It waits behind those that were there before (G1).
    #[default]
    Normal,
    /// It goes in front of all that are normal, and behind those of its own kind. For heartbeats, votes and other small
    /// messages that keep a system alive while it is overloaded.
    ///
    /// Requests of control have as much [room](QueueLimits) in the queue as normal ones have, beside these, so that a queue
    /// that is full of others does not refuse them. What has been handed to the transport, up to the window of the
    /// stream, is not passed, and neither are requests that wait at the node for their turn: where a handler may hold its turn
    /// for long, and where bulk must never be in front, control takes a configuration, and so a connection, of its own.
    Control,
}

/// Who waits for what becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// A caller, for the reply.
    Reply,
    /// A caller, for any number of replies.
    Replies,
    /// A caller, for the hand-over to the transport.
    Handover,
    /// Nobody.
    Nothing,
    /// Nobody any longer: the call has succeeded without this node. The request still goes, but gives way to
    /// others when the queue is full.
    NoLonger,
}

/// A message from this length on is a DATA frame of its own. Shorter ones are copied into one: that costs fewer system
/// calls, and no count of users that threads share.
pub(crate) const LARGE: usize = 128 << 10;
/// A message up to this length is encoded in memory that the thread keeps.
const SHORT: usize = 4 << 10;

thread_local! {
    /// Where short messages are encoded.
    static SCRATCH: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// What a request says: the message with its prefix.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Short(BytesMut),
    Shared(Bytes),
    /// So many bytes that the queue has copied.
    Copied(usize),
    /// For a handler of this process.
    Local(Box<LocalRequest>),
}

impl Body {
    /// The message that `encode` writes, which is `len` long.
    pub(crate) fn encode(len: usize, encode: impl FnOnce(&mut BytesMut)) -> Self {
        if len > SHORT {
            let mut message = BytesMut::with_capacity(len);
            encode(&mut message);
            return Self::Shared(message.freeze());
        }
        let mut scratch = SCRATCH.take();
        scratch.clear();
        encode(&mut scratch);
        Self::Short(scratch)
    }

    /// What a queue keeps of a message that it does not copy.
    pub(crate) fn share(&mut self) -> Self {
        match self {
            Self::Shared(message) => Self::Shared(message.clone()),
            body => std::mem::replace(body, Self::Copied(0)),
        }
    }

    /// Keeps the memory for the next message of this thread.
    pub(crate) fn recycle(self) {
        if let Self::Short(scratch) = self {
            SCRATCH.set(scratch);
        }
    }
}

/// A request that stays in the process.
#[derive(Clone, Debug)]
pub(crate) struct LocalRequest {
    pub(crate) method: &'static str,
    pub(crate) payload: Payload,
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: Option<Arc<MetadataMap>>,
    /// How long it would be if it were encoded: it counts as much as any other.
    pub(crate) len: usize,
}

/// A request that waits to be written.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: MessageId,
    pub(crate) body: Body,
    /// When it is no longer of use, if ever.
    pub(crate) deadline: Option<Instant>,
    pub(crate) awaits: Awaits,
    pub(crate) overflow: Overflow,
    pub(crate) priority: Priority,
    /// May be sent again after a reconnect although it may have reached the node.
    pub(crate) idempotent: bool,
    /// Waits for a node that is down, instead of failing.
    pub(crate) wait_for_ready: bool,
    /// Was sent before, on a stream that broke.
    pub(crate) sent_before: bool,
    /// Its place among all that the queue has ever taken; 0 as long as it has none.
    pub(crate) place: u64,
}

impl Outgoing {
    /// The length of the message with its prefix.
    pub(crate) fn len(&self) -> usize {
        match &self.body {
            Body::Short(message) => message.len(),
            Body::Shared(message) => message.len(),
            Body::Copied(len) => *len,
            Body::Local(request) => request.len,
        }
    }

    /// How many of its bytes the queue has copied.
    pub(crate) fn copied_len(&self) -> usize {
        if let Body::Copied(len) = self.body { len } else { 0 }
    }

    /// The same request, of which only the facts are needed any more.
    pub(crate) fn without_body(&self) -> Self {
        Self { body: Body::Copied(0), ..*self }
    }

    /// Whether it comes too late: its caller has given it up.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Whether it may give way to a newer one.
    pub(crate) fn droppable(&self) -> bool {
        !matches!(self.awaits, Awaits::Reply | Awaits::Replies)
    }

    /// Whether somebody waits for what becomes of it.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(self.awaits, Awaits::Nothing | Awaits::NoLonger)
    }
}

/// Where the requests to a node went. Always `offered = sent + dropped + failed + queued`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCounts {
    /// Requests that calls wanted to queue; one that waits for room counts when it is taken or given up.
    pub offered: u64,
    /// Requests handed to the transport.
    pub sent: u64,
    /// Requests that gave way when the queue was full: one-way messages, and what was left of calls that have succeeded.
    pub dropped: u64,
    /// Requests that were not taken, or that were withdrawn before they were sent: cancelled, past their
    /// deadline, or failed with the connection.
    pub failed: u64,
    /// Requests that wait now.
    pub queued: u64,
    /// Bytes that wait now.
    pub queued_bytes: u64,
}
