//! One call in flight: who still owes a reply, and the replies that the caller has not taken yet.
//!
//! Pure: no lock, no clock, no I/O. The table in [`pending`](super::pending) keeps entries behind locks.

use std::mem;
use std::task::Waker;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::call::tally::{Outcome, Tally};
use crate::error::{Fault, NodeErrorKind};
use crate::node::{Node, Targets};
use crate::payload::Payload;

/// A reply as it came from the target with this index.
#[derive(Debug)]
pub(crate) struct RawReply {
    pub(crate) target: usize,
    pub(crate) result: Result<Payload, Fault>,
}

pub(crate) type RawReplies = SmallVec<[RawReply; 4]>;

/// How far the call has come with one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not offered to the node, so far, by a staged call.
    Held,
    /// Not handed to the transport.
    Queued,
    /// Handed to a connection that broke, and waiting for the next.
    Requeued,
    /// Handed to the connection with this number.
    Sent(u32),
    /// Nothing more is expected.
    Settled,
}

/// What the caller waits for.
#[derive(Debug)]
pub(crate) enum Mode {
    /// One reply from each target; the caller wants to know of each.
    Each,
    /// One reply from each target; the caller wants to know when the tally is decided.
    Counted(Tally),
    /// No replies: a target is settled once the request was handed to its transport. The caller wants to know
    /// when enough are, and else when all are settled: a failure at one target keeps nothing from the others.
    Handover(Tally),
    /// Any number of replies from each target, of which at most `limit` wait to be taken.
    Streaming { limit: usize, overflow: MailboxOverflow },
}

/// What happens when a streaming call's replies come faster than they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailboxOverflow {
    /// The call fails with [`NodeErrorKind::Overrun`] on every node, so that nothing is lost unnoticed.
    Fail,
    /// A newer reply takes the place of an older one of its node. A node of which none waits has room for one all the same, so
    /// that one for each node may wait beyond the limit.
    KeepNewest,
}

/// What came from a target.
#[derive(Debug)]
pub(crate) enum Incoming {
    Reply(Payload),
    Failure(Fault),
    /// A streaming call ended well at this target.
    End,
}

/// What the table has to do after a change.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    /// The change was taken; otherwise it came too late.
    pub(crate) taken: bool,
    /// Whom to wake, with no lock held.
    pub(crate) wake: Option<Waker>,
}

/// One call in flight, or the memory for one.
///
/// Its fields are in the order in which they are used most: threads pass an entry to one another several times in a call,
/// and each cache line of it that they look at costs them a tenth of a microsecond.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Entry {
    targets: Option<Targets>,
    open: u32,
    overrun: bool,
    progress: SmallVec<[Progress; 4]>,
    mode: Mode,
    waker: Option<Waker>,
    started: Started,
    replies: RawReplies,
    dropped: usize,
}

/// What of a call is left when it ends.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// The targets that have not come to an end, and how far the call has come with them.
    pub(crate) open: SmallVec<[(usize, Progress); 4]>,
    pub(crate) is_staged: bool,
    /// The call failed because its replies were not taken in time.
    pub(crate) is_overrun: bool,
}

/// What the caller sees when it looks.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once, and the replies of a usual call need no allocation"
)]
pub(crate) enum Look {
    /// Nothing to report; the waker is kept.
    Wait,
    /// These replies have come since.
    Replies(RawReplies),
    /// Every target is settled and every reply was taken.
    Done,
}

impl Entry {
    /// No call.
    pub(crate) fn vacant() -> Self {
        Self {
            targets: None,
            progress: SmallVec::new(),
            mode: Mode::Each,
            replies: RawReplies::new(),
            open: 0,
            dropped: 0,
            overrun: false,
            started: Started::at(Instant::now()),
            waker: None,
        }
    }

    /// Begins a call, in the memory of the one before it.
    pub(crate) fn begin(&mut self, targets: Targets, mode: Mode, started: Instant) {
        self.open = targets.len() as u32;
        self.progress.resize(targets.len(), Progress::Queued);
        self.targets = Some(targets);
        self.mode = mode;
        self.started = Started::at(started);
    }

    /// Ends the call. Gives what is to be dropped with no lock held.
    pub(crate) fn clear(&mut self) -> impl Sized + use<> {
        self.progress.clear();
        (self.dropped, self.overrun) = (0, false);
        let replies = if self.replies.is_empty() { None } else { Some(mem::take(&mut self.replies)) };
        (self.targets.take(), replies, self.waker.take())
    }

    fn target(&self, target: usize) -> Option<&Node> {
        self.targets.as_ref().map(|targets| targets.get(target))
    }

    /// The index of the target with this ordinal.
    pub(crate) fn position(&self, ordinal: u32) -> Option<usize> {
        self.targets.as_ref()?.position(ordinal)
    }

    /// Whether a target was asked and has not replied.
    pub(crate) fn owes(&self, target: usize) -> bool {
        !matches!(self.progress(target), Progress::Settled | Progress::Held)
    }

    /// The ordinals of the nodes that were asked and have not replied.
    pub(crate) fn owing(&self) -> impl Iterator<Item = u32> {
        let nodes = self.targets.iter().flat_map(Targets::iter).enumerate();
        nodes.filter(|(target, _)| self.owes(*target)).map(|(_, node)| node.channel().ordinal())
    }

    /// Whether there are targets that have not come to an end.
    pub(crate) fn is_open(&mut self) -> bool {
        self.open > 0
    }

    /// What is left of the call.
    pub(crate) fn ended(&mut self) -> Ended {
        let open = self.progress.iter().copied().enumerate();
        let open = open.filter(|(_, progress)| *progress != Progress::Settled).collect();
        if self.is_staged() {
            self.measure_unanswered(Instant::now());
        }
        Ended { open, is_staged: self.is_staged(), is_overrun: self.overrun }
    }

    /// When the call started, if its replies tell of the latency: those of a streaming call do not.
    pub(crate) fn started(&self) -> Option<&Started> {
        (!matches!(self.mode, Mode::Streaming { .. })).then_some(&self.started)
    }

    pub(crate) fn progress(&self, target: usize) -> Progress {
        self.progress.get(target).copied().unwrap_or(Progress::Settled)
    }

    /// The only target that is not settled, if there is exactly one and it was asked.
    pub(crate) fn only_open(&self) -> Option<usize> {
        let open = || self.progress.iter().position(|progress| *progress != Progress::Settled);
        (self.open == 1).then(open).flatten().filter(|&target| self.progress[target] != Progress::Held)
    }

    /// The request is about to be handed to the connection with number `epoch`.
    pub(crate) fn sent(&mut self, target: usize, epoch: u32) -> Effect {
        match self.progress(target) {
            Progress::Settled | Progress::Held => Effect::default(),
            _ if matches!(self.mode, Mode::Handover(_)) => self.settle(target, Ok(Payload::default())),
            _ => {
                self.progress[target] = Progress::Sent(epoch);
                Effect { taken: true, ..Effect::default() }
            }
        }
    }

    /// The request waits again for a connection, if it was handed to that with number `epoch`. False if not.
    pub(crate) fn requeued(&mut self, target: usize, epoch: u32) -> bool {
        let is_out = self.progress(target) == Progress::Sent(epoch);
        if is_out {
            self.progress[target] = Progress::Requeued;
        }
        is_out
    }

    /// Something came from a target. A reply before the request was sent is nobody's.
    pub(crate) fn deliver(&mut self, target: usize, incoming: Incoming, now: Instant) -> Effect {
        if !matches!(self.progress(target), Progress::Sent(_)) {
            return Effect::default();
        }
        if matches!(incoming, Incoming::Reply(_))
            && !matches!(self.mode, Mode::Streaming { .. })
            && let Some(node) = self.target(target)
        {
            node.counters().replied_after(now - self.started.of(node.channel().ordinal()));
        }
        match (incoming, &self.mode) {
            (Incoming::Failure(fault), _) => self.settle(target, Err(fault)),
            (Incoming::End, Mode::Streaming { .. }) => self.end(target),
            (Incoming::Reply(payload), &Mode::Streaming { limit, overflow }) => {
                self.push_streamed(target, payload, limit, overflow)
            }
            (Incoming::Reply(payload), _) => self.settle(target, Ok(payload)),
            (Incoming::End, _) => self.settle(target, Ok(Payload::default())),
        }
    }

    /// The call failed at a target that it was offered to, whatever its progress.
    pub(crate) fn fail(&mut self, target: usize, fault: Fault) -> Effect {
        match self.progress(target) {
            Progress::Settled | Progress::Held => Effect::default(),
            _ => self.settle(target, Err(fault)),
        }
    }

    /// Takes what has come. With a tally, nothing is reported until that is decided.
    pub(crate) fn look(&mut self, waker: &Waker) -> Look {
        let due = self.open == 0
            || match &self.mode {
                Mode::Counted(tally) => tally.outcome() != Outcome::Pending,
                Mode::Handover(tally) => tally.outcome() == Outcome::Reached,
                Mode::Each | Mode::Streaming { .. } => !self.replies.is_empty(),
            };
        if due && !self.replies.is_empty() {
            return Look::Replies(mem::take(&mut self.replies));
        }
        if due {
            return Look::Done;
        }
        if !self.waker.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        Look::Wait
    }

    /// Takes what has come, decided or not.
    pub(crate) fn take_replies(&mut self) -> RawReplies {
        mem::take(&mut self.replies)
    }

    /// A reply that was counted could not be decoded. Gives back what is decided without it.
    pub(crate) fn retract(&mut self) -> Outcome {
        match &mut self.mode {
            Mode::Counted(tally) | Mode::Handover(tally) => {
                tally.retract();
                tally.outcome()
            }
            Mode::Each | Mode::Streaming { .. } => Outcome::Pending,
        }
    }

    /// From now on the caller wants to know when `tally`, which counts what was taken so far, is decided.
    pub(crate) fn count(&mut self, mut tally: Tally) {
        if matches!(self.mode, Mode::Each) {
            for reply in &self.replies {
                tally.count(reply.result.is_ok());
            }
            self.mode = Mode::Counted(tally);
        }
    }

    /// From now on only the newest reply of each target is kept.
    pub(crate) fn keep_newest(&mut self) {
        if let Mode::Streaming { limit, overflow } = &mut self.mode {
            (*limit, *overflow) = (1, MailboxOverflow::KeepNewest);
        }
    }

    /// How many replies of a streaming call were replaced by newer ones before they were taken.
    pub(crate) fn take_dropped(&mut self) -> usize {
        mem::take(&mut self.dropped)
    }

    fn close(&mut self, target: usize) {
        self.progress[target] = Progress::Settled;
        self.open -= 1;
    }

    fn settle(&mut self, target: usize, result: Result<Payload, Fault>) -> Effect {
        self.close(target);
        if let Err(fault) = &result
            && !matches!(fault.kind, NodeErrorKind::Skipped)
            && let Some(node) = self.target(target)
        {
            node.counters().failed(fault.kind.clone());
        }
        let due = match &mut self.mode {
            Mode::Counted(tally) => {
                tally.count(result.is_ok());
                tally.outcome() != Outcome::Pending
            }
            Mode::Handover(tally) => {
                tally.count(result.is_ok());
                tally.outcome() == Outcome::Reached
            }
            Mode::Each | Mode::Streaming { .. } => true,
        };
        self.replies.push(RawReply { target, result });
        let wake = if due || self.open == 0 { self.waker.take() } else { None };
        Effect { taken: true, wake }
    }

    fn end(&mut self, target: usize) -> Effect {
        self.close(target);
        let wake = if self.open == 0 { self.waker.take() } else { None };
        Effect { taken: true, wake }
    }

    fn push_streamed(
        &mut self,
        target: usize,
        payload: Payload,
        limit: usize,
        overflow: MailboxOverflow,
    ) -> Effect {
        let full = self.replies.len() >= limit;
        let reply = RawReply { target, result: Ok(payload) };
        match overflow {
            MailboxOverflow::Fail if full => return self.overrun(),
            MailboxOverflow::KeepNewest if full => {
                let older = self.replies.iter().position(|old| old.target == target && old.result.is_ok());
                if let Some(older) = older {
                    self.replies.remove(older);
                    self.dropped += 1;
                }
                self.replies.push(reply);
            }
            _ => self.replies.push(reply),
        }
        Effect { taken: true, wake: self.waker.take() }
    }

    fn overrun(&mut self) -> Effect {
        self.overrun = true;
        for target in 0..self.progress.len() {
            if self.progress[target] != Progress::Settled {
                self.close(target);
                let result = Err(Fault::sent(NodeErrorKind::Overrun, None));
                self.replies.push(RawReply { target, result });
            }
        }
        Effect { taken: true, wake: self.waker.take() }
    }
}

mod staged;
#[cfg(test)]
mod tests;

pub(crate) use self::staged::Started;
