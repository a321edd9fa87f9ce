//! What is being written: messages that were taken out of the queue together, in as few pieces as possible.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Instant;

use crate::channel::Channel;
use crate::channel::queue::{Awaits, Body, Outgoing, Queue};

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
            if now >= request.deadline {
                channel.with_queue(Queue::unsent);
                self.end(&mut piece, copied, channel);
                copied.advance(request.copied_len());
                continue;
            }
            let awaited = request.is_awaited() && pending.sent(request.id, channel.ordinal(), self.epoch);
            let resent = awaited && request.idempotent && request.awaits == Awaits::Reply;
            if let Body::Shared(message) = &request.body {
                self.end(&mut piece, copied, channel);
                self.pieces.push_back(message.clone());
                if resent {
                    self.resend.remember(request, channel);
                }
            } else {
                let start = piece.len;
                piece.len += request.copied_len();
                if resent {
                    piece.resent.push((request, start..piece.len));
                }
            }
        }
        self.taken = taken;
        self.end(&mut piece, copied, channel);
    }

    /// Ends a piece: its bytes go as they are.
    fn end(&mut self, piece: &mut Piece, copied: &mut BytesMut, channel: &Channel) {
        let Piece { len, resent } = std::mem::take(piece);
        if len == 0 {
            return;
        }
        let bytes = copied.split_to(len).freeze();
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

/// Requests that lie one behind the other.
#[derive(Default)]
struct Piece {
    len: usize,
    /// Those that are sent again if the connection breaks, and where they are.
    resent: Vec<(Outgoing, Range<usize>)>,
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
