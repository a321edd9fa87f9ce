//! What is being written: messages that were taken out of the queue together, in as few pieces as possible.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Instant;

use crate::channel::Channel;
use crate::channel::queue::{Awaits, Body, LARGE, Outgoing, Queue};

/// The messages that were taken out of the queue of a channel and are not written yet.
///
/// Most of a batch is one piece: the very bytes into which callers have copied their requests.
pub(crate) struct Batch {
    /// The number of the connection.
    epoch: u32,
    pieces: VecDeque<Bytes>,
    /// Kept for its memory.
    taken: VecDeque<Outgoing>,
    resend: Resend,
}

impl Batch {
    pub(crate) fn new(epoch: u32) -> Self {
        Self { epoch, pieces: VecDeque::new(), taken: VecDeque::new(), resend: Resend::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// The next bytes, at most `room` of them.
    pub(crate) fn next(&mut self, room: usize) -> Option<Bytes> {
        let piece = self.pieces.front_mut()?;
        if piece.len() > room {
            return Some(piece.split_to(room));
        }
        self.pieces.pop_front()
    }

    /// Takes replies out of the queue, and then requests, for as much as there is room, of which requests leave `reserve`
    /// to replies. Requests that come too late are left out.
    pub(crate) fn fill(&mut self, channel: &Channel, room: usize, reserve: usize) {
        let taken = &mut self.taken;
        let (replies, mut copied) = channel.with_queue(|queue| {
            let replies = queue.take_replies();
            let room = room.saturating_sub(replies.len() + reserve);
            let copied = queue.take(room, replies.is_empty() && room > 0, taken);
            (replies, copied)
        });
        if !replies.is_empty() {
            self.pieces.push_back(replies.freeze());
        }
        if !self.taken.is_empty() {
            self.add(channel, &mut copied);
        }
        channel.made_room();
    }

    fn add(&mut self, channel: &Channel, copied: &mut BytesMut) {
        let now = Instant::now();
        let pending = channel.pool().pending();
        let mut piece = Piece::default();
        let mut taken = std::mem::take(&mut self.taken);
        for request in taken.drain(..) {
            if request.is_late(now) {
                channel.with_queue(Queue::unsent);
                self.end(&mut piece, copied, channel);
                copied.advance(request.copied_len());
                continue;
            }
            let awaited = request.is_awaited() && pending.sent(request.id, channel.ordinal(), self.epoch);
            let resent = awaited && request.idempotent && request.awaits == Awaits::Reply;
            if !piece.takes(&request) {
                self.end(&mut piece, copied, channel);
            }
            piece.add(request, resent);
        }
        self.taken = taken;
        self.end(&mut piece, copied, channel);
    }

    /// Ends a piece, and adds it to those that are to be written.
    fn end(&mut self, piece: &mut Piece, copied: &mut BytesMut, channel: &Channel) {
        let Piece { kind, resent } = std::mem::take(piece);
        let bytes = match kind {
            Kind::Copied(0) => return,
            Kind::Copied(len) => copied.split_to(len).freeze(),
            Kind::Joined(bytes) => bytes.freeze(),
            Kind::Whole(message) => message,
        };
        for (request, range) in resent {
            let body = Body::Shared(bytes.slice(range));
            self.resend.remember(Outgoing { body, ..request }, channel);
        }
        self.pieces.push_back(bytes);
    }

    /// The idempotent requests that were sent and not yet answered, in the order in which they were sent.
    pub(crate) fn into_resend(self) -> impl Iterator<Item = Outgoing> {
        self.resend.requests.into_iter()
    }
}

/// Requests that are written together.
#[derive(Default)]
struct Piece {
    kind: Kind,
    /// Those that are sent again if the connection breaks, and where they are.
    resent: Vec<(Outgoing, Range<usize>)>,
}

enum Kind {
    /// So many bytes that lie one behind the other.
    Copied(usize),
    /// Requests that waited each on its own.
    Joined(BytesMut),
    /// A large message.
    Whole(Bytes),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Copied(0)
    }
}

impl Piece {
    /// Whether a request can be added.
    fn takes(&self, request: &Outgoing) -> bool {
        match (&self.kind, &request.body) {
            (Kind::Copied(0), _) => true,
            (Kind::Copied(_), body) => !matches!(body, Body::Shared(_)),
            (Kind::Joined(_), Body::Shared(message)) => message.len() < LARGE,
            (Kind::Joined(_) | Kind::Whole(_), _) => false,
        }
    }

    fn add(&mut self, request: Outgoing, resent: bool) {
        let start = match &self.kind {
            Kind::Copied(len) => *len,
            Kind::Joined(bytes) => bytes.len(),
            Kind::Whole(_) => 0,
        };
        match (&mut self.kind, &request.body) {
            (Kind::Joined(bytes), Body::Shared(message)) => bytes.extend_from_slice(message),
            (kind, Body::Shared(message)) if message.len() >= LARGE => *kind = Kind::Whole(message.clone()),
            (kind, Body::Shared(message)) => *kind = Kind::Joined(BytesMut::from(&message[..])),
            (Kind::Copied(len), _) => *len += request.copied_len(),
            (Kind::Joined(_) | Kind::Whole(_), _) => {}
        }
        if resent {
            let end = start + request.len();
            self.resent.push((request, start..end));
        }
    }
}

/// The idempotent requests that were sent and not yet answered, in the order in which they were sent.
#[derive(Default)]
struct Resend {
    requests: VecDeque<Outgoing>,
    bytes: usize,
    /// When there are more than this, those that were answered are removed.
    prune_above: (usize, usize),
}

/// Requests and bytes that were answered and may be kept for a while, to look for them less often.
const KEPT: (usize, usize) = (64, 256 << 10);

impl Resend {
    fn remember(&mut self, request: Outgoing, channel: &Channel) {
        self.bytes += request.len();
        self.requests.push_back(request);
        if self.requests.len() > self.prune_above.0 || self.bytes > self.prune_above.1 {
            self.requests.retain(|request| channel.pool().pending().is_open(request.id, channel.ordinal()));
            self.bytes = self.requests.iter().map(Outgoing::len).sum();
            self.prune_above = (2 * self.requests.len() + KEPT.0, 2 * self.bytes + KEPT.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::channel::queue::Overflow;
    use crate::node::Node;

    fn request(channel: &Channel, body: Body, late: bool) -> Outgoing {
        let now = Instant::now();
        Outgoing {
            id: channel.pool().pending().one_way_id(),
            body,
            deadline: Some(if late { now } else { now + Duration::from_secs(60) }),
            awaits: Awaits::Nothing,
            overflow: Overflow::Fail,
            priority: crate::Priority::Normal,
            idempotent: false,
            wait_for_ready: false,
            sent_before: false,
            place: 0,
        }
    }

    /// Whatever the requests are kept as, what is written is one behind the other, without those that are late.
    #[test]
    fn a_batch_is_its_requests_in_order() {
        let nodes = Node::detached(1);
        let channel = nodes.nodes()[0].channel();
        let (mut expected, mut now) = (Vec::new(), Instant::now());
        for (number, len, shared) in [
            (1, 10, false),
            (2, 20, false),
            (3, 30, true),
            (4, 40, true),
            (5, LARGE, true),
            (6, 5, false),
            (7, 6, false),
            (8, 7, true),
        ] {
            let message = vec![number; len];
            let body = || {
                if shared {
                    Body::Shared(message.clone().into())
                } else {
                    Body::Short(BytesMut::from(&message[..]))
                }
            };
            for late in [false, true] {
                // Whoever is late is so when the batch is made, not yet when the request is offered.
                let mut request = request(channel, body(), late);
                assert!(channel.offer(&mut request, now - Duration::from_secs(1)).is_ok());
            }
            expected.extend(message);
            now = Instant::now();
        }
        let mut batch = Batch::new(1);
        batch.fill(channel, 1 << 20, 0);
        assert_eq!(batch.len(), expected.len());
        let mut written = Vec::new();
        while let Some(piece) = batch.next(100_000) {
            written.extend(piece);
        }
        assert!(written == expected && batch.is_empty());
        let counts = channel.stats().queue;
        assert_eq!((counts.offered, counts.sent, counts.failed, counts.queued), (16, 8, 8, 0));
    }
}
