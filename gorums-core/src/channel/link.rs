//! When to dial: the state of the connection to one node.
//!
//! Pure: no lock, no I/O; the time and the dice are passed in. Back-off is exponential with full jitter
//! ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

/// How a lost connection is dialled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the second attempt; 100 ms by default. It doubles with every attempt.
    pub initial: Duration,
    /// The longest wait ever; 5 s by default.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// The wait after this many failures in a row, from 1 up. `dice` is evenly distributed from 0 to 1.
    pub(crate) fn wait(&self, failures: u32, dice: f64) -> Duration {
        self.ceiling(failures).mul_f64(dice.clamp(0.0, 1.0))
    }

    /// The longest wait after this many failures in a row, from 1 up.
    fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }
}

/// After a stream that lived this long, the next dial is immediate.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Link {
    backoff: Backoff,
    /// Failures in a row.
    failures: u32,
    /// Since when there has been no connection, unless there is one or none was asked for.
    down_since: Option<Instant>,
    up_since: Option<Instant>,
    answered: bool,
    /// Counts the streams: what belongs to an old one never touches its successor (I3).
    epoch: u32,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Redial {
    /// How long to wait before the next dial.
    pub(crate) after: Duration,
    /// The node has been down for longer than a back-off: fail what waits for it.
    pub(crate) fail_fast: bool,
}

impl Link {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, down_since: None, up_since: None, answered: false, epoch: 0 }
    }

    /// A dial begins.
    pub(crate) fn dialling(&mut self, now: Instant) {
        self.down_since.get_or_insert(now);
    }

    /// A dial succeeded. Gives the new stream's number.
    pub(crate) fn connected(&mut self, now: Instant) -> u32 {
        self.up_since = Some(now);
        self.answered = false;
        self.epoch = self.epoch.wrapping_add(1);
        self.epoch
    }

    /// The peer has shown that it speaks the protocol.
    pub(crate) fn answered(&mut self) {
        self.answered = true;
        self.down_since = None;
        self.failures = 0;
    }

    /// The peer is known to run: its failures are history.
    pub(crate) fn sighted(&mut self) {
        self.failures = 0;
        self.down_since = None;
    }

    /// A dial failed or the stream ended. `dice` is evenly distributed from 0 to 1.
    pub(crate) fn failed(&mut self, now: Instant, dice: f64) -> Redial {
        let settled = self.up_since.take().is_some_and(|since| now - since >= SETTLED);
        if mem::take(&mut self.answered) {
            self.failures = 0;
            self.down_since = Some(now);
            let after =
                if settled { Duration::ZERO } else { self.backoff.initial.mul_f64(dice.clamp(0.0, 1.0)) };
            return Redial { after, fail_fast: false };
        }
        self.failures = self.failures.saturating_add(1);
        let down_for = self.down_since.map_or(Duration::ZERO, |since| now - since);
        Redial {
            after: self.backoff.wait(self.failures, dice),
            fail_fast: self.failures > 1 || down_for >= self.backoff.initial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_longer_and_longer_up_to_the_maximum() {
        let now = Instant::now();
        let mut link = Link::new(Backoff::default());
        link.dialling(now);
        let waits: Vec<_> = (0..9).map(|_| link.failed(now, 1.0).after).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000].map(|ms| ms * MS));
    }

    #[test]
    fn the_first_failure_is_forgiven_unless_it_took_long() {
        let now = Instant::now();
        let mut quick = Link::new(Backoff::default());
        quick.dialling(now);
        assert!(!quick.failed(now + MS, 0.5).fail_fast);
        assert!(quick.failed(now + 2 * MS, 0.5).fail_fast);
        let mut slow = Link::new(Backoff::default());
        slow.dialling(now);
        assert!(slow.failed(now + 2_000 * MS, 0.5).fail_fast);
    }

    #[test]
    fn a_stream_that_lived_is_dialled_again_at_once() {
        let now = Instant::now();
        let mut link = Link::new(Backoff::default());
        link.dialling(now);
        assert_eq!(link.connected(now), 1);
        link.answered();
        assert_eq!(link.failed(now + SETTLED, 1.0), Redial { after: Duration::ZERO, fail_fast: false });
        assert_eq!(link.connected(now), 2);
        link.answered();
        assert_eq!(link.failed(now, 1.0), Redial { after: 100 * MS, fail_fast: false });
    }

    #[test]
    fn a_sighting_forgives_what_was_before() {
        let now = Instant::now();
        let mut link = Link::new(Backoff::default());
        link.dialling(now);
        for _ in 0..5 {
            link.failed(now, 1.0);
        }
        link.sighted();
        link.dialling(now + 60_000 * MS);
        let redial = link.failed(now + 60_001 * MS, 1.0);
        assert_eq!(redial, Redial { after: 100 * MS, fail_fast: false });
        assert!(link.failed(now + 60_002 * MS, 1.0).fail_fast);
    }

    #[test]
    fn a_stream_that_the_peer_never_answered_counts_as_a_failure() {
        let now = Instant::now();
        let mut link = Link::new(Backoff::default());
        for failures in 1..4 {
            link.dialling(now);
            link.connected(now);
            assert_eq!(link.failed(now + SETTLED, 1.0).after, 100 * MS * (1 << (failures - 1)));
        }
    }

    proptest! {
        #[test]
        fn never_longer_than_the_maximum(failures in 1..200_u32, dice in 0.0..=1.0) {
            let now = Instant::now();
            let mut link = Link::new(Backoff::default());
            link.dialling(now);
            for _ in 0..failures {
                prop_assert!(link.failed(now, dice).after <= Duration::from_secs(5));
            }
        }
    }
}
