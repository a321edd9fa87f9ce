//! A reply that improves while more of them arrive.
//!
//! After "Incremental Consistency Guarantees for Replicated Objects" (Guerraoui, Pavlovic, Seredinschi,
//! OSDI 2016), as in Go Gorums: the level is the number of replies so far.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::task::noop_waker_ref;

use crate::call::intercept::Received;
use crate::call::replies::Replies;
use crate::error::{NodeError, QuorumError, QuorumErrorKind};

/// A call whose result improves with each reply: the *level* is the number of successful replies so far, and
/// the value is that of the latest.
///
/// Nothing runs in the background: what has arrived is looked at when one of the methods is called. Dropping
/// it gives the call up.
#[must_use = "dropping it gives the call up"]
pub struct Correctable<Resp> {
    replies: Option<Replies<Resp>>,
    method: &'static str,
    size: usize,
    target: usize,
    level: usize,
    latest: Option<Resp>,
    failures: Vec<NodeError>,
    error: Option<QuorumError>,
}

impl<Resp> Correctable<Resp> {
    pub(crate) fn new(replies: Replies<Resp>, target: usize) -> Self {
        // Interceptors are to see every reply.
        if !replies.call().is_intercepted() {
            replies.call().keep_newest();
        }
        let (method, size) = (replies.call().method(), replies.size());
        Self {
            replies: Some(replies),
            method,
            size,
            target,
            level: 0,
            latest: None,
            failures: Vec::new(),
            error: None,
        }
    }

    /// The number of successful replies so far; it never falls. 0 before the first.
    pub fn level(&mut self) -> usize {
        self.look();
        self.level
    }

    /// The latest reply; `None` before the first.
    pub fn latest(&mut self) -> Option<&Resp> {
        self.look();
        self.latest.as_ref()
    }

    /// Whether the last level was reached or can no longer be.
    pub fn is_done(&mut self) -> bool {
        self.look();
        self.replies.is_none()
    }

    /// Waits until the level is at least `level`, and gives the latest reply.
    ///
    /// # Errors
    ///
    /// The call ended before: the deadline passed, every node has answered or failed, or the last level of
    /// the call is lower.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again; no reply is lost.
    pub async fn wait_for(&mut self, level: usize) -> Result<&Resp, QuorumError> {
        let level = level.max(1);
        poll_fn(|cx| self.poll_until(cx, level)).await;
        match &self.latest {
            Some(latest) if self.level >= level => Ok(latest),
            _ => Err(self.error.clone().unwrap_or_else(|| self.failure(level))),
        }
    }

    /// Waits until the last level is reached, and gives the latest reply.
    ///
    /// # Errors
    ///
    /// The call ended before: the deadline passed, or every node has answered or failed.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again; no reply is lost.
    pub async fn done(&mut self) -> Result<&Resp, QuorumError> {
        self.wait_for(self.target).await
    }

    fn failure(&self, needed: usize) -> QuorumError {
        let (kind, _) = QuorumErrorKind::Incomplete.given(&self.failures);
        QuorumError::new(kind, self.method, (needed, self.level, self.size), self.failures.clone())
    }

    fn look(&mut self) {
        let _ = self.poll_until(&mut Context::from_waker(noop_waker_ref()), usize::MAX);
    }

    /// Takes replies until the level is reached or the call has ended.
    fn poll_until(&mut self, cx: &mut Context<'_>, level: usize) -> Poll<()> {
        while self.level < level {
            let Some(replies) = &mut self.replies else { return Poll::Ready(()) };
            if !replies.call().is_streaming() && replies.size() < self.failures.len() + self.target {
                self.end();
                return Poll::Ready(());
            }
            match replies.poll_received(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some((_, received))) => self.take(received),
                Poll::Ready(None) => self.end(),
            }
        }
        Poll::Ready(())
    }

    fn take(&mut self, received: Received<Resp>) {
        match received {
            Received::Given(Ok(value)) => {
                let dropped = self.replies.as_ref().filter(|replies| !replies.call().is_intercepted());
                let replaced = dropped.map_or(0, Replies::take_dropped);
                self.level += 1 + replaced;
                self.latest = Some(value);
                if self.level >= self.target
                    && let Some(mut replies) = self.replies.take()
                {
                    replies.call_mut().reached();
                }
            }
            Received::Given(Err(error)) | Received::LeftOut(error) => self.failures.push(error),
        }
    }

    fn end(&mut self) {
        let Some(mut replies) = self.replies.take() else { return };
        replies.close().for_each(|(_, received)| self.take(received));
        let (_, rest) = QuorumErrorKind::Incomplete.given(&self.failures);
        let unsettled = replies.call().unsettled(&rest);
        self.failures.extend(unsettled.into_iter().map(|(_, error)| error));
        let error = self.failure(self.target);
        replies.call_mut().came_to(error.kind().into());
        self.error = Some(error);
        replies.call_mut().end();
    }
}

impl<Resp: fmt::Debug> fmt::Debug for Correctable<Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Correctable")
            .field("level", &self.level)
            .field("target", &self.target)
            .field("latest", &self.latest)
            .finish_non_exhaustive()
    }
}
