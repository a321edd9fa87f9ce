//! What waits to be written to one node: bounded, in order, and counted.
//!
//! Pure: no lock, no clock, no I/O. [`Channel`](super::Channel) keeps it behind a lock.

mod buffer;
mod request;

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use self::buffer::Buffer;
pub(crate) use self::request::{Awaits, Body, LARGE, LocalRequest, Outgoing};
pub use self::request::{Overflow, QueueCounts, QueueLimits};
use crate::error::{NodeErrorKind, Source};
use crate::id::MessageId;

/// While so many bytes wait one behind the other, further requests wait each on its own: they are cheap to remove, which a
/// queue that is not emptied needs more than short ways.
const BACKLOG: usize = 256 << 10;

#[derive(Debug, Default)]
enum Admission {
    #[default]
    Open,
    /// The node has been down for a while: requests that do not want to wait fail at once.
    Down(Option<Source>),
    Closed,
}

/// What became of a request that was offered.
#[derive(Debug)]
pub(crate) enum Push {
    /// It waits; wake the driver.
    Queued(Option<Waker>),
    /// It was dropped by its policy, or others that are given here were dropped in its place.
    Dropped(Vec<Outgoing>, Option<Waker>),
    /// It was not taken.
    Refused(NodeErrorKind, Option<Source>),
}

/// The fields that each request changes are next to one another: threads pass the queue to one another all the time, and
/// each cache line costs them a tenth of a microsecond.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Queue {
    requests: VecDeque<Outgoing>,
    /// The requests that were copied, one behind the other.
    copied: Buffer,
    bytes: usize,
    /// How many requests were taken so far.
    taken: u64,
    driver: Option<Waker>,
    /// The driver waits until the peer takes more. It hears of that elsewhere, and further requests need not wake it.
    waits_for_room: bool,
    /// The stream is gone, and with it the way for replies.
    gone: bool,
    admission: Admission,
    limits: QueueLimits,
    /// No request that waits expires before this.
    earliest: Option<Instant>,
    counts: QueueCounts,
    /// Replies and control messages, encoded one behind the other. They pass the requests.
    replies: Buffer,
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        let queued = self.requests.len() as u64;
        QueueCounts { queued, queued_bytes: self.bytes as u64, ..self.counts }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.admission, Admission::Closed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.replies.is_empty()
    }

    fn fits(&self, len: usize) -> bool {
        self.requests.is_empty()
            || (self.requests.len() < self.limits.messages && self.bytes + len <= self.limits.bytes)
    }

    /// Takes a request in, or applies its policy when there is no room. Requests whose deadline has passed by
    /// `now` make room. What is left of a request that was taken can be offered to another queue, unless it is local.
    pub(crate) fn push(&mut self, request: &mut Outgoing, now: Instant) -> Push {
        self.counts.offered += 1;
        let refusal = match &self.admission {
            Admission::Open => None,
            Admission::Down(_) if request.wait_for_ready => None,
            Admission::Down(source) => Some((NodeErrorKind::Unavailable, source.clone())),
            Admission::Closed => Some((NodeErrorKind::Closed, None)),
        };
        if let Some((kind, source)) = refusal {
            self.counts.failed += 1;
            return Push::Refused(kind, source);
        }
        if !self.fits(request.len()) {
            self.expire(now);
            self.evict(request.len());
        }
        request.place = 0;
        if self.fits(request.len()) {
            self.append(request);
            return Push::Queued(self.wake_for_request());
        }
        match request.overflow {
            Overflow::DropNewest => {
                self.counts.dropped += 1;
                Push::Dropped(vec![request.without_body()], None)
            }
            Overflow::DropOldest => self.replace_oldest(request),
            Overflow::Fail | Overflow::Wait => {
                self.counts.failed += 1;
                Push::Refused(NodeErrorKind::QueueFull, None)
            }
        }
    }

    /// Removes the requests whose deadlines have passed: their callers know by themselves.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let expired = self.take_out(|request| request.deadline <= now);
        self.counts.failed += expired.len() as u64;
        self.earliest = self.requests.iter().map(|request| request.deadline).min();
    }

    /// Takes out some requests, wherever they are.
    fn take_out(&mut self, which: impl Fn(&Outgoing) -> bool) -> Vec<Outgoing> {
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

    /// Drops requests that nobody waits for any longer, oldest first, until a request of this length fits.
    fn evict(&mut self, len: usize) {
        let mut index = 0;
        while !self.fits(len) && index < self.requests.len() {
            if self.requests[index].awaits == Awaits::NoLonger {
                self.remove(index);
                self.counts.dropped += 1;
            } else {
                index += 1;
            }
        }
    }

    fn remove(&mut self, index: usize) -> Option<Outgoing> {
        let start: usize = self.requests.range(..index).map(Outgoing::copied_len).sum();
        let removed = self.requests.remove(index)?;
        let len = removed.copied_len();
        self.copied.remove(start, len);
        self.bytes -= removed.len();
        Some(removed)
    }

    /// The call of a request, which got this place or else 0, has succeeded without it.
    pub(crate) fn leave(&mut self, id: MessageId, place: u64) {
        let request = if place == 0 {
            self.requests.iter_mut().rev().find(|request| request.id == id)
        } else {
            // The places of those that wait rise, as what is sent again keeps its own.
            let index = self.requests.partition_point(|request| request.place < place);
            self.requests.get_mut(index).filter(|request| request.id == id)
        };
        if let Some(request) = request {
            request.awaits = Awaits::NoLonger;
        }
    }

    /// Whether a request would be taken now, or refused for good.
    pub(crate) fn has_room(&self, request: &Outgoing) -> bool {
        match self.admission {
            Admission::Closed => true,
            Admission::Down(_) if !request.wait_for_ready => true,
            Admission::Open | Admission::Down(_) => self.fits(request.len()),
        }
    }

    /// Counts a request that comes in, at whichever end.
    fn add(&mut self, request: &Outgoing) {
        self.bytes += request.len();
        let earliest = self.earliest.map_or(request.deadline, |earliest| earliest.min(request.deadline));
        self.earliest = Some(earliest);
    }

    fn append(&mut self, request: &mut Outgoing) {
        self.add(request);
        if request.place == 0 {
            self.taken += 1;
            request.place = self.taken;
        }
        let is_long = self.copied.len() >= BACKLOG;
        let body = match &mut request.body {
            Body::Short(message) if is_long => Body::Shared(Bytes::copy_from_slice(message)),
            Body::Short(message) => {
                self.copied.tail().extend_from_slice(message);
                Body::Copied(message.len())
            }
            // While the peer takes no more, a copy now would save nothing.
            Body::Shared(message) if message.len() < LARGE && !is_long && !self.waits_for_room => {
                self.copied.tail().extend_from_slice(message);
                Body::Copied(message.len())
            }
            body => body.share(),
        };
        self.requests.push_back(Outgoing { body, ..*request });
    }

    fn replace_oldest(&mut self, request: &mut Outgoing) -> Push {
        let mut dropped = Vec::new();
        let mut waker = None;
        while !self.fits(request.len()) {
            let oldest = self.requests.iter().position(Outgoing::droppable);
            let Some(oldest) = oldest.and_then(|index| self.remove(index)) else {
                break;
            };
            dropped.push(oldest);
        }
        if self.fits(request.len()) {
            self.append(request);
            waker = self.wake_for_request();
        } else {
            dropped.push(request.without_body());
        }
        self.counts.dropped += dropped.len() as u64;
        Push::Dropped(dropped, waker)
    }

    /// Lets `encode` append a reply or control message, unless the stream is gone. It always has room: what
    /// bounds the replies is that no further requests are handled while many wait.
    pub(crate) fn push_reply(&mut self, encode: impl FnOnce(&mut BytesMut)) -> Option<Waker> {
        if self.gone {
            return None;
        }
        self.replies.append(encode);
        self.driver.take()
    }

    /// The size of the requests that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn reply_bytes(&self) -> usize {
        self.replies.len()
    }

    /// Takes the replies that wait.
    pub(crate) fn take_replies(&mut self) -> BytesMut {
        self.replies.take()
    }

    /// Takes the requests at the front that are at most `room` long in all; the first even if it is longer, if `any` length
    /// will do. Gives the bytes of those that were copied.
    pub(crate) fn take(&mut self, room: usize, any: bool, taken: &mut VecDeque<Outgoing>) -> BytesMut {
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
        self.counts.sent += taken.len() as u64;
        copied
    }

    /// Takes the request at the front.
    #[cfg(test)]
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let mut request = self.requests.pop_front()?;
        if let Body::Copied(len) = request.body {
            request.body = Body::Short(self.copied.take_front(len));
        }
        self.bytes -= request.len();
        self.counts.sent += 1;
        Some(request)
    }

    /// A request that was popped is not sent after all.
    pub(crate) fn unsent(&mut self) {
        self.counts.sent -= 1;
        self.counts.failed += 1;
    }

    /// Puts requests that were sent back in front of all others, in their order.
    pub(crate) fn requeue(&mut self, requests: impl Iterator<Item = Outgoing>) {
        let (waiting, copied) = (mem::take(&mut self.requests), self.copied.take());
        for mut request in requests {
            self.counts.sent -= 1;
            request.sent_before = true;
            self.append(&mut request);
        }
        self.requests.extend(waiting);
        self.copied.put_back(copied);
    }

    /// Withdraws a request that was not sent yet.
    pub(crate) fn withdraw(&mut self, id: MessageId) -> bool {
        let Some(index) = self.requests.iter().position(|request| request.id == id) else {
            return false;
        };
        self.remove(index);
        self.counts.failed += 1;
        true
    }

    /// From now on requests that do not want to wait are refused. Gives back those that do not.
    pub(crate) fn go_down(&mut self, source: Option<Source>) -> Vec<Outgoing> {
        if self.is_closed() {
            return Vec::new();
        }
        self.admission = Admission::Down(source);
        let failed = self.take_out(|request| !request.wait_for_ready);
        self.counts.failed += failed.len() as u64;
        failed
    }

    pub(crate) fn go_up(&mut self) {
        if matches!(self.admission, Admission::Down(_)) {
            self.admission = Admission::Open;
        }
    }

    /// Takes no more requests. What waits, and replies, may still be written.
    pub(crate) fn close(&mut self) -> Option<Waker> {
        self.admission = Admission::Closed;
        self.driver.take()
    }

    /// Takes out everything that waits: it is not going to be sent.
    pub(crate) fn clear(&mut self) -> Vec<Outgoing> {
        self.gone = true;
        self.replies.clear();
        let failed = self.take_out(|_| true);
        self.counts.failed += failed.len() as u64;
        failed
    }

    /// The driver is at work and looks at the queue before it waits again: it need not be woken.
    pub(crate) fn unpark(&mut self) {
        self.driver = None;
        self.waits_for_room = false;
    }

    /// The driver waits until the peer takes more, and else to be woken for other things than requests.
    pub(crate) fn park_for_room(&mut self, waker: &Waker) {
        self.park(waker);
        self.waits_for_room = true;
    }

    fn wake_for_request(&mut self) -> Option<Waker> {
        if self.waits_for_room { None } else { self.driver.take() }
    }

    /// The driver has nothing to do and waits to be woken.
    pub(crate) fn park(&mut self, waker: &Waker) {
        self.waits_for_room = false;
        if !self.driver.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.driver = Some(waker.clone());
        }
    }

    pub(crate) fn wake(&mut self) -> Option<Waker> {
        self.driver.take()
    }
}

#[cfg(test)]
mod tests;
