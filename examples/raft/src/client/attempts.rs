//! The attempts of one call.

use std::time::Duration;

use gorums::{ErrorClass, Node, RpcFuture};
use tokio::time::{Instant, sleep};

use crate::client::directory::Directory;
use crate::error::Error;
use crate::proto::Routing;

/// The pause before the second attempt at most, which doubles; half of it is jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The least time for one attempt, if there is as much: a node that does not answer is not to use all of it up.
const LEAST_TIME: Duration = Duration::from_millis(500);

/// Makes a call until it has succeeded, or trying again does not help, or the time is over.
#[derive(Debug)]
pub(crate) struct Attempts<'d> {
    directory: &'d Directory,
    deadline: Instant,
    pause: Duration,
    /// Whether one of the attempts may have taken effect.
    ambiguous: bool,
    /// Whether the node that is asked may ask the leader.
    forward: bool,
    at_the_leader: bool,
}

impl<'d> Attempts<'d> {
    pub(crate) fn new(directory: &'d Directory, deadline: Instant) -> Self {
        Self {
            directory,
            deadline,
            pause: FIRST_PAUSE,
            ambiguous: false,
            forward: false,
            at_the_leader: false,
        }
    }

    /// Of a call that no node forwards.
    pub(crate) fn at_the_leader(mut self) -> Self {
        self.at_the_leader = true;
        self
    }

    pub(crate) async fn run<T>(
        mut self,
        make: impl Fn(&Node, Routing, Duration) -> RpcFuture<T>,
    ) -> Result<T, Error> {
        loop {
            let (node, routing) = self.target();
            let left = self.deadline.saturating_duration_since(Instant::now());
            let time = if self.at_the_leader { left } else { (left / 2).max(LEAST_TIME).min(left) };
            let error = match make(&node, routing, time).await {
                Ok(done) => return Ok(done),
                Err(error) => Error::of_call(error),
            };
            self.ambiguous |= error.is_ambiguous();
            if !self.goes_on(&node, &error) {
                return Err(self.verdict(error));
            }
            let followed =
                matches!(&error, Error::NotLeader { leader: Some(hint) } if self.directory.learn(hint));
            if !followed && !self.rest().await {
                return Err(self.verdict(error));
            }
        }
    }

    /// The leader if it is known; else, or if it did not answer, any node.
    fn target(&self) -> (Node, Routing) {
        match self.directory.leader() {
            Some(leader) if !self.forward => (leader, Routing::Redirect),
            _ if self.forward => (self.directory.next(), Routing::Forward),
            _ => (self.directory.next(), Routing::Redirect),
        }
    }

    /// Whether another attempt may help, and what was learnt for it.
    fn goes_on(&mut self, node: &Node, error: &Error) -> bool {
        match error {
            // The node knows no leader, but may wait for one.
            Error::NotLeader { leader: None } => self.forward = !self.at_the_leader,
            Error::NotLeader { .. } => self.forward = false,
            // Another node may still be well, and may reach the leader.
            Error::Call(_) | Error::Stopped(_) | Error::Unreachable { .. } => {
                self.directory.forget(node);
                self.forward = !self.at_the_leader && !self.forward;
            }
            _ => {}
        }
        matches!(error, Error::Stopped(_)) || error.class() != ErrorClass::Permanent
    }

    /// Pauses, and tells whether there is time for another attempt.
    async fn rest(&mut self) -> bool {
        let pause = self.directory.jitter(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        sleep(pause).await;
        true
    }

    /// What is said of the whole call: that an earlier attempt may have taken effect, if the last one does not say so.
    fn verdict(&self, last: Error) -> Error {
        if self.ambiguous && !last.is_ambiguous() { Error::OutcomeUnknown } else { last }
    }
}
