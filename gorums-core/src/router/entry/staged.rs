//! Calls that are not offered to all of their targets at once.

use tokio::time::Instant;

use super::{Entry, Progress};
use crate::node::Targets;

/// When a call started.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    at: Instant,
    /// The ordinals of the nodes that were asked later, and when that was done last.
    later: Option<Vec<(u32, Instant)>>,
    is_staged: bool,
}

impl Started {
    pub(super) fn at(at: Instant) -> Self {
        Self { at, later: None, is_staged: false }
    }

    /// When the node with this ordinal was asked.
    pub(crate) fn of(&self, ordinal: u32) -> Instant {
        let later = self.later.iter().flatten().find(|(later, _)| *later == ordinal);
        later.map_or(self.at, |&(_, at)| at)
    }
}

impl Entry {
    /// Makes the call a staged one, which holds its request back from these targets until it is
    /// [offered](Self::offered) to them.
    pub(crate) fn hold(&mut self, targets: &[usize]) {
        self.started.is_staged = true;
        for &target in targets {
            self.progress[target] = Progress::Held;
        }
    }

    /// The request is about to be offered to a target from which it was held back. False if it was not.
    pub(crate) fn offered(&mut self, target: usize, now: Instant) -> bool {
        let held = self.progress(target) == Progress::Held;
        let ordinal = self.target(target).map(|node| node.channel().ordinal());
        if let (true, Some(ordinal)) = (held, ordinal) {
            self.progress[target] = Progress::Queued;
            let later = self.started.later.get_or_insert_default();
            match later.iter_mut().find(|(asked, _)| *asked == ordinal) {
                Some((_, at)) => *at = now,
                None => later.push((ordinal, now)),
            }
        }
        held
    }

    /// The failure of a target, which was taken, is to be made good: the request is held back from it until it is
    /// [offered](Self::offered) again.
    pub(crate) fn reopen(&mut self, target: usize) {
        if self.progress(target) == Progress::Settled {
            self.progress[target] = Progress::Held;
            self.open += 1;
        }
    }

    pub(crate) fn is_staged(&self) -> bool {
        self.started.is_staged
    }

    /// Nobody waits any longer. If a staged call had to ask others, then those that have not answered by now are at least
    /// as slow as that: without this, a node that hangs would be taken for as fast as it once was.
    pub(crate) fn measure_unanswered(&self, now: Instant) {
        if self.started.later.as_ref().is_none_or(Vec::is_empty) {
            return;
        }
        for (target, node) in self.targets.iter().flat_map(Targets::iter).enumerate() {
            if self.owes(target) {
                node.counters().took_at_least(now - self.started.of(node.channel().ordinal()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::payload::Payload;

    use super::*;
    use crate::error::{Fault, NodeErrorKind};
    use crate::node::{Node, Targets};
    use crate::router::entry::{Incoming, Mode};

    const MS: Duration = Duration::from_millis(1);

    /// A call to three nodes, of which the last two are asked later.
    fn staged(start: Instant) -> Entry {
        let mut entry = Entry::vacant();
        entry.begin(Targets::Many(Node::detached(3).members().clone()), Mode::Each, start);
        entry.hold(&[1, 2]);
        entry
    }

    fn owed(entry: &Entry) -> [bool; 3] {
        [0, 1, 2].map(|target| entry.owes(target))
    }

    fn latencies(entry: &Entry) -> [Option<Duration>; 3] {
        [0, 1, 2].map(|target| entry.target(target).unwrap().latency())
    }

    #[test]
    fn a_node_owes_nothing_before_it_is_asked() {
        let start = Instant::now();
        let mut entry = staged(start);
        assert_eq!(owed(&entry), [true, false, false]);
        let fault = Fault::unsent(NodeErrorKind::Closed, None);
        assert!(!entry.fail(1, fault).taken && !entry.sent(1, 1).taken);
        assert!(entry.offered(1, start) && !entry.offered(1, start) && !entry.offered(0, start));
        assert_eq!(owed(&entry), [true, true, false]);
        let _ = entry.clear();
        assert_eq!(owed(&entry), [false; 3]);
    }

    #[test]
    fn the_latency_of_a_node_starts_when_it_is_asked() {
        let start = Instant::now();
        let mut entry = staged(start);
        assert!(entry.sent(0, 1).taken && entry.offered(1, start + 40 * MS) && entry.sent(1, 1).taken);
        for target in [0, 1] {
            assert!(entry.deliver(target, Incoming::Reply(Payload::default()), start + 50 * MS).taken);
        }
        assert_eq!(latencies(&entry), [Some(50 * MS), Some(10 * MS), None]);
    }

    #[test]
    fn a_node_that_was_too_slow_is_measured_by_how_long_it_was_waited_for() {
        let start = Instant::now();
        let mut entry = staged(start);
        entry.measure_unanswered(start + 50 * MS);
        assert_eq!(latencies(&entry), [None; 3], "nobody was asked in its stead");
        assert!(entry.offered(1, start + 40 * MS));
        entry.target(1).unwrap().counters().replied_after(20 * MS);
        entry.measure_unanswered(start + 50 * MS);
        assert_eq!(latencies(&entry), [Some(50 * MS), Some(20 * MS), None], "20 ms may still be right");
    }
}
