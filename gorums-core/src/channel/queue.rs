//! What waits to be written to one node: bounded, in order, and counted.
//!
//! Pure: no lock, no clock, no I/O. [`Channel`](super::Channel) keeps it behind a lock.

mod buffer;
mod lane;
mod request;

use std::collections::VecDeque;
use std::task::Waker;

use bytes::BytesMut;
use tokio::time::Instant;

use self::buffer::Buffer;
use self::lane::{Keep, Lane};
pub(crate) use self::request::{Awaits, Body, LARGE, LocalRequest, Outgoing};
pub use self::request::{Overflow, Priority, QueueCounts, QueueLimits};
use crate::error::{NodeErrorKind, Source};
use crate::id::MessageId;

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
    /// There is no room for it, and it is to wait for some. It is not counted before it is offered again, or
    /// [given up](Queue::gave_up).
    Full,
    /// It was not taken.
    Refused(NodeErrorKind, Option<Source>),
}

/// The fields that each request changes are next to one another: threads pass the queue to one another all the time, and
/// each cache line costs them a tenth of a microsecond.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Queue {
    normal: Lane,
    driver: Option<Waker>,
    /// The driver waits until the peer takes more. It hears of that elsewhere, and further requests need not wake it.
    waits_for_room: bool,
    /// The stream is gone, and with it the way for replies.
    gone: bool,
    admission: Admission,
    limits: QueueLimits,
    counts: QueueCounts,
    /// Replies and control messages, encoded one behind the other. They pass the requests.
    replies: Buffer,
    /// Requests that pass the normal ones.
    control: Lane,
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        let queued = (self.normal.len() + self.control.len()) as u64;
        QueueCounts { queued, queued_bytes: self.bytes() as u64, ..self.counts }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.admission, Admission::Closed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.control.is_empty() && self.replies.is_empty()
    }

    fn lane(&mut self, priority: Priority) -> &mut Lane {
        match priority {
            Priority::Normal => &mut self.normal,
            Priority::Control => &mut self.control,
        }
    }

    #[inline]
    fn fits(&self, request: &Outgoing) -> bool {
        match request.priority {
            Priority::Normal => self.normal.fits(request.len(), self.limits),
            Priority::Control => self.control.fits(request.len(), self.limits),
        }
    }

    fn append(&mut self, request: &mut Outgoing) {
        match request.priority {
            Priority::Normal if self.waits_for_room => self.normal.append(request, Keep::CopiedIfShort),
            Priority::Normal => self.normal.append(request, Keep::Copied),
            Priority::Control => self.control.append(request, Keep::Apart),
        }
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
        if !self.fits(request) {
            self.expire(now);
            let limits = self.limits;
            self.counts.dropped += self.lane(request.priority).evict(request.len(), limits) as u64;
        }
        request.place = 0;
        if self.fits(request) {
            self.append(request);
            return Push::Queued(self.wake_for_request());
        }
        match request.overflow {
            Overflow::DropNewest => {
                self.counts.dropped += 1;
                Push::Dropped(vec![request.without_body()], None)
            }
            Overflow::DropOldest => self.replace_oldest(request),
            Overflow::Wait => {
                self.counts.offered -= 1;
                Push::Full
            }
            Overflow::Fail => {
                self.counts.failed += 1;
                Push::Refused(NodeErrorKind::QueueFull, None)
            }
        }
    }

    /// A request that was to wait for room was given up before there was any.
    pub(crate) fn gave_up(&mut self) {
        self.counts.offered += 1;
        self.counts.failed += 1;
    }

    /// Removes the requests whose deadlines have passed: their callers know by themselves.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.counts.failed += (self.normal.expire(now) + self.control.expire(now)) as u64;
    }

    /// The call of a request, which got this place or else 0, has succeeded without it.
    pub(crate) fn leave(&mut self, id: MessageId, place: u64) {
        if !self.normal.leave(id, place) && !self.control.is_empty() {
            self.control.leave(id, place);
        }
    }

    /// Whether a request would be taken now, or refused for good.
    pub(crate) fn has_room(&self, request: &Outgoing) -> bool {
        match self.admission {
            Admission::Closed => true,
            Admission::Down(_) if !request.wait_for_ready => true,
            Admission::Open | Admission::Down(_) => self.fits(request),
        }
    }

    fn replace_oldest(&mut self, request: &mut Outgoing) -> Push {
        let limits = self.limits;
        let mut dropped = self.lane(request.priority).drop_oldest(request.len(), limits);
        let mut waker = None;
        if self.fits(request) {
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
        self.normal.bytes() + self.control.bytes()
    }

    pub(crate) fn reply_bytes(&self) -> usize {
        self.replies.len()
    }

    /// Takes the replies that wait.
    pub(crate) fn take_replies(&mut self) -> BytesMut {
        self.replies.take()
    }

    /// Takes requests that are at most `room` long in all, those of control first; the first even if it is longer, if `any`
    /// length will do. Gives the bytes of those that were copied.
    pub(crate) fn take(&mut self, room: usize, any: bool, taken: &mut VecDeque<Outgoing>) -> BytesMut {
        let mut left = Some(room);
        if !self.control.is_empty() {
            let before = self.control.bytes();
            self.control.take(room, any, taken);
            // Nothing passes what is left of it.
            left = room.checked_sub(before).filter(|_| self.control.is_empty());
        }
        let copied = left.map_or_else(BytesMut::new, |room| self.normal.take(room, any, taken));
        self.counts.sent += taken.len() as u64;
        copied
    }

    /// Takes the request at the front.
    #[cfg(test)]
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let request = self.control.pop().or_else(|| self.normal.pop())?;
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
        let (control, normal): (Vec<_>, Vec<_>) =
            requests.partition(|request| request.priority == Priority::Control);
        self.counts.sent -= (control.len() + normal.len()) as u64;
        let keep = if self.waits_for_room { Keep::CopiedIfShort } else { Keep::Copied };
        self.normal.requeue(normal, keep);
        self.control.requeue(control, Keep::Apart);
    }

    /// Withdraws a request that was not sent yet.
    pub(crate) fn withdraw(&mut self, id: MessageId) -> bool {
        let withdrawn = self.normal.withdraw(id) || self.control.withdraw(id);
        self.counts.failed += u64::from(withdrawn);
        withdrawn
    }

    /// Takes out some requests, wherever they are: they have failed.
    fn fail(&mut self, which: impl Fn(&Outgoing) -> bool) -> Vec<Outgoing> {
        let mut failed = self.control.take_out(&which);
        failed.append(&mut self.normal.take_out(&which));
        self.counts.failed += failed.len() as u64;
        failed
    }

    /// From now on requests that do not want to wait are refused. Gives back those that do not.
    pub(crate) fn go_down(&mut self, source: Option<Source>) -> Vec<Outgoing> {
        if self.is_closed() {
            return Vec::new();
        }
        self.admission = Admission::Down(source);
        self.fail(|request| !request.wait_for_ready)
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
        self.fail(|_| true)
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
