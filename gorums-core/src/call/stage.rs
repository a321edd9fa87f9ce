//! Whom a staged call asks first, and when it asks the others.
//!
//! Pure. After the hedged requests of "The Tail at Scale" (Dean and Barroso, Communications of the ACM 56(2), 2013), and
//! the speculative retry of Apache Cassandra; that reads are sent to the nearest quorum first is from Garage's
//! `rpc_helper`.

use std::ops::RangeInclusive;
use std::time::Duration;

use smallvec::SmallVec;

use crate::error::NodeErrorKind;
use crate::node::{Node, NodeState};

/// How a [staged](crate::QuorumCall::staged) call is divided: whom it asks first, and when it asks the others.
///
/// The first stage is a quorum of the nodes that answer fastest, by [`Node::latency`](crate::Node::latency). Nodes that
/// were never measured come before all others, so that each of them is measured as soon as it has been tried once; those
/// that have only ever failed come behind the measured ones, and nodes that are known to be unreachable last. Nodes that
/// are equal in this are asked in the order of the configuration.
///
/// The others are asked after a delay, which is cut to half of the call's timeout, so that they always have a chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    delay: Delay,
    size: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    After(Duration),
    /// A multiple of the first stage's highest latency, but at least and at most so much.
    Latency(u32, Duration, Duration),
}

impl Stage {
    /// Asks the other nodes after `delay`.
    pub fn after(delay: Duration) -> Self {
        Self { delay: Delay::After(delay), size: None }
    }

    /// Asks the other nodes after three times the highest latency of the first stage, from 1 ms to 1 s.
    ///
    /// If latencies were distributed exponentially, 5 % of the replies would take longer: the share for which The Tail at
    /// Scale asks again. While no node of the first stage has been measured, all nodes are asked at once.
    pub fn adaptive() -> Self {
        Self::adaptive_within(3, Duration::from_millis(1)..=Duration::from_secs(1))
    }

    /// As [`adaptive`](Self::adaptive), with another multiple of the latency and other bounds for the delay. If they
    /// contradict each other, the upper one holds.
    pub fn adaptive_within(multiple: u32, bounds: RangeInclusive<Duration>) -> Self {
        let (least, most) = bounds.into_inner();
        Self { delay: Delay::Latency(multiple, least, most), size: None }
    }

    /// Asks this number of nodes in the first stage. By default, and at least, that is the quorum; for a quorum function,
    /// which does not tell how many it needs, it is more than half of the nodes by default, and at least one.
    #[must_use]
    pub fn size(self, nodes: usize) -> Self {
        Self { size: Some(nodes), ..self }
    }

    /// How many of `size` nodes are asked first by a call that needs `needed` replies.
    pub(crate) fn width(self, needed: usize, size: usize) -> usize {
        self.size.unwrap_or(needed).max(needed).min(size)
    }

    /// As [`width`](Self::width), for a call that does not tell how many replies it needs.
    pub(crate) fn width_of_function(self, size: usize) -> usize {
        self.size.unwrap_or(size / 2 + 1).max(1).min(size)
    }

    /// How long the others wait, if these are the latencies of the first stage.
    pub(crate) fn delay(self, first: impl Iterator<Item = Option<Duration>>) -> Duration {
        match self.delay {
            Delay::After(delay) => delay,
            Delay::Latency(multiple, least, most) => match first.flatten().max() {
                Some(slowest) => slowest.saturating_mul(multiple).max(least).min(most),
                None => Duration::ZERO,
            },
        }
    }
}

/// The indices of nodes in the order in which a staged call asks them.
pub(crate) fn order(nodes: &[Node]) -> SmallVec<[usize; 8]> {
    let key = |node: &Node| {
        let usable = matches!(node.state(), NodeState::Idle | NodeState::Connected);
        (!usable, node.latency().is_none() && has_failed(node), node.latency().unwrap_or_default())
    };
    let mut order: SmallVec<[_; 8]> = nodes.iter().map(key).enumerate().collect();
    order.sort_unstable_by_key(|&(index, key)| (key, index));
    order.into_iter().map(|(index, _)| index).collect()
}

/// Whether a call has failed at a node that was there. One that was down when it was last tried has not shown yet how it
/// is when it is up.
fn has_failed(node: &Node) -> bool {
    node.last_error().is_some_and(|error| !matches!(error, NodeErrorKind::Unavailable))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::channel::Connectivity;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_unmeasured_are_asked_first_and_the_unreachable_last() {
        let nodes = Node::detached(6);
        for (index, latency) in [(0, 30 * MS), (1, 10 * MS), (3, 10 * MS)] {
            nodes.nodes()[index].counters().replied_after(latency);
        }
        let refused = Arc::new(std::io::Error::other("refused"));
        for (index, state) in
            [(0, Connectivity::Up), (2, Connectivity::Down(refused)), (4, Connectivity::Closed)]
        {
            nodes.nodes()[index].channel().set_connectivity(state);
        }
        assert_eq!(order(nodes.nodes()).to_vec(), [5, 1, 3, 0, 2, 4]);
    }

    /// What fails has no latency, and would else be the first to be asked for ever.
    #[test]
    fn whoever_only_fails_is_asked_behind_those_that_answer() {
        let nodes = Node::detached(6);
        let fail = |index: usize, kind| nodes.nodes()[index].counters().failed(kind);
        let refused = || NodeErrorKind::Status(tonic::Status::failed_precondition("no"));
        fail(0, refused());
        for (index, latency) in [(1, 30 * MS), (2, 10 * MS)] {
            nodes.nodes()[index].counters().replied_after(latency);
        }
        fail(2, refused());
        fail(3, NodeErrorKind::Unavailable);
        nodes.nodes()[4].channel().set_connectivity(Connectivity::Closed);
        assert_eq!(order(nodes.nodes()).to_vec(), [3, 5, 2, 1, 0, 4]);
        nodes.nodes()[0].counters().replied_after(MS);
        assert_eq!(order(nodes.nodes()).to_vec(), [3, 5, 0, 2, 1, 4]);
    }

    #[test]
    fn a_first_stage_is_never_smaller_than_the_quorum_nor_larger_than_the_configuration() {
        let stage = Stage::after(MS);
        for (stage, needed, width) in [
            (stage, 3, 3),
            (stage.size(4), 3, 4),
            (stage.size(2), 3, 3),
            (stage.size(9), 3, 5),
            (stage, 7, 5),
        ] {
            assert_eq!(stage.width(needed, 5), width, "{stage:?}");
        }
        assert_eq!([0, 1, 4, 5].map(|size| stage.width_of_function(size)), [0, 1, 3, 3]);
        assert_eq!([0, 2, 9].map(|first| stage.size(first).width_of_function(5)), [1, 2, 5]);
    }

    #[test]
    fn delays() {
        let first = [Some(4 * MS), None, Some(7 * MS)];
        for (stage, delay) in [
            (Stage::after(5 * MS), 5 * MS),
            (Stage::after(Duration::MAX), Duration::MAX),
            (Stage::adaptive(), 21 * MS),
            (Stage::adaptive_within(2, 20 * MS..=30 * MS), 20 * MS),
            (Stage::adaptive_within(9, 20 * MS..=30 * MS), 30 * MS),
            (Stage::adaptive_within(u32::MAX, MS..=Duration::MAX), 7 * MS * u32::MAX),
            (Stage::adaptive_within(2, 30 * MS..=20 * MS), 20 * MS),
        ] {
            assert_eq!(stage.delay(first.into_iter()), delay, "{stage:?}");
        }
        assert_eq!(Stage::adaptive().delay([None; 3].into_iter()), Duration::ZERO);
    }
}
