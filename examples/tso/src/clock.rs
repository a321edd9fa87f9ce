//! Where the time comes from.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that may step, stall and lie: nothing but how fresh timestamps are depends on it.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The clock of the system, which can be shifted to test what that does.
#[derive(Debug, Default)]
pub struct SystemClock {
    shift_ms: AtomicI64,
}

impl SystemClock {
    /// Shifts the clock from now on, by so many milliseconds in all.
    pub fn shift(&self, ms: i64) {
        self.shift_ms.store(ms, Relaxed);
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (since.as_millis() as u64).saturating_add_signed(self.shift_ms.load(Relaxed))
    }
}
