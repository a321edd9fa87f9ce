//! What this process has used so far.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::allocator;

/// CPU time, context switches and allocations, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) switches: u64,
    pub(crate) allocations: u64,
    pub(crate) allocated_bytes: u64,
}

impl Usage {
    /// As the kernel says; nothing if it does not.
    pub(crate) fn now() -> Self {
        let (allocations, allocated_bytes) = allocator::counts();
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Self::default() };
        let switches = usage.voluntary_context_switches() + usage.involuntary_context_switches();
        Self {
            user_us: micros(usage.user_time()),
            system_us: micros(usage.system_time()),
            switches: positive(switches),
            allocations,
            allocated_bytes,
        }
    }

    /// What was used since an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
            switches: self.switches.saturating_sub(earlier.switches),
            allocations: self.allocations.saturating_sub(earlier.allocations),
            allocated_bytes: self.allocated_bytes.saturating_sub(earlier.allocated_bytes),
        }
    }

    /// Resident memory of this process in KiB; 0 where there is no `/proc`.
    pub(crate) fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
    }
}

fn micros(time: TimeVal) -> u64 {
    positive(time.tv_sec()) * 1_000_000 + positive(time.tv_usec())
}

fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory() {
        let before = Usage::now();
        while Usage::now().since(&before).user_us + Usage::now().since(&before).system_us < 10_000 {
            std::hint::black_box(vec![1; 1_000]);
        }
        assert!(!cfg!(target_os = "linux") || Usage::resident_kib() > 0);
        let counted = Usage::now().since(&before).allocations > 0;
        assert_eq!(counted, cfg!(feature = "count-alloc"));
    }
}
