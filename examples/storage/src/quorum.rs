//! Quorum functions: what the replies of several servers amount to.
//!
//! A majority decides, because any two majorities have a server in common: a read asks at least one of the
//! servers that took the latest write.

use std::error::Error;

use gorums::{Decision, NodeError, NodeId, QuorumFunction, ReplySet};

use crate::proto::{ReadResponse, WriteResponse};
use crate::store::Version;

/// How many of `size` nodes are more than half of them.
pub(crate) fn majority(size: usize) -> usize {
    size / 2 + 1
}

/// Decides reads: the newest value that a majority of the nodes replied. A node that has no value has
/// replied as well.
#[derive(Debug)]
pub(crate) struct Newest;

impl QuorumFunction<ReadResponse> for Newest {
    type Output = ReadResponse;

    fn decide(&mut self, replies: &mut ReplySet<ReadResponse>) -> Decision<ReadResponse> {
        let counts = Counts::of(replies);
        if !counts.replied_enough() {
            return counts.undecided();
        }
        let newest = replies.successes().map(|(_, reply)| reply).reduce(newer);
        newest.map_or(Decision::Pending, |newest| Decision::Reached(newest.clone()))
    }
}

/// The newer of two replies. Of two equally new values, the one that every reader takes: the greater.
pub(crate) fn newer<'a>(a: &'a ReadResponse, b: &'a ReadResponse) -> &'a ReadResponse {
    let key = |reply: &'a ReadResponse| (reply.ok, Version::of(reply.time), reply.value.as_str());
    if key(b) > key(a) { b } else { a }
}

/// Decides writes: whether a majority of the nodes took the value.
#[derive(Debug)]
pub(crate) struct Taken;

/// What a majority made of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// A majority has the value.
    Written,
    /// A majority replied, but too many nodes already had a newer value.
    Outdated {
        /// The nodes with a newer value, in order.
        newer: Vec<NodeId>,
        /// How many nodes took the value all the same.
        taken: usize,
    },
}

impl QuorumFunction<WriteResponse> for Taken {
    type Output = WriteOutcome;

    fn decide(&mut self, replies: &mut ReplySet<WriteResponse>) -> Decision<WriteOutcome> {
        let counts = Counts::of(replies);
        let refused = replies.successes().filter(|(_, reply)| !reply.new);
        let mut newer: Vec<_> = refused.map(|(node, _)| node).collect();
        newer.sort_unstable();
        counts.decide_write(newer)
    }
}

/// Why a node did not do its part: what happened, and the cause of that if there is one.
pub(crate) fn reason(error: &NodeError) -> String {
    let kind = error.kind();
    match error.source() {
        // The source of a status is the status itself.
        Some(cause) if error.status().is_none() => format!("{kind} ({cause})"),
        _ => kind.to_string(),
    }
}

/// How far a call has come.
#[derive(Clone, Copy, Debug)]
struct Counts {
    size: usize,
    replied: usize,
    failed: usize,
}

impl Counts {
    fn of<T>(replies: &ReplySet<T>) -> Self {
        Self { size: replies.size(), replied: replies.success_count(), failed: replies.failure_count() }
    }

    fn replied_enough(self) -> bool {
        self.replied >= majority(self.size)
    }

    fn outstanding(self) -> usize {
        self.size.saturating_sub(self.replied + self.failed)
    }

    /// What to say without enough replies.
    fn undecided<T>(self) -> Decision<T> {
        let possible = self.replied + self.outstanding() >= majority(self.size);
        if possible { Decision::Pending } else { Decision::Impossible }
    }

    fn decide_write(self, newer: Vec<NodeId>) -> Decision<WriteOutcome> {
        let taken = self.replied.saturating_sub(newer.len());
        if taken >= majority(self.size) {
            Decision::Reached(WriteOutcome::Written)
        } else if taken + self.outstanding() >= majority(self.size) {
            Decision::Pending
        } else if self.replied_enough() {
            Decision::Reached(WriteOutcome::Outdated { newer, taken })
        } else {
            self.undecided()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Timestamp;

    fn reply(value: &str, seconds: i64) -> ReadResponse {
        ReadResponse { ok: true, value: value.into(), time: Some(Timestamp { seconds, nanos: 0 }) }
    }

    #[test]
    fn majorities() {
        let majorities: Vec<_> = (1..=6).map(majority).collect();
        assert_eq!(majorities, [1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn the_newest_reply_wins_in_whatever_order_they_come() {
        let (old, new, missing) = (reply("old", 1), reply("new", 2), ReadResponse::default());
        for pair in [(&old, &new), (&missing, &new)] {
            assert_eq!(newer(pair.0, pair.1), &new);
            assert_eq!(newer(pair.1, pair.0), &new);
        }
        // A value from before 1970 is still more than none.
        let ancient = reply("ancient", -1);
        assert_eq!(newer(&missing, &ancient), &ancient);
        // All readers agree on one of two values of the same time.
        let (a, b) = (reply("a", 1), reply("b", 1));
        assert_eq!(newer(&a, &b), newer(&b, &a));
    }

    #[test]
    fn reads_go_on_until_a_majority_has_replied_or_cannot() {
        let undecided = |replied, failed| Counts { size: 4, replied, failed }.undecided::<()>();
        assert_eq!(undecided(0, 0), Decision::Pending);
        assert_eq!(undecided(2, 1), Decision::Pending);
        assert_eq!(undecided(2, 2), Decision::Impossible);
        assert_eq!(undecided(0, 2), Decision::Impossible);
        assert!(!Counts { size: 4, replied: 2, failed: 1 }.replied_enough());
        assert!(Counts { size: 4, replied: 3, failed: 1 }.replied_enough());
    }

    #[test]
    fn writes_need_a_majority_that_took_the_value() {
        let node = |id| NodeId::new(id).unwrap();
        let decide = |replied, failed, newer: &[u32]| {
            let newer = newer.iter().copied().map(node).collect();
            Counts { size: 4, replied, failed }.decide_write(newer)
        };
        assert_eq!(decide(3, 0, &[]), Decision::Reached(WriteOutcome::Written));
        assert_eq!(decide(4, 0, &[2]), Decision::Reached(WriteOutcome::Written));
        assert_eq!(decide(2, 1, &[]), Decision::Pending);
        assert_eq!(decide(3, 0, &[1]), Decision::Pending);
        assert_eq!(decide(2, 2, &[]), Decision::Impossible);
        let outdated = |newer: &[u32], taken| {
            let newer = newer.iter().copied().map(node).collect();
            Decision::Reached(WriteOutcome::Outdated { newer, taken })
        };
        assert_eq!(decide(4, 0, &[1, 3]), outdated(&[1, 3], 2));
        assert_eq!(decide(3, 1, &[1]), outdated(&[1], 2));
        // Two refusals settle it, but not before a majority has replied.
        assert_eq!(decide(2, 0, &[1, 3]), Decision::Pending);
    }
}
