//! Calls that are made to the leader for a client of this node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gorums::{ErrorClass, NodeError, NodeErrorKind, RpcFuture};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::error::Error;
use crate::network::{Lane, Peers};
use crate::node::breaker::{CircuitBreaker, Leader, Pass, Refused, Verdict};
use crate::node::budget::RetryBudget;
use crate::node::leadership::Leadership;
use crate::proto::{LeaderHint, Member};

/// What is left to this node of the caller's time, to tell the caller what the leader said.
pub(crate) const MARGIN: Duration = Duration::from_millis(20);
/// A leader that has not answered a call with less time than this is not yet counted as one that does not answer.
const PATIENCE: Duration = Duration::from_millis(200);
/// The pause before a call is made again.
const PAUSE: Duration = Duration::from_millis(20);

/// Forwards calls to the leader.
#[derive(Debug)]
pub(crate) struct Forwarder {
    peers: Arc<Peers>,
    breaker: Mutex<CircuitBreaker>,
    budget: Mutex<RetryBudget>,
    /// Changes when the breaker may have changed its mind.
    settled: watch::Sender<u64>,
    leadership: watch::Receiver<Leadership>,
    attempts: Mutex<Attempts>,
}

/// Calls that were made to leaders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    pub(crate) made: u64,
    pub(crate) failed: u64,
}

/// What to do with a call next.
pub(crate) enum Way {
    /// This node leads, or believes so.
    Here,
    /// It has to be made there.
    There(Leader, LeaderHint),
}

impl Forwarder {
    pub(crate) fn new(peers: Arc<Peers>, leadership: watch::Receiver<Leadership>) -> Self {
        Self {
            peers,
            breaker: Mutex::default(),
            budget: Mutex::default(),
            settled: watch::Sender::new(0),
            leadership,
            attempts: Mutex::default(),
        }
    }

    pub(crate) fn attempts(&self) -> Attempts {
        *self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.breaker().is_open()
    }

    fn breaker(&self) -> MutexGuard<'_, CircuitBreaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, RetryBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a new call.
    pub(crate) fn begin(&self) {
        self.budget().deposit();
    }

    /// Where the leader is. Waits until one is known.
    pub(crate) async fn way(&self, deadline: Instant) -> Result<Way, Error> {
        let mut leadership = self.leadership.clone();
        let known = leadership.wait_for(|now| !matches!(now, Leadership::Following { leader: None, .. }));
        let none = || Error::NotLeader { leader: None };
        let now = timeout_at(deadline, known).await.map_err(|_| none())?;
        let now = now.map_err(|_| Error::Stopped("the node has stopped".into()))?;
        Ok(now.other().map_or(Way::Here, |(leader, hint)| Way::There(leader, hint.clone())))
    }

    /// Waits until a call that failed may be made again. Gives the error back if it may not.
    pub(crate) async fn again(&self, error: Error, deadline: Instant) -> Result<(), Error> {
        let retriable = match error.class() {
            ErrorClass::Transient => !matches!(error, Error::Overloaded | Error::Unconfirmed),
            ErrorClass::SteppedDown => true,
            ErrorClass::Permanent => false,
        };
        let at = Instant::now() + PAUSE;
        if !retriable || at >= deadline || !self.budget().withdraw() {
            return Err(error);
        }
        let mut leadership = self.leadership.clone();
        leadership.mark_unchanged();
        tokio::select! {
            biased;
            _ = leadership.changed() => {}
            () = sleep_until(at) => {}
        }
        Ok(())
    }

    /// Makes one call to the leader, when the circuit breaker lets it pass. `None` if there is another leader by then.
    pub(crate) async fn call<T>(
        &self,
        leader: Leader,
        hint: &LeaderHint,
        deadline: Instant,
        call: impl FnOnce(gorums::Node, Duration) -> RpcFuture<T>,
    ) -> Option<Result<T, Error>> {
        let unreachable = || Error::Unreachable { leader: hint.clone() };
        let pass = match self.pass(leader, deadline).await {
            Ok(pass) => pass?,
            Err(()) => return Some(Err(unreachable())),
        };
        // Whoever drops this future cancels the call.
        let mut settling = Settling { forwarder: self, pass: Some(pass), verdict: Verdict::Cancelled };
        let member = Member { address: hint.address.clone() };
        let Some(node) = self.peers.node(leader.id, &member, Lane::Service) else {
            settling.verdict = Verdict::Failed;
            return Some(Err(unreachable()));
        };
        let time = deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let result = call(node, time).await;
        settling.verdict = verdict(&result, time);
        Some(result.map_err(|error| match error.kind() {
            NodeErrorKind::Unavailable | NodeErrorKind::QueueFull => unreachable(),
            _ => Error::of_call(error),
        }))
    }

    /// Waits for the circuit breaker. `Ok(None)` if there is another leader by then, and an error at the deadline.
    async fn pass(&self, leader: Leader, deadline: Instant) -> Result<Option<Pass>, ()> {
        let mut leadership = self.leadership.clone();
        let mut settled = self.settled.subscribe();
        loop {
            settled.mark_unchanged();
            if leadership.borrow_and_update().other().is_none_or(|(now, _)| now != leader) {
                return Ok(None);
            }
            let until = match self.breaker().admit(leader, Instant::now()) {
                Ok(pass) => return Ok(Some(pass)),
                Err(Refused::Until(until)) => until.min(deadline),
                Err(Refused::Probing) => deadline,
            };
            tokio::select! {
                biased;
                () = sleep_until(until) => if until == deadline { return Err(()) },
                // The sender is a part of this.
                _ = settled.changed() => {}
                changed = leadership.changed() => if changed.is_err() { return Err(()) },
            }
        }
    }
}

/// Whether a leader answered. What it said does not matter.
fn verdict<T>(result: &Result<T, NodeError>, time: Duration) -> Verdict {
    match result.as_ref().map_err(NodeError::kind) {
        Ok(_) | Err(NodeErrorKind::Status(_)) => Verdict::Answered,
        Err(NodeErrorKind::Unavailable | NodeErrorKind::ConnectionLost) => Verdict::Failed,
        Err(NodeErrorKind::DeadlineExceeded) if time >= PATIENCE => Verdict::Failed,
        Err(_) => Verdict::Cancelled,
    }
}

/// Tells the breaker what became of a call, also when nobody waits for it any more.
struct Settling<'f> {
    forwarder: &'f Forwarder,
    pass: Option<Pass>,
    verdict: Verdict,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        let Some(pass) = self.pass.take() else { return };
        self.forwarder.breaker().settle(pass, self.verdict, Instant::now());
        let mut attempts = self.forwarder.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.made += 1;
        attempts.failed += u64::from(self.verdict == Verdict::Failed);
        drop(attempts);
        self.forwarder.settled.send_modify(|count| *count += 1);
    }
}
