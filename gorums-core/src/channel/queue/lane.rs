//! Requests of one priority that wait: in order, and most of them copied one behind the other.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::buffer::Buffer;
use super::request::{Awaits, Body, LARGE, Outgoing, QueueLimits};
use crate::id::MessageId;

/// While so many bytes wait one behind the other, further requests wait each on its own: they are cheap to remove, which a
/// queue that is not emptied needs more than short ways.
const BACKLOG: usize = 256 << 10;

/// How requests are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Copied one behind the other, as far as that is of use.
    Copied,
    /// Copied if they are short: while the peer takes no more, a copy of others would save nothing.
    CopiedIfShort,
    /// Each on its own.
    Apart,
}

#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Lane {
    requests: VecDeque<Outgoing>,
    /// The requests that were copied, one behind the other.
    copied: Buffer,
    bytes: usize,
    /// How many requests were taken in so far.
    taken: u64,
    /// No request that waits expires before this.
    earliest: Option<Instant>,
}

impl Lane {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn requests(&self) -> impl Iterator<Item = &Outgoing> {
        self.requests.iter()
    }

    #[cfg(test)]
    pub(super) fn copied_len(&self) -> usize {
        self.copied.len()
    }

    #[inline]
    pub(super) fn fits(&self, len: usize, limits: QueueLimits) -> bool {
        self.requests.is_empty()
            || (self.requests.len() < limits.messages && self.bytes + len <= limits.bytes)
    }

    /// Takes a request in, behind all others. What is left of it can be offered to another queue, unless it is local.
    #[inline]
    pub(super) fn append(&mut self, request: &mut Outgoing, keep: Keep) {
        self.add(request);
        if request.place == 0 {
            self.taken += 1;
            request.place = self.taken;
        }
        let copies = keep != Keep::Apart && self.copied.len() < BACKLOG;
        let body = match &mut request.body {
            Body::Short(message) if copies => {
                self.copied.tail().extend_from_slice(message);
                Body::Copied(message.len())
            }
            Body::Short(message) => Body::Shared(Bytes::copy_from_slice(message)),
            Body::Shared(message) if message.len() < LARGE && copies && keep == Keep::Copied => {
                self.copied.tail().extend_from_slice(message);
                Body::Copied(message.len())
            }
            body => body.share(),
        };
        self.requests.push_back(Outgoing { body, ..*request });
    }

    /// Counts a request that comes in, at whichever end.
    fn add(&mut self, request: &Outgoing) {
        self.bytes += request.len();
        self.earliest = self.earliest.into_iter().chain(request.deadline).min();
    }

    /// Removes the requests whose deadlines have passed. Gives their number.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return 0;
        }
        let expired = self.take_out(|request| request.is_late(now));
        self.earliest = self.requests.iter().filter_map(|request| request.deadline).min();
        expired.len()
    }

    /// Takes out some requests, wherever they are.
    pub(super) fn take_out(&mut self, which: impl Fn(&Outgoing) -> bool) -> Vec<Outgoing> {
        let mut copied = mem::take(&mut self.copied);
        let mut taken = Vec::new();
        for request in mem::take(&mut self.requests) {
            let bytes = copied.take_front(request.copied_len());
            if which(&request) {
                self.bytes -= request.len();
                taken.push(request);
            } else {
                self.copied.put_back(bytes);
                self.requests.push_back(request);
            }
        }
        taken
    }

    /// Drops requests that nobody waits for any longer, oldest first, until a request of this length fits. Gives their
    /// number.
    pub(super) fn evict(&mut self, len: usize, limits: QueueLimits) -> usize {
        let (mut index, mut evicted) = (0, 0);
        while !self.fits(len, limits) && index < self.requests.len() {
            if self.requests[index].awaits == Awaits::NoLonger {
                self.remove(index);
                evicted += 1;
            } else {
                index += 1;
            }
        }
        evicted
    }

    /// Drops one-way messages, oldest first, until a request of this length fits or there are no more.
    pub(super) fn drop_oldest(&mut self, len: usize, limits: QueueLimits) -> Vec<Outgoing> {
        let mut dropped = Vec::new();
        while !self.fits(len, limits) {
            let oldest = self.requests.iter().position(Outgoing::droppable);
            let Some(oldest) = oldest.and_then(|index| self.remove(index)) else {
                break;
            };
            dropped.push(oldest);
        }
        dropped
    }

    fn remove(&mut self, index: usize) -> Option<Outgoing> {
        let start: usize = self.requests.range(..index).map(Outgoing::copied_len).sum();
        let removed = self.requests.remove(index)?;
        let len = removed.copied_len();
        self.copied.remove(start, len);
        self.bytes -= removed.len();
        Some(removed)
    }

    /// The call of a request, which got this place or else 0, has succeeded without it. False if it is not here.
    pub(super) fn leave(&mut self, id: MessageId, place: u64) -> bool {
        let request = if place == 0 {
            self.requests.iter_mut().rev().find(|request| request.id == id)
        } else {
            // The places of those that wait rise, as what is sent again keeps its own.
            let index = self.requests.partition_point(|request| request.place < place);
            self.requests.get_mut(index).filter(|request| request.id == id)
        };
        request.is_some_and(|request| {
            request.awaits = Awaits::NoLonger;
            true
        })
    }

    /// Withdraws a request. False if it is not here.
    pub(super) fn withdraw(&mut self, id: MessageId) -> bool {
        let index = self.requests.iter().position(|request| request.id == id);
        index.is_some_and(|index| self.remove(index).is_some())
    }

    /// Takes the requests at the front that are at most `room` long in all; the first even if it is longer, if `any` length
    /// will do and none was taken before. Gives the bytes of those that were copied.
    #[inline]
    pub(super) fn take(&mut self, room: usize, any: bool, taken: &mut VecDeque<Outgoing>) -> BytesMut {
        let (bytes, copied) = if self.bytes <= room && taken.is_empty() {
            mem::swap(&mut self.requests, taken);
            (self.bytes, self.copied.take())
        } else {
            let (mut bytes, mut copied) = (0, 0);
            while let Some(request) = self.requests.front()
                && (any && taken.is_empty() || bytes + request.len() <= room)
            {
                bytes += request.len();
                copied += request.copied_len();
                taken.extend(self.requests.pop_front());
            }
            (bytes, self.copied.take_front(copied))
        };
        self.bytes -= bytes;
        copied
    }

    /// Takes the request at the front.
    #[cfg(test)]
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let mut request = self.requests.pop_front()?;
        if let Body::Copied(len) = request.body {
            request.body = Body::Short(self.copied.take_front(len));
        }
        self.bytes -= request.len();
        Some(request)
    }

    /// Puts requests that were sent in front of all others, in their order.
    pub(super) fn requeue(&mut self, requests: impl IntoIterator<Item = Outgoing>, keep: Keep) {
        let (waiting, copied) = (mem::take(&mut self.requests), self.copied.take());
        for mut request in requests {
            request.sent_before = true;
            self.append(&mut request, keep);
        }
        self.requests.extend(waiting);
        self.copied.put_back(copied);
    }
}
