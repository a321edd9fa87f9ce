//! Waiting for a quorum that is counted.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::call::flight::Call;
use crate::call::intercept::Received;
use crate::call::staged::Staged;
use crate::call::tally::{Outcome, Quorum, Tally};
use crate::error::{NodeError, NodeErrorKind, QuorumError, QuorumErrorKind};
use crate::router::entry::{Look, RawReplies};

pin_project! {
    /// Resolves when a quorum has replied, to the first reply that arrived; or when that is impossible, or
    /// the deadline has passed.
    ///
    /// # Errors
    ///
    /// [`QuorumErrorKind::Incomplete`] as soon as too many nodes have failed, [`QuorumErrorKind::DeadlineExceeded`] at
    /// the deadline, and [`QuorumErrorKind::Cancelled`] if a handler made the call and nobody waits for that any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the call up: it is removed everywhere, and nodes that support it are told.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Reach<Resp> {
        call: Call<Resp>,
        #[pin]
        deadline: Deadline,
        failure: QuorumErrorKind,
        progress: Counted<Resp>,
    }
}

pin_project! {
    /// Resolves when a call has to end: at its deadline, if it has one, or when nobody waits any more for the handler
    /// that made it.
    pub(crate) struct Deadline {
        #[pin]
        sleep: Option<Sleep>,
        caller_gone: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    }
}

/// Why a call had to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Overdue {
    Deadline,
    CallerGone,
}

impl From<Overdue> for QuorumErrorKind {
    fn from(overdue: Overdue) -> Self {
        match overdue {
            Overdue::Deadline => Self::DeadlineExceeded,
            Overdue::CallerGone => Self::Cancelled,
        }
    }
}

impl From<Overdue> for NodeErrorKind {
    fn from(overdue: Overdue) -> Self {
        match overdue {
            Overdue::Deadline => Self::DeadlineExceeded,
            Overdue::CallerGone => Self::Cancelled,
        }
    }
}

impl Deadline {
    pub(crate) fn of<Resp>(call: &Call<Resp>) -> Self {
        let caller_gone = call.caller().map(|caller| Box::pin(caller.clone().cancelled_owned()));
        Self { sleep: call.deadline().map(sleep_until), caller_gone }
    }
}

impl Future for Deadline {
    type Output = Overdue;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Overdue> {
        let this = self.project();
        if this.sleep.as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready()) {
            return Poll::Ready(Overdue::Deadline);
        }
        match this.caller_gone {
            Some(gone) => gone.as_mut().poll(cx).map(|()| Overdue::CallerGone),
            None => Poll::Pending,
        }
    }
}

/// What has been counted so far: the first reply of each node.
pub(crate) struct Counted<Resp> {
    pub(crate) tally: Tally,
    value: Option<Resp>,
    replies: usize,
    errors: Vec<NodeError>,
    /// Which nodes were counted, in a call in which they may reply more than once.
    seen: Option<Vec<bool>>,
}

impl<Resp> Counted<Resp> {
    pub(crate) fn new<T>(quorum: Quorum, call: &Call<T>) -> Self {
        let seen = call.is_streaming().then(|| vec![false; call.size()]);
        Self { tally: Tally::new(quorum, call.size()), value: None, replies: 0, errors: Vec::new(), seen }
    }

    pub(crate) fn add(&mut self, target: usize, result: Result<Resp, NodeError>) {
        if let Some(seen) = &mut self.seen
            && std::mem::replace(&mut seen[target], true)
        {
            return;
        }
        match result {
            Ok(value) => {
                self.value.get_or_insert(value);
                self.replies += 1;
                self.tally.count(true);
            }
            Err(error) => {
                self.errors.push(error);
                self.tally.count(false);
            }
        }
    }

    /// Counts what the call has got from a node. What was left out is not a success, and has no value.
    pub(crate) fn receive(&mut self, target: usize, received: Received<Resp>) {
        match received {
            Received::Given(result) => self.add(target, result),
            Received::LeftOut(error) => self.add(target, Err(error)),
        }
    }

    /// How many nodes have succeeded, and how many have failed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.replies, self.errors.len())
    }

    /// Ends the call without its quorum. It was closed before.
    fn fail<T>(&mut self, call: &mut Call<T>, kind: QuorumErrorKind) -> QuorumError {
        let mut errors = std::mem::take(&mut self.errors);
        let (kind, rest) = kind.given(&errors);
        errors.extend(call.unsettled(&rest).into_iter().map(|(_, error)| error));
        let error = call.quorum_error(kind, (self.tally.needed(), self.replies), errors);
        call.end();
        error
    }

    /// The same nodes, counted towards another quorum.
    pub(crate) fn continued<T>(self, quorum: Quorum, size: usize) -> Counted<T> {
        let mut tally = Tally::new(quorum, size);
        (0..self.replies).for_each(|_| tally.count(true));
        self.errors.iter().for_each(|_| tally.count(false));
        Counted { tally, value: None, replies: self.replies, errors: self.errors, seen: self.seen }
    }
}

impl<Resp> Reach<Resp> {
    /// Waits for a call that was started with the same tally.
    pub(crate) fn new(call: Call<Resp>, progress: Counted<Resp>, failure: QuorumErrorKind) -> Self {
        let deadline = Deadline::of(&call);
        Self { call, deadline, failure, progress }
    }
}

impl<Resp> Staged for Reach<Resp> {
    type Resp = Resp;

    fn call(&self) -> &Call<Resp> {
        &self.call
    }

    fn counts(&self) -> (usize, usize) {
        self.progress.counts()
    }
}

/// Ends the call. What has come until then still counts, so that no reply is lost between two looks (I6).
fn close<Resp>(
    call: &mut Call<Resp>,
    progress: &mut Counted<Resp>,
    failure: QuorumErrorKind,
) -> Result<Resp, QuorumError> {
    let last = call.close();
    count(call, progress, last);
    // Interceptors may make a reply of the error of a node that is late.
    let late = if failure == QuorumErrorKind::DeadlineExceeded && call.is_intercepted() {
        call.unsettled(&NodeErrorKind::DeadlineExceeded)
    } else {
        Vec::new()
    };
    let late_counted = !late.is_empty();
    for (target, error) in late {
        if let Some(received) = call.pass(target, Err(error)) {
            progress.receive(target, received);
        }
    }
    if let (Outcome::Reached, Some(value)) = (progress.tally.outcome(), progress.value.take()) {
        call.reached();
        return Ok(value);
    }
    if late_counted {
        call.came_to(failure.into());
        call.end();
    }
    Err(progress.fail(call, failure))
}

fn count<Resp>(call: &mut Call<Resp>, progress: &mut Counted<Resp>, replies: RawReplies) {
    for reply in replies {
        let (target, counted_as_success) = (reply.target, reply.result.is_ok());
        let Some(received) = call.receive(reply) else { continue };
        if counted_as_success && !matches!(received, Received::Given(Ok(_))) {
            call.retract();
        }
        progress.receive(target, received);
    }
}

impl<Resp> Future for Reach<Resp> {
    type Output = Result<Resp, QuorumError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (call, progress) = (this.call, this.progress);
        loop {
            match (progress.tally.outcome(), progress.value.take()) {
                (Outcome::Reached, Some(value)) => {
                    call.reached();
                    return Poll::Ready(Ok(value));
                }
                // A message without replies goes to all nodes that take it, whatever happens on others.
                (Outcome::Impossible, _) if *this.failure != QuorumErrorKind::SendFailure => {
                    return Poll::Ready(close(call, progress, *this.failure));
                }
                (_, value) => progress.value = value,
            }
            match call.look(cx.waker()) {
                Look::Replies(replies) => count(call, progress, replies),
                Look::Done => return Poll::Ready(close(call, progress, *this.failure)),
                Look::Wait => {
                    let overdue = ready!(this.deadline.as_mut().poll(cx));
                    return Poll::Ready(close(call, progress, overdue.into()));
                }
            }
        }
    }
}
