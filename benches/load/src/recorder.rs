//! What the callers have done so far, counted where all of them see it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// What is done with the calls that end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// They do not count.
    WarmUp = 0,
    /// They count.
    Measure = 1,
    /// They do not count, and no others are started.
    Stop = 2,
}

/// The callers share so few histograms because each is large, and so many because they are locked.
const SHARDS: usize = 8;
/// Latencies are kept to 3 digits, up to a minute; longer ones count as a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// Counters, and histograms of latencies in nanoseconds.
#[derive(Debug)]
pub(crate) struct Recorder {
    phase: AtomicU8,
    done: AtomicU64,
    errors: AtomicU64,
    first_error: Mutex<Option<String>>,
    shards: Vec<Mutex<Histogram<u64>>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::WarmUp as u8),
            done: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            first_error: Mutex::new(None),
            shards: (0..SHARDS).map(|_| Mutex::new(histogram())).collect(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            _ => Phase::Stop,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// A call of this caller has succeeded. Its latency counts in any phase: the caller decides.
    pub(crate) fn succeeded(&self, caller: usize, latency: Duration) {
        self.done.fetch_add(1, Relaxed);
        self.latency(caller, latency);
    }

    /// A call took at least so long.
    pub(crate) fn latency(&self, caller: usize, latency: Duration) {
        let nanos = latency.min(LONGEST).as_nanos() as u64;
        lock(&self.shards[caller % SHARDS]).saturating_record(nanos.max(1));
    }

    /// A call has failed.
    pub(crate) fn failed(&self, error: &anyhow::Error) {
        if self.errors.fetch_add(1, Relaxed) == 0 {
            *lock(&self.first_error) = Some(format!("{error:#}"));
        }
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    pub(crate) fn first_error(&self) -> Option<String> {
        lock(&self.first_error).clone()
    }

    /// All latencies together.
    pub(crate) fn latencies(&self) -> Histogram<u64> {
        let mut all = histogram();
        for shard in &self.shards {
            // The bounds are the same.
            let _ = all.add(&*lock(shard));
        }
        all
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants that the crate allows")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).expect("1 < a minute, and 3 digits")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_record_adds_up() {
        let recorder = Recorder::new();
        for caller in 0..20 {
            recorder.succeeded(caller, Duration::from_micros(10));
        }
        recorder.latency(3, Duration::from_secs(1_000));
        recorder.failed(&anyhow::anyhow!("first"));
        recorder.failed(&anyhow::anyhow!("second"));
        let latencies = recorder.latencies();
        assert_eq!((recorder.done(), recorder.errors(), latencies.len()), (20, 2, 21));
        assert_eq!(recorder.first_error().as_deref(), Some("first"));
        assert!(latencies.max() >= 60_000_000_000);
        assert!((9_900..10_100).contains(&latencies.value_at_quantile(0.5)));
    }
}
