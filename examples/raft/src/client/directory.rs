//! The nodes that a client knows, and who of them leads.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gorums::{Configuration, Node};
use rand::RngExt;

use crate::chance::Chance;
use crate::proto::LeaderHint;

/// What a client knows of the cluster. All connections have the options that the client was made with: a hint cannot lead
/// from TLS to none.
#[derive(Debug)]
pub(crate) struct Directory {
    chance: Chance,
    known: Mutex<Known>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Known {
    configuration: Configuration,
    leader: Option<Node>,
    /// Hints of earlier terms are not followed any more.
    term: u64,
}

impl Directory {
    pub(crate) fn new(configuration: Configuration, seed: u64) -> Self {
        let chance = Chance::new(seed ^ 1);
        let next = AtomicUsize::new(chance.rng().random_range(0..configuration.len().max(1)));
        Self { chance, known: Mutex::new(Known { configuration, leader: None, term: 0 }), next }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who leads, as far as is known.
    pub(crate) fn leader(&self) -> Option<Node> {
        self.known().leader.clone()
    }

    /// Follows a hint. False if it says nothing new.
    pub(crate) fn learn(&self, hint: &LeaderHint) -> bool {
        let mut known = self.known();
        if hint.term < known.term {
            return false;
        }
        let is_new = known.leader.as_ref().is_none_or(|leader| leader.address() != hint.address);
        let at_address = known.configuration.iter().find(|node| node.address() == hint.address).cloned();
        let node = at_address.or_else(|| {
            // One that joined later.
            let extended = known.configuration.extend([(hint.node, hint.address.clone())]);
            known.configuration = extended.ok()?;
            known.configuration.node(hint.node).cloned()
        });
        known.leader = node;
        known.term = hint.term;
        is_new && known.leader.is_some()
    }

    /// Does not go to this node as the leader any more, until a hint says so again.
    pub(crate) fn forget(&self, node: &Node) {
        let mut known = self.known();
        if known.leader.as_ref() == Some(node) {
            known.leader = None;
        }
    }

    /// A duration between half of this and this.
    pub(crate) fn jitter(&self, longest: Duration) -> Duration {
        longest.mul_f64(self.chance.rng().random_range(0.5..1.0))
    }

    /// One node after the other.
    pub(crate) fn next(&self) -> Node {
        let known = self.known();
        let nodes = known.configuration.nodes();
        nodes[self.next.fetch_add(1, Relaxed) % nodes.len()].clone()
    }

    /// A configuration of the next node alone.
    pub(crate) fn one(&self) -> Configuration {
        let next = self.next();
        self.known().configuration.only([next.id()])
    }

    pub(crate) fn node(&self, id: u32) -> Option<Node> {
        self.known().configuration.node(id).cloned()
    }

    pub(crate) fn nodes(&self) -> Vec<(u32, String)> {
        self.known().configuration.iter().map(|node| (node.id().get(), node.address().to_owned())).collect()
    }

    pub(crate) async fn close(&self) {
        let configuration = self.known().configuration.clone();
        configuration.close().await;
    }
}
