//! The allocator of this program, which may be another one, or one that counts.

#[cfg(feature = "count-alloc")]
#[global_allocator]
static COUNTING: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

#[cfg(all(feature = "mimalloc", not(feature = "count-alloc")))]
#[global_allocator]
static MIMALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What it is, for reports.
pub(crate) const NAME: &str = if cfg!(feature = "count-alloc") {
    "the system's, counting"
} else if cfg!(feature = "mimalloc") {
    "mimalloc"
} else {
    "the system's"
};

/// Heap allocations so far, those that grow or move something among them, and their bytes; 0 without the feature
/// `count-alloc`.
#[cfg(feature = "count-alloc")]
pub(crate) fn counts() -> (u64, u64) {
    let stats = COUNTING.stats();
    ((stats.allocations + stats.reallocations) as u64, stats.bytes_allocated as u64)
}

/// Heap allocations so far, and their bytes; 0 without the feature `count-alloc`.
#[cfg(not(feature = "count-alloc"))]
pub(crate) fn counts() -> (u64, u64) {
    (0, 0)
}
