//! How many calls may be made again: a retry budget, after that of Finagle.

/// The budget at the start, and at most, in retries.
const FULL: f64 = 10.0;
/// What each call adds to it: one call in ten may be made again.
const PER_CALL: f64 = 0.1;

/// Bounds retries to a share of the calls, so that a leader that is in trouble gets no more load because of it.
#[derive(Debug)]
pub struct RetryBudget {
    left: f64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { left: FULL }
    }
}

impl RetryBudget {
    /// Counts a new call.
    pub fn deposit(&mut self) {
        self.left = (self.left + PER_CALL).min(FULL);
    }

    /// Takes one retry out of the budget, if there is one.
    pub fn withdraw(&mut self) -> bool {
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_in_ten_may_be_made_again() {
        let mut budget = RetryBudget::default();
        let at_once = (0..100).filter(|_| budget.withdraw()).count();
        assert_eq!(at_once, 10);
        let mut retries = 0;
        for _ in 0..1000 {
            budget.deposit();
            retries += usize::from(budget.withdraw());
        }
        assert!((95..=100).contains(&retries), "{retries}");
        for _ in 0..10_000 {
            budget.deposit();
        }
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10, "it is never more than full");
    }
}
