//! Calls that start at a rate, whatever becomes of the calls before them.
//!
//! Each call has a moment at which it is meant to start, and its latency counts from there. A server that stalls delays
//! the calls that were meant to start meanwhile, and every one of them shows it: there is no *coordinated omission* (Gil
//! Tene, "How not to measure latency"), as there is where a caller only starts a call once the one before has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Hands out the moments at which calls are meant to start.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    rate: u64,
    /// One permit for each call that is due and not taken.
    due: Semaphore,
    taken: AtomicU64,
    stopped: AtomicBool,
}

/// Keeps handing them out until it is dropped.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Arc<Pace>,
    thread: Option<JoinHandle<()>>,
}

/// Even if calls are due more often, the thread wakes no more often than this.
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);

impl Pacer {
    /// Starts so many calls each second, from now on; at least one.
    pub(crate) fn start(rate: u64) -> Self {
        let pace = Arc::new(Pace {
            start: Instant::now(),
            rate: rate.max(1),
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let thread = thread::spawn({
            let pace = pace.clone();
            move || pace.run()
        });
        Self { pace, thread: Some(thread) }
    }

    pub(crate) fn pace(&self) -> Arc<Pace> {
        self.pace.clone()
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.pace.stop();
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

impl Pace {
    /// Waits until a call is due, and gives the moment at which it was meant to start; `None` when it was stopped.
    pub(crate) async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        Some(self.intended(self.taken.fetch_add(1, Relaxed)))
    }

    /// No more calls are handed out.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
        self.due.close();
    }

    /// The moments of the calls that were due by `end` and that nobody has taken, after it was stopped.
    pub(crate) fn missed(&self, end: Instant) -> impl Iterator<Item = Instant> {
        (self.taken.load(Relaxed)..self.due_by(end)).map(|index| self.intended(index))
    }

    /// When the call with this index, from 0, is meant to start.
    fn intended(&self, index: u64) -> Instant {
        let nanos = u128::from(index) * 1_000_000_000 / u128::from(self.rate);
        self.start + Duration::from_nanos(nanos as u64)
    }

    /// How many calls are due by then.
    fn due_by(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.start).as_nanos();
        (nanos * u128::from(self.rate) / 1_000_000_000) as u64 + 1
    }

    fn run(&self) {
        precise_sleep();
        let mut handed_out = 0;
        while !self.stopped.load(Relaxed) {
            let due = self.due_by(Instant::now());
            self.due.add_permits((due - handed_out) as usize);
            handed_out = due;
            thread::sleep(self.intended(due).saturating_duration_since(Instant::now()).max(SHORTEST_SLEEP));
        }
    }
}

/// Lets this thread wake when it wants to, and not up to 50 us later, as the kernel does to save energy.
fn precise_sleep() {
    #[cfg(target_os = "linux")]
    // Without it, calls only start a little later, and their latencies show it.
    let _ = nix::sys::prctl::set_timerslack(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> Pace {
        Pace {
            start: Instant::now(),
            rate,
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    #[test]
    fn as_many_calls_are_due_as_the_rate_says() {
        let pace = pace(1_000);
        let after = |micros| pace.due_by(pace.start + Duration::from_micros(micros));
        assert_eq!([after(0), after(999), after(1_000), after(1_000_000)], [1, 1, 2, 1_001]);
        assert_eq!(pace.intended(2_500), pace.start + Duration::from_millis(2_500));
        let last = pace.due_by(pace.start + Duration::from_secs(3)) - 1;
        assert_eq!(pace.intended(last), pace.start + Duration::from_secs(3));
    }

    #[tokio::test]
    async fn calls_are_handed_out_in_order_and_not_too_early() {
        let pacer = Pacer::start(10_000);
        let pace = pacer.pace();
        for index in 0..200 {
            let intended = pace.next().await.unwrap();
            assert_eq!(intended, pace.intended(index));
            assert!(Instant::now() >= intended);
        }
        pace.stop();
        assert_eq!(pace.next().await, None);
        assert_eq!(pace.missed(pace.intended(209)).count(), 10);
    }
}
