//! Grants timestamps from memory, within what the log has granted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Error;
use crate::proto::LeaderHint;
use crate::timestamp::{LOGICAL_BITS, Timestamp, first_of};

/// Whether a node serves, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not lead, or its fence is not up yet.
    Idle {
        /// Who leads, if that is another node and known.
        leader: Option<LeaderHint>,
    },
    /// It serves.
    Serving {
        /// The term in which it leads.
        epoch: u64,
    },
    /// It will not serve again until it is restarted.
    Poisoned {
        /// Why.
        reason: String,
    },
}

/// Consecutive timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The first one.
    pub first: Timestamp,
    /// How many.
    pub count: u32,
    /// The term of the leader that granted them.
    pub epoch: u64,
}

/// Grants timestamps: each is greater than all before it, and within what the log has granted.
#[derive(Debug)]
pub struct Allocator {
    window: Mutex<Option<Window>>,
    phase: watch::Sender<Phase>,
    max_ahead: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    epoch: u64,
    /// The next timestamp, at least.
    next: u64,
    /// The first one that the log has not granted.
    end: u64,
    /// Whether the clock counts. It does, but for a defect.
    follows_clock: bool,
}

impl Allocator {
    /// Nothing is granted yet. Timestamps that are further ahead of the clock than `max_ahead` are refused.
    pub fn new(max_ahead: Duration) -> Self {
        let phase = watch::Sender::new(Phase::Idle { leader: None });
        Self { window: Mutex::default(), phase, max_ahead }
    }

    /// Whether it serves, now and from now on.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Grants so many timestamps, by this clock.
    ///
    /// # Errors
    ///
    /// [`Error::NotServing`] and [`Error::Poisoned`] if it does not serve, [`Error::Exhausted`] if the window has less, and
    /// [`Error::ClockBehind`].
    pub fn grant(&self, count: u32, now_ms: u64) -> Result<Grant, Error> {
        let mut window = self.window();
        let Some(window) = &mut *window else { return Err(self.refusal()) };
        // Whatever the clock says, nothing goes back.
        let first = match first_of(now_ms) {
            Some(now) if window.follows_clock => now.max(window.next),
            _ => window.next,
        };
        let next = first.checked_add(u64::from(count)).filter(|next| *next <= window.end);
        let next = next.ok_or(Error::Exhausted)?;
        let ahead = Duration::from_millis((first >> LOGICAL_BITS).saturating_sub(now_ms));
        if ahead > self.max_ahead {
            return Err(Error::ClockBehind { ahead });
        }
        window.next = next;
        Ok(Grant { first: Timestamp::from_raw(first), count, epoch: window.epoch })
    }

    /// The next timestamp at least, and the first one that the log has not granted. `None` if it does not serve.
    pub fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        self.window().map(|Window { next, end, .. }| (Timestamp::from_raw(next), Timestamp::from_raw(end)))
    }

    /// Begins to serve: from the first timestamp of a millisecond to the last one of another.
    pub(crate) fn serve(&self, epoch: u64, floor: u64, mark: u64) {
        self.begin(epoch, floor, mark, true);
    }

    /// Begins to serve where other leaders of the same quarter of an hour did: a defect.
    pub(crate) fn serve_below(&self, epoch: u64, floor: u64, mark: u64) {
        self.begin(epoch, floor - floor % 900_000, mark, false);
    }

    fn begin(&self, epoch: u64, floor: u64, mark: u64, follows_clock: bool) {
        let Some((next, end)) = first_of(floor).zip(first_of(mark.saturating_add(1))) else { return };
        if matches!(*self.phase.borrow(), Phase::Poisoned { .. }) {
            return;
        }
        *self.window() = Some(Window { epoch, next, end, follows_clock });
        self.phase.send_replace(Phase::Serving { epoch });
    }

    /// The log has granted more to this leader.
    pub(crate) fn extend(&self, epoch: u64, mark: u64) {
        if let (Some(window), Some(end)) = (&mut *self.window(), first_of(mark.saturating_add(1)))
            && window.epoch == epoch
        {
            window.end = window.end.max(end);
        }
    }

    /// Stops serving, until the next fence.
    pub(crate) fn idle(&self, leader: Option<LeaderHint>) {
        *self.window() = None;
        self.phase.send_if_modified(|phase| {
            let idle = Phase::Idle { leader };
            let changed = !matches!(phase, Phase::Poisoned { .. }) && *phase != idle;
            if changed {
                *phase = idle;
            }
            changed
        });
    }

    /// Stops serving for good, and tells everybody.
    pub(crate) fn poison(&self, reason: &str) {
        *self.window() = None;
        self.phase.send_replace(Phase::Poisoned { reason: reason.to_owned() });
    }

    fn refusal(&self) -> Error {
        match &*self.phase.borrow() {
            Phase::Idle { leader } => Error::NotServing { leader: leader.clone() },
            Phase::Serving { .. } => Error::NotServing { leader: None },
            Phase::Poisoned { reason } => Error::Poisoned(reason.clone()),
        }
    }

    fn window(&self) -> MutexGuard<'_, Option<Window>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_the_log_has_not_granted_is_not_granted() {
        let allocator = Allocator::new(MINUTE);
        assert!(matches!(allocator.grant(1, 1_000), Err(Error::NotServing { leader: None })));
        allocator.serve(3, 1_000, 1_000);
        let all = 1 << LOGICAL_BITS;
        assert_eq!(allocator.grant(all - 1, 1_000).unwrap().first.raw(), 1_000 << LOGICAL_BITS);
        assert!(matches!(allocator.grant(2, 1_000), Err(Error::Exhausted)));
        assert_eq!(allocator.grant(1, 1_000).unwrap().first.logical(), all - 1);
        assert!(matches!(allocator.grant(1, 1_001), Err(Error::Exhausted)));
        allocator.extend(2, 2_000);
        assert!(matches!(allocator.grant(1, 1_001), Err(Error::Exhausted)), "of another leader");
        allocator.extend(3, 2_000);
        assert_eq!(allocator.grant(1, 1_500).unwrap().first.raw(), 1_500 << LOGICAL_BITS);
    }

    #[test]
    fn too_far_ahead_of_the_clock_is_an_error() {
        let allocator = Allocator::new(MINUTE);
        allocator.serve(1, 100_000, 200_000);
        assert!(allocator.grant(1, 40_000).is_ok());
        let error = allocator.grant(1, 39_999).unwrap_err();
        assert!(matches!(error, Error::ClockBehind { ahead } if ahead == Duration::from_millis(60_001)));
        assert!(allocator.grant(1, 150_000).is_ok(), "and goes on when the clock has caught up");
    }

    #[test]
    fn poison_is_for_good() {
        let allocator = Allocator::new(MINUTE);
        allocator.poison("broken");
        allocator.idle(None);
        allocator.serve(9, 1, 2);
        assert!(matches!(allocator.grant(1, 1), Err(Error::Poisoned(reason)) if reason == "broken"));
    }

    proptest! {
        /// However the clock steps, and however leaders change, timestamps grow, and stay within what was granted.
        #[test]
        fn timestamps_only_grow(steps in prop::collection::vec((0_u8..5, 0_u64..5_000, 1_u32..2_000), 1..200)) {
            let allocator = Allocator::new(Duration::from_secs(1 << 30));
            let (mut mark, mut epoch, mut last) = (10_000, 1, 0);
            allocator.serve(epoch, 10_000, mark);
            for (step, ms, count) in steps {
                match step {
                    0 => {
                        mark += ms;
                        allocator.extend(epoch, mark);
                    }
                    1 => {
                        epoch += 1;
                        allocator.idle(None);
                        prop_assert!(allocator.grant(count, ms).is_err());
                        let floor = mark + 1;
                        mark = floor + ms / 4;
                        allocator.serve(epoch, floor, mark);
                    }
                    _ => if let Ok(grant) = allocator.grant(count, 8_000 + ms) {
                        prop_assert!(grant.first.raw() > last);
                        last = grant.first.raw() + u64::from(count) - 1;
                        prop_assert!(last >> LOGICAL_BITS <= mark);
                        prop_assert_eq!(grant.epoch, epoch);
                    }
                }
            }
        }
    }
}
