//! Counting towards a quorum.

/// How many nodes of a configuration have to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// One node.
    First,
    /// More than half of the nodes.
    Majority,
    /// Every node. Of no nodes it is out of reach, as every quorum is.
    All,
    /// That many nodes. 0 counts as 1, as a call needs a reply to return; more nodes than there are is out
    /// of reach at once.
    Threshold(usize),
}

impl Quorum {
    /// The number of replies that this asks of a configuration of `size` nodes.
    pub fn needed(self, size: usize) -> usize {
        match self {
            Self::First => 1,
            Self::Majority => size / 2 + 1,
            Self::All => size.max(1),
            Self::Threshold(needed) => needed.max(1),
        }
    }
}

/// What is decided about a quorum so far. A decision is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pending,
    Reached,
    Impossible,
}

/// Successes and failures among `size` nodes, `needed` of which have to succeed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    needed: usize,
    size: usize,
    successes: usize,
    failures: usize,
}

impl Tally {
    pub(crate) fn new(quorum: Quorum, size: usize) -> Self {
        Self { needed: quorum.needed(size), size, successes: 0, failures: 0 }
    }

    /// Counts a node that succeeded or failed.
    pub(crate) fn count(&mut self, succeeded: bool) {
        if succeeded {
            self.successes += 1;
        } else {
            self.failures += 1;
        }
    }

    /// What was counted as a success turned out not to be one.
    pub(crate) fn retract(&mut self) {
        self.successes -= 1;
        self.failures += 1;
    }

    pub(crate) fn needed(&self) -> usize {
        self.needed
    }

    pub(crate) fn outcome(&self) -> Outcome {
        if self.successes >= self.needed {
            Outcome::Reached
        } else if self.size - self.failures < self.needed {
            Outcome::Impossible
        } else {
            Outcome::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn needed() {
        for (size, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            assert_eq!(Quorum::Majority.needed(size), majority);
            assert_eq!(Quorum::All.needed(size), size);
            assert_eq!(Quorum::First.needed(size), 1);
        }
    }

    #[test]
    fn decided_from_the_start() {
        assert_eq!(Tally::new(Quorum::Threshold(0), 3).needed(), 1);
        assert_eq!(Tally::new(Quorum::Threshold(4), 3).outcome(), Outcome::Impossible);
        for quorum in [Quorum::First, Quorum::Majority, Quorum::All, Quorum::Threshold(0)] {
            assert_eq!(Tally::new(quorum, 0).outcome(), Outcome::Impossible, "{quorum:?} of nobody");
        }
    }

    proptest! {
        /// Reached as soon as enough succeeded, impossible as soon as too many failed, and then for good.
        #[test]
        fn decides_at_the_earliest_reply_and_never_changes(replies: Vec<bool>, needed in 1..10_usize) {
            let size = replies.len();
            let mut tally = Tally::new(Quorum::Threshold(needed), size);
            let mut decided = None;
            for seen in 0..=size {
                let successes = replies[..seen].iter().filter(|&&ok| ok).count();
                let expected = if successes >= needed {
                    Outcome::Reached
                } else if successes + (size - seen) < needed {
                    Outcome::Impossible
                } else {
                    Outcome::Pending
                };
                prop_assert_eq!(tally.outcome(), *decided.get_or_insert(expected));
                if decided == Some(Outcome::Pending) {
                    decided = None;
                }
                if let Some(&succeeded) = replies.get(seen) {
                    tally.count(succeeded);
                }
            }
        }
    }
}
