//! When not to call the leader: a circuit breaker, after Nygard, *Release It!*

use std::time::Duration;

use tokio::time::Instant;

use crate::types::Id;

/// Failures in a row after which the circuit opens.
const FAILURES: u32 = 3;
/// How long the circuit is open at first; it doubles with each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Who leads, and in which term: another one of either is another leader to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The node.
    pub id: Id,
    /// Its term.
    pub term: u64,
}

/// Stops calls to a leader that does not answer.
///
/// Closed, it lets all calls pass; after 3 failures in a row it opens for 100 ms. Then it lets one call pass, the probe: if
/// it succeeds the circuit closes, and if it fails the circuit opens again, for twice as long, up to 2 s. Calls that were
/// cancelled say nothing about the leader: they neither count nor clear, and a probe that was cancelled makes room for
/// another. Everything starts anew when the leader or its term changes.
///
/// It has no clock of its own, and waits for nothing.
#[derive(Debug, Default)]
pub struct CircuitBreaker {
    leader: Option<Leader>,
    state: State,
    /// How often the circuit has opened from closed: a probe of an earlier time says nothing of this one.
    openings: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration, probing: bool },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// The right to make one call, to be given back with what became of the call.
#[derive(Debug)]
#[must_use = "the breaker has to be told what became of the call"]
pub struct Pass {
    leader: Leader,
    /// For a probe, the opening that it is of.
    probe: Option<u64>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The leader answered, whatever it said.
    Answered,
    /// The leader could not be reached, or did not answer in time.
    Failed,
    /// Nobody waited for the answer any more.
    Cancelled,
}

/// Why a call may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The circuit is open until then.
    Until(Instant),
    /// Another call is just finding out.
    Probing,
}

impl CircuitBreaker {
    /// Asks whether a call may be made to this leader now.
    pub fn admit(&mut self, leader: Leader, now: Instant) -> Result<Pass, Refused> {
        if self.leader != Some(leader) {
            *self = Self { leader: Some(leader), state: State::default(), openings: self.openings };
        }
        match &mut self.state {
            State::Closed { .. } => Ok(Pass { leader, probe: None }),
            State::Open { probing: true, .. } => Err(Refused::Probing),
            State::Open { until, .. } if now < *until => Err(Refused::Until(*until)),
            State::Open { probing, .. } => {
                *probing = true;
                Ok(Pass { leader, probe: Some(self.openings) })
            }
        }
    }

    /// Tells what became of a call. Of calls to former leaders nothing is learnt.
    #[allow(clippy::needless_pass_by_value)] // A pass is good for one call.
    pub fn settle(&mut self, pass: Pass, verdict: Verdict, now: Instant) {
        if self.leader != Some(pass.leader) {
            return;
        }
        let probe = pass.probe == Some(self.openings);
        match (&mut self.state, verdict) {
            (State::Closed { failures }, Verdict::Answered) => *failures = 0,
            (State::Closed { failures }, Verdict::Failed) => {
                *failures += 1;
                if *failures >= FAILURES {
                    self.openings += 1;
                    self.state = State::Open { until: now + FIRST_PAUSE, pause: FIRST_PAUSE, probing: false };
                }
            }
            (State::Open { .. }, Verdict::Answered) => self.state = State::default(),
            (State::Open { until, pause, probing }, Verdict::Failed) if probe => {
                *pause = (*pause * 2).min(LONGEST_PAUSE);
                *until = now + *pause;
                *probing = false;
            }
            (State::Open { probing, .. }, Verdict::Cancelled) if probe => *probing = false,
            // Calls that were made before the circuit opened.
            (State::Open { .. }, _) | (State::Closed { .. }, Verdict::Cancelled) => {}
        }
    }

    /// Whether calls are stopped.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Leader = Leader { id: 1, term: 1 };
    const MS: Duration = Duration::from_millis(1);

    fn open(now: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        for _ in 0..3 {
            let pass = breaker.admit(A, now).unwrap();
            breaker.settle(pass, Verdict::Failed, now);
        }
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::default();
        for verdict in [Verdict::Failed, Verdict::Failed, Verdict::Answered, Verdict::Failed, Verdict::Failed]
        {
            let pass = breaker.admit(A, now).unwrap();
            breaker.settle(pass, verdict, now);
        }
        let (third, cancelled) = (breaker.admit(A, now).unwrap(), breaker.admit(A, now).unwrap());
        breaker.settle(cancelled, Verdict::Cancelled, now);
        assert!(!breaker.is_open(), "two in a row and one that was cancelled");
        breaker.settle(third, Verdict::Failed, now);
        assert_eq!(breaker.admit(A, now).unwrap_err(), Refused::Until(now + 100 * MS));
    }

    #[test]
    fn probes_go_one_at_a_time_with_growing_pauses() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        for pause in [100, 200, 400, 800, 1600, 2000, 2000] {
            assert_eq!(
                breaker.admit(A, now + (pause - 1) * MS).unwrap_err(),
                Refused::Until(now + pause * MS)
            );
            now += pause * MS;
            let probe = breaker.admit(A, now).unwrap();
            assert_eq!(breaker.admit(A, now).unwrap_err(), Refused::Probing);
            breaker.settle(probe, Verdict::Failed, now);
        }
        now += 2000 * MS;
        let probe = breaker.admit(A, now).unwrap();
        breaker.settle(probe, Verdict::Answered, now);
        assert!(!breaker.is_open());
        for _ in 0..2 {
            let pass = breaker.admit(A, now).unwrap();
            breaker.settle(pass, Verdict::Failed, now);
        }
        assert!(!breaker.is_open(), "it counts from 0 again");
    }

    #[test]
    fn a_cancelled_probe_makes_room_and_changes_nothing() {
        let start = Instant::now();
        let mut breaker = open(start);
        let now = start + 100 * MS;
        let probe = breaker.admit(A, now).unwrap();
        breaker.settle(probe, Verdict::Cancelled, now);
        let probe = breaker.admit(A, now).unwrap();
        breaker.settle(probe, Verdict::Failed, now);
        assert_eq!(breaker.admit(A, now).unwrap_err(), Refused::Until(now + 200 * MS));
    }

    #[test]
    fn another_leader_or_term_starts_anew() {
        let now = Instant::now();
        for other in [Leader { id: 2, term: 1 }, Leader { id: 1, term: 2 }] {
            let mut breaker = open(now);
            let probe = breaker.admit(A, now + 100 * MS).unwrap();
            let pass = breaker.admit(other, now).unwrap();
            breaker.settle(probe, Verdict::Failed, now);
            assert!(!breaker.is_open(), "the old leader's failure is none of the new one's");
            breaker.settle(pass, Verdict::Failed, now);
            assert!(breaker.admit(other, now).is_ok());
        }
    }

    #[test]
    fn calls_that_were_in_flight_when_it_opened_do_not_prolong_it() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::default();
        let passes: Vec<_> = (0..10).map(|_| breaker.admit(A, now).unwrap()).collect();
        for pass in passes {
            breaker.settle(pass, Verdict::Failed, now);
        }
        assert_eq!(breaker.admit(A, now).unwrap_err(), Refused::Until(now + 100 * MS));
    }

    proptest! {
        /// Whatever happens: while open there is at most one call more, the probe, and pauses stay within their bounds.
        #[test]
        fn at_most_one_probe_is_out(steps in prop::collection::vec((0u8..4, 0u64..3000), 1..200)) {
            let mut now = Instant::now();
            let mut breaker = CircuitBreaker::default();
            let mut out: Vec<Pass> = Vec::new();
            for (step, argument) in steps {
                match step {
                    0 => match breaker.admit(A, now) {
                        Ok(pass) => out.push(pass),
                        Err(Refused::Until(until)) => prop_assert!(until > now && until <= now + LONGEST_PAUSE),
                        Err(Refused::Probing) => {}
                    },
                    1 => now += Duration::from_millis(argument),
                    _ if !out.is_empty() => {
                        let pass = out.swap_remove(argument as usize % out.len());
                        let verdicts = [Verdict::Answered, Verdict::Failed, Verdict::Cancelled];
                        breaker.settle(pass, verdicts[argument as usize % 3], now);
                    }
                    _ => {}
                }
                let probes = out.iter().filter(|pass| pass.probe == Some(breaker.openings)).count();
                prop_assert!(probes <= 1 || !breaker.is_open());
            }
        }
    }
}
