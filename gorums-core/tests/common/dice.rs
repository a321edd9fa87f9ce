//! Chance and short pauses for tests of races.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Random choices of one test. The seed is printed if the test fails; `GORUMS_SEED` makes the same choices again.
pub struct Dice {
    seed: u64,
    random: Mutex<StdRng>,
}

impl Dice {
    pub fn new() -> Self {
        let given = std::env::var("GORUMS_SEED").ok();
        let seed = given.map_or_else(rand::random, |seed| seed.parse().expect("GORUMS_SEED is a number"));
        Self { seed, random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    /// Dice of their own for one of several tasks, so that its choices do not depend on the others.
    pub fn of_task(&self, task: u64) -> Self {
        let seed = self.seed.wrapping_add(task.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { seed: self.seed, random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    fn random(&self) -> MutexGuard<'_, StdRng> {
        self.random.lock().unwrap()
    }

    pub fn number(&self, range: Range<u64>) -> u64 {
        self.random().random_range(range)
    }

    /// Half of the numbers below `count`, in any order.
    pub fn half(&self, count: usize) -> Vec<usize> {
        let mut numbers: Vec<_> = (0..count).collect();
        numbers.shuffle(&mut self.random());
        numbers.truncate(count / 2);
        numbers
    }

    /// Lets others run for up to this many microseconds.
    pub async fn pause(&self, micros: u64) {
        let length = Duration::from_micros(self.number(0..micros + 1));
        pause(length).await;
    }
}

impl Drop for Dice {
    #[expect(clippy::print_stderr, reason = "how to see a failure again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with GORUMS_SEED={}", self.seed);
        }
    }
}

/// Lets others run for a while: the clock of the runtime only knows milliseconds.
pub async fn pause(length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        tokio::task::yield_now().await;
    }
}
