//! Whom to ask, and how often.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gorums::{Configuration, ErrorClass, Node, NodeId};
use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::client::Timestamps;
use crate::error::Error;
use crate::proto::{LeaderHint, TimestampsRequest, TsoNodeClient};

/// The pause before the second attempt at most, which doubles; half of it is jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// The least time for one attempt, if there is as much: a node that does not answer is not to use all of it up.
const LEAST_TIME: Duration = Duration::from_millis(500);

/// The nodes, and who leads, as far as they have said.
#[derive(Debug)]
pub(crate) struct Route {
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    configuration: Configuration,
    leader: Option<NodeId>,
    /// The latest term that was heard of: nothing of an earlier one counts.
    epoch: u64,
    /// Who is asked next if no leader is known.
    next: usize,
}

impl Route {
    pub(crate) fn new(configuration: Configuration) -> Self {
        // Clients that begin at once do not all ask the same node.
        let next = rand::rng().random_range(0..1024);
        Self { known: Mutex::new(Known { configuration, leader: None, epoch: 0, next }) }
    }

    /// Asks for timestamps until some are granted, or no other attempt helps, or the time is over.
    pub(crate) async fn ask(&self, count: u32, deadline: Instant) -> Result<Timestamps, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let node = self.target()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let time = (left / 2).max(LEAST_TIME).min(left);
            let answer = node.get_timestamps(TimestampsRequest { count }).timeout(time).await;
            let error = match answer {
                Ok(granted) if self.answered(&node, granted.epoch) => {
                    return Ok(Timestamps { first: granted.first, count, epoch: granted.epoch });
                }
                // Of a leader that is none any more.
                Ok(_) => Error::NotServing { leader: None },
                Err(error) => Error::of_call(error),
            };
            let followed = match &error {
                Error::NotServing { leader: Some(hint) } => self.learn(&node, hint),
                Error::Exhausted => false,
                Error::ClockBehind { .. } | Error::Invalid(_) => return Err(error),
                Error::Call(call) if call.class() == ErrorClass::Permanent => return Err(error),
                _ => {
                    self.forget(&node);
                    false
                }
            };
            if followed {
                continue;
            }
            let rest = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            pause = (pause * 2).min(LONGEST_PAUSE);
            if Instant::now() + rest >= deadline {
                return Err(error);
            }
            sleep(rest).await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leader if it is known, and else one node after the other.
    fn target(&self) -> Result<Node, Error> {
        let mut known = self.known();
        if let Some(leader) = known.leader.and_then(|leader| known.configuration.node(leader)) {
            return Ok(leader.clone());
        }
        known.next = known.next.wrapping_add(1);
        let nodes = known.configuration.nodes();
        let node = nodes.get(known.next % nodes.len().max(1));
        node.cloned().ok_or_else(|| Error::Invalid("the client has no nodes".into()))
    }

    /// Whether what a node has granted in this term counts: not if a later leader has been heard of.
    fn answered(&self, node: &Node, epoch: u64) -> bool {
        let mut known = self.known();
        let counts = epoch >= known.epoch;
        if counts {
            (known.leader, known.epoch) = (Some(node.id()), epoch);
        } else if known.leader == Some(node.id()) {
            known.leader = None;
        }
        counts
    }

    /// Follows a hint, unless it is older than what is known or says nothing new. A node that is not known yet is connected
    /// to as the others are: over TLS if they are.
    fn learn(&self, told_by: &Node, hint: &LeaderHint) -> bool {
        let mut known = self.known();
        let Ok(id) = NodeId::try_from(hint.node) else { return false };
        if known.leader == Some(told_by.id()) {
            known.leader = None;
        }
        if hint.epoch < known.epoch || id == told_by.id() || known.leader == Some(id) {
            return false;
        }
        if !known.configuration.contains(id) {
            match known.configuration.extend([(hint.node, hint.address.clone())]) {
                Ok(extended) => known.configuration = extended,
                Err(error) => {
                    tracing::debug!("a hint that cannot be followed: {error}");
                    return false;
                }
            }
        }
        (known.leader, known.epoch) = (Some(id), hint.epoch);
        true
    }

    fn forget(&self, node: &Node) {
        let mut known = self.known();
        if known.leader == Some(node.id()) {
            known.leader = None;
        }
    }

    pub(crate) fn node(&self, id: u32) -> Result<Node, Error> {
        let node = NodeId::try_from(id).ok().and_then(|id| self.known().configuration.node(id).cloned());
        node.ok_or_else(|| Error::Invalid(format!("there is no node {id}")))
    }

    pub(crate) fn nodes(&self) -> Vec<(u32, String)> {
        let known = self.known();
        known.configuration.iter().map(|node| (node.id().get(), node.address().to_owned())).collect()
    }

    pub(crate) async fn close(&self) {
        let configuration = self.known().configuration.clone();
        configuration.close().await;
    }
}
