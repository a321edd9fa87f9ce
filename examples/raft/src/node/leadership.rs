//! Who leads, and whether that is certain: the check that the engine leaves to its user.
//!
//! A leader that is cut off from its followers goes on as leader until it hears of another. Here it counts as one only while
//! a quorum has acknowledged it within the election timeout, the time after which the others may have elected another.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant as _, RaftMetrics, ServerState};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::node::breaker::Leader;
use crate::proto::LeaderHint;
use crate::types::{Id, Raft, Types};

/// Who leads, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leadership {
    /// This node does, confirmed by a quorum within the election timeout.
    Leading {
        /// The term.
        term: u64,
        /// Grows with each time that this node begins to lead, or to be confirmed again. Of this process only: between
        /// nodes, terms are compared.
        epoch: u64,
    },
    /// This node was elected in this term, and no quorum has confirmed it lately.
    Unconfirmed {
        /// The term.
        term: u64,
    },
    /// Another node does, or nobody is known to.
    Following {
        /// Who.
        leader: Option<LeaderHint>,
        /// The term that this node is in.
        term: u64,
    },
}

impl Leadership {
    /// Whether this node leads, for certain.
    pub fn is_leading(&self) -> bool {
        matches!(self, Self::Leading { .. })
    }

    /// The term that this node is in.
    pub fn term(&self) -> u64 {
        match self {
            Self::Leading { term, .. } | Self::Unconfirmed { term } | Self::Following { term, .. } => *term,
        }
    }

    /// The other node that leads, if one is known.
    pub fn other(&self) -> Option<(Leader, &LeaderHint)> {
        match self {
            Self::Following { leader: Some(hint), .. } => {
                Some((Leader { id: hint.node, term: hint.term }, hint))
            }
            _ => None,
        }
    }
}

/// What is known of a node's role at some time.
#[derive(Clone, Debug)]
struct Facts {
    /// The term in which this node was elected, while it leads.
    elected: Option<u64>,
    /// When a quorum last acknowledged it.
    acknowledged: Option<Instant>,
    alone: bool,
    term: u64,
    leader: Option<LeaderHint>,
}

/// Judges facts: pure, but for the counting of epochs.
#[derive(Debug)]
struct Judge {
    timeout: Duration,
    epochs: u64,
    last: Leadership,
}

impl Judge {
    /// Who leads, and until when that is certain if nothing is heard.
    fn judge(&mut self, facts: Facts, now: Instant) -> (Leadership, Option<Instant>) {
        let Facts { elected, acknowledged, alone, term, leader } = facts;
        let confirmed_until = acknowledged.map(|at| at + self.timeout);
        let (leadership, until) = match elected {
            None => (Leadership::Following { leader, term }, None),
            Some(term) if alone || confirmed_until.is_some_and(|until| now < until) => {
                let leading = |epoch| Leadership::Leading { term, epoch };
                if self.last != leading(self.epochs) {
                    self.epochs += 1;
                }
                (leading(self.epochs), confirmed_until.filter(|_| !alone))
            }
            Some(term) => (Leadership::Unconfirmed { term }, None),
        };
        self.last = leadership.clone();
        (leadership, until)
    }
}

/// Keeps up with who leads, until the engine stops.
pub(crate) async fn observe(raft: Raft, timeout: Duration, leadership: watch::Sender<Leadership>) {
    let mut metrics = raft.metrics();
    let last = leadership.borrow().clone();
    let mut judge = Judge { timeout, epochs: 0, last };
    loop {
        let facts = facts(&metrics.borrow_watched());
        let (now, until) = judge.judge(facts, Instant::now());
        leadership.send_if_modified(|known| {
            let changed = *known != now;
            if changed {
                tracing::info!("{}", describe(&now));
                *known = now;
            }
            changed
        });
        let expires = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = metrics.changed() => if changed.is_err() { break },
            () = expires => {}
        }
    }
    let term = leadership.borrow().term();
    leadership.send_replace(Leadership::Following { leader: None, term });
}

/// Whether this node was elected, and its engine runs.
pub(crate) fn leads(metrics: &RaftMetrics<Types>) -> bool {
    metrics.state == ServerState::Leader && metrics.vote.committed && metrics.running_state.is_ok()
}

/// Whether this node is the only voter, and needs nobody to confirm it.
pub(crate) fn is_alone(metrics: &RaftMetrics<Types>) -> bool {
    metrics.membership_config.membership().voter_ids().all(|id| id == metrics.id)
}

fn facts(metrics: &RaftMetrics<Types>) -> Facts {
    let membership = metrics.membership_config.membership();
    let address = |id: Id| membership.get_node(&id).map(|member| member.address.clone());
    let other = metrics.current_leader.filter(|leader| *leader != metrics.id);
    let leader = other.and_then(|node| {
        Some(LeaderHint { node, address: address(node)?, term: metrics.vote.leader_id.term })
    });
    Facts {
        elected: leads(metrics).then_some(metrics.vote.leader_id.term),
        acknowledged: metrics.last_quorum_acked.and_then(|at| Instant::now().checked_sub(at.elapsed())),
        alone: is_alone(metrics),
        term: metrics.current_term,
        leader,
    }
}

fn describe(leadership: &Leadership) -> String {
    match leadership {
        Leadership::Leading { term, .. } => format!("this node leads in term {term}"),
        Leadership::Unconfirmed { term } => format!("no quorum confirms that this node leads in term {term}"),
        Leadership::Following { leader: Some(leader), .. } => {
            format!("node {} leads in term {}", leader.node, leader.term)
        }
        Leadership::Following { leader: None, term } => format!("no leader is known in term {term}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn judge() -> Judge {
        Judge { timeout: TIMEOUT, epochs: 0, last: Leadership::Following { leader: None, term: 0 } }
    }

    fn elected(term: u64, acknowledged: Option<Instant>) -> Facts {
        Facts { elected: Some(term), acknowledged, alone: false, term, leader: None }
    }

    #[test]
    fn a_leader_is_one_while_a_quorum_confirms_it() {
        let (mut judge, start) = (judge(), Instant::now());
        let unconfirmed = Leadership::Unconfirmed { term: 3 };
        assert_eq!(judge.judge(elected(3, None), start), (unconfirmed.clone(), None), "not acknowledged yet");
        let leading = |epoch| Leadership::Leading { term: 3, epoch };
        let facts = elected(3, Some(start));
        let until = start + TIMEOUT;
        assert_eq!(judge.judge(facts.clone(), start), (leading(1), Some(until)));
        let just_before = until - Duration::from_nanos(1);
        assert_eq!(judge.judge(facts.clone(), just_before), (leading(1), Some(until)));
        assert_eq!(judge.judge(facts, until), (unconfirmed, None), "not a moment longer");
        assert_eq!(
            judge.judge(elected(3, Some(until)), until).0,
            leading(2),
            "again, which is another epoch"
        );
        assert_eq!(judge.judge(elected(5, Some(until)), until).0, Leadership::Leading { term: 5, epoch: 3 });
    }

    #[test]
    fn whoever_is_alone_needs_nobody() {
        let now = Instant::now();
        let facts = Facts { alone: true, ..elected(1, None) };
        assert_eq!(judge().judge(facts, now), (Leadership::Leading { term: 1, epoch: 1 }, None));
    }

    #[test]
    fn a_follower_knows_its_leader() {
        let leader = Some(LeaderHint { node: 2, address: "b:1".into(), term: 4 });
        let facts = Facts { elected: None, leader: leader.clone(), ..elected(4, None) };
        let (leadership, until) = judge().judge(facts, Instant::now());
        assert_eq!((leadership.clone(), until), (Leadership::Following { leader, term: 4 }, None));
        assert_eq!(leadership.other().unwrap().0, Leader { id: 2, term: 4 });
    }
}
