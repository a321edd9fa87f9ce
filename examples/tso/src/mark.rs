//! The mark in the replicated log: up to where timestamps may have been granted, and by whom.

use std::io;

use bytes::Bytes;
use raft::{Application, ApplicationState};

/// The key of the mark in the state of the application.
pub(crate) const KEY: &[u8] = b"tso/mark";

/// Up to where a leader may grant timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The term of the leader.
    pub epoch: u64,
    /// The last millisecond of which timestamps may be granted.
    pub physical: u64,
}

impl Mark {
    pub(crate) fn encode(self) -> Bytes {
        [self.epoch.to_be_bytes(), self.physical.to_be_bytes()].concat().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let (epoch, physical) = bytes.split_at_checked(8)?;
        Some(Self { epoch: number(epoch)?, physical: number(physical)? })
    }
}

/// What a command to raise the mark comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raised {
    /// The mark is there, or is higher already by the same leader.
    Done,
    /// There is a mark of a later leader.
    Fenced(u64),
    /// A later leader wants less than an earlier one had: its fence is broken.
    Backwards,
    /// The command, or the mark that is there, makes no sense.
    Malformed,
}

impl Raised {
    fn encode(self) -> Bytes {
        let (kind, epoch) = match self {
            Self::Done => (0, 0),
            Self::Fenced(epoch) => (1, epoch),
            Self::Backwards => (2, 0),
            Self::Malformed => (3, 0),
        };
        [&[kind][..], &u64::to_be_bytes(epoch)].concat().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        match bytes.split_first() {
            Some((0, _)) => Self::Done,
            Some((1, epoch)) => {
                epoch.try_into().map_or(Self::Malformed, |e| Self::Fenced(u64::from_be_bytes(e)))
            }
            Some((2, _)) => Self::Backwards,
            _ => Self::Malformed,
        }
    }
}

/// Keeps the mark, in the log of a [`raft::Node`]. The mark only grows, and only by the newest leader.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkMachine;

impl Application for MarkMachine {
    fn apply(&self, state: &mut ApplicationState<'_, '_>, command: Bytes) -> io::Result<Bytes> {
        let Some(new) = Mark::decode(&command) else { return Ok(Raised::Malformed.encode()) };
        let old = match state.get(KEY)? {
            Some(bytes) => match Mark::decode(&bytes) {
                Some(old) => Some(old),
                // It must not be taken for none at all.
                None => return Ok(Raised::Malformed.encode()),
            },
            None => None,
        };
        let (raised, kept) = raise(old, new);
        if Some(kept) != old {
            state.put(KEY, &kept.encode())?;
        }
        Ok(raised.encode())
    }
}

/// What becomes of a mark when a leader wants another one.
fn raise(old: Option<Mark>, new: Mark) -> (Raised, Mark) {
    match old {
        Some(old) if old.epoch > new.epoch => (Raised::Fenced(old.epoch), old),
        // Sent again, or overtaken by a later command of the same leader.
        Some(old) if old.epoch == new.epoch => {
            (Raised::Done, Mark { physical: old.physical.max(new.physical), ..new })
        }
        Some(old) if old.physical >= new.physical => (Raised::Backwards, old),
        _ => (Raised::Done, new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_only_grows_and_only_by_the_newest_leader() {
        let mark = |epoch, physical| Mark { epoch, physical };
        for (old, new, expected) in [
            (None, mark(1, 0), (Raised::Done, mark(1, 0))),
            (Some(mark(1, 10)), mark(1, 20), (Raised::Done, mark(1, 20))),
            (Some(mark(1, 10)), mark(1, 5), (Raised::Done, mark(1, 10))),
            (Some(mark(1, 10)), mark(2, 11), (Raised::Done, mark(2, 11))),
            (Some(mark(1, 10)), mark(2, 10), (Raised::Backwards, mark(1, 10))),
            (Some(mark(2, 10)), mark(1, 99), (Raised::Fenced(2), mark(2, 10))),
        ] {
            assert_eq!(raise(old, new), expected, "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mark = Mark { epoch: 3, physical: 1 << 40 };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        assert_eq!(Mark::decode(b"short"), None);
        for raised in [Raised::Done, Raised::Fenced(9), Raised::Backwards, Raised::Malformed] {
            assert_eq!(Raised::decode(&raised.encode()), raised);
        }
        assert_eq!(Raised::decode(b""), Raised::Malformed);
    }
}
