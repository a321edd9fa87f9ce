//! The terminal that runs a quorum rule.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::call::description::Description;
use crate::call::flight::Call;
use crate::call::intercept::Received;
use crate::call::replies::Replies;
use crate::call::staged::Staged;
use crate::error::{NodeError, QuorumError, QuorumErrorKind};
use crate::quorum::{QuorumRule, Reason, Verdict};

/// A quorum call with a quorum rule, sent when it is first polled.
///
/// # Errors
///
/// As those of [`Decide`].
///
/// # Cancel safety
///
/// As that of [`QuorumFuture`](crate::QuorumFuture).
#[must_use = "futures do nothing unless awaited"]
pub struct DecideFuture<Req: 'static, Resp: 'static, R> {
    described: Option<(Description<Req, Resp>, R)>,
    grace: Duration,
    sent: Option<Decide<Resp, R>>,
}

impl<Req, Resp, R: QuorumRule<Resp>> DecideFuture<Req, Resp, R> {
    pub(crate) fn new(description: Description<Req, Resp>, rule: R) -> Self {
        Self { described: Some((description, rule)), grace: Duration::ZERO, sent: None }
    }

    /// As [`Decide::grace`].
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }
}

impl<Req, Resp, R> Unpin for DecideFuture<Req, Resp, R> {}

impl<Req, Resp, R: QuorumRule<Resp>> Future for DecideFuture<Req, Resp, R> {
    type Output = Result<R::Output, QuorumError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some((description, rule)) = self.described.take() {
            let grace = self.grace;
            self.sent = Some(Decide::new(Replies::new(description.start_each()), rule).grace(grace));
        }
        match &mut self.sent {
            Some(sent) => Pin::new(sent).poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<Req: fmt::Debug, Resp, R> fmt::Debug for DecideFuture<Req, Resp, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecideFuture").field("grace", &self.grace).finish_non_exhaustive()
    }
}

/// Resolves when a quorum rule has decided; or when it no longer can, or the deadline has passed.
///
/// # Errors
///
/// [`QuorumErrorKind::Incomplete`] when the rule finds the result out of reach, with the
/// [reason](QuorumError::reason), or when every node has answered and it still needs more;
/// [`QuorumErrorKind::DeadlineExceeded`] at the deadline; [`QuorumErrorKind::Cancelled`] if a handler made the call and
/// nobody waits for that any more.
///
/// # Cancel safety
///
/// Dropping it gives the call up: it is removed everywhere, and nodes that support it are told.
#[must_use = "futures do nothing unless awaited"]
pub struct Decide<Resp, R> {
    replies: Replies<Resp>,
    /// Taken when there is a result.
    rule: Option<R>,
    /// What the rule has said last; nothing before it was told the nodes.
    verdict: Option<Verdict>,
    grace: Duration,
    grace_ends: Option<Pin<Box<Sleep>>>,
    errors: Vec<NodeError>,
}

impl<Resp, R> Decide<Resp, R> {
    pub(crate) fn new(replies: Replies<Resp>, rule: R) -> Self {
        let (grace, errors) = (Duration::ZERO, Vec::new());
        Self { replies, rule: Some(rule), verdict: None, grace, grace_ends: None, errors }
    }

    /// Once the rule has decided, gathers stragglers for so long before it gives the result: until every node has replied or
    /// failed, and never beyond the deadline of the call. What they say can only add to the result.
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }
}

impl<Resp, R: QuorumRule<Resp>> Decide<Resp, R> {
    /// Takes replies until there is a final verdict and the grace period is over, or no more replies come.
    fn poll_replies(&mut self, rule: &mut R, cx: &mut Context<'_>) -> Poll<()> {
        if self.verdict.is_none() {
            let call = self.replies.call();
            let nodes: Vec<_> = (0..call.size()).map(|target| call.node(target)).collect();
            self.verdict = Some(rule.begin(&nodes));
        }
        loop {
            let is_over = match self.verdict {
                Some(Verdict::Impossible(_)) => true,
                Some(Verdict::Decided) => self.is_grace_over(cx),
                Some(Verdict::Undecided) | None => false,
            };
            if is_over {
                return Poll::Ready(());
            }
            let reply = match self.replies.poll_received(cx) {
                Poll::Ready(Some((node, Received::Given(reply)))) => (node, reply),
                Poll::Ready(Some((node, Received::LeftOut(error)))) => (node, Err(error)),
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            };
            self.errors.extend(reply.1.as_ref().err().cloned());
            let verdict = rule.reply(reply.0, reply.1);
            if self.verdict == Some(Verdict::Undecided) {
                self.verdict = Some(verdict);
            }
        }
    }

    fn is_grace_over(&mut self, cx: &mut Context<'_>) -> bool {
        let (successes, failures) = self.replies.counts();
        if self.grace.is_zero() || successes + failures >= self.replies.size() {
            return true;
        }
        let grace = self.grace;
        self.grace_ends.get_or_insert_with(|| Box::pin(sleep(grace))).as_mut().poll(cx).is_ready()
    }

    fn fail(&mut self, reason: Option<Reason>) -> QuorumError {
        let (mut successes, _) = self.replies.counts();
        let mut nodes = std::mem::take(&mut self.errors);
        for (_, received) in self.replies.close() {
            match received {
                Received::Given(Ok(_)) => successes += 1,
                Received::Given(Err(error)) | Received::LeftOut(error) => nodes.push(error),
            }
        }
        let call = self.replies.call_mut();
        let (kind, rest) = QuorumErrorKind::Incomplete.given(&nodes);
        nodes.extend(call.unsettled(&rest).into_iter().map(|(_, error)| error));
        let error = call.quorum_error(kind, (0, successes), nodes);
        call.end();
        error.because(reason)
    }
}

impl<Resp, R> Unpin for Decide<Resp, R> {}

impl<Resp, R: QuorumRule<Resp>> Staged for Decide<Resp, R> {
    type Resp = Resp;

    fn call(&self) -> &Call<Resp> {
        self.replies.call()
    }

    fn counts(&self) -> (usize, usize) {
        self.replies.counts()
    }
}

impl<Resp, R: QuorumRule<Resp>> Future for Decide<Resp, R> {
    type Output = Result<R::Output, QuorumError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(mut rule) = this.rule.take() else { return Poll::Pending };
        if this.poll_replies(&mut rule, cx).is_pending() {
            this.rule = Some(rule);
            return Poll::Pending;
        }
        let reason = match this.verdict.take() {
            Some(Verdict::Impossible(reason)) => Some(reason),
            _ => None,
        };
        match rule.output().filter(|_| reason.is_none()) {
            Some(value) => {
                this.replies.call_mut().reached();
                Poll::Ready(Ok(value))
            }
            None => Poll::Ready(Err(this.fail(reason))),
        }
    }
}

impl<Resp, R> fmt::Debug for Decide<Resp, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decide")
            .field("replies", &self.replies)
            .field("verdict", &self.verdict)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
