//! Timestamps.

use std::fmt;

/// Bits of the number within a millisecond.
pub(crate) const LOGICAL_BITS: u32 = 18;
/// The last millisecond that can be told: in the year 4199.
pub(crate) const MAX_PHYSICAL: u64 = (1 << (64 - LOGICAL_BITS)) - 1;

/// A point in the order of all that was stamped: milliseconds since 1970 in the upper 46 bits, and a number within the
/// millisecond in the lower 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The timestamp with these 64 bits.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The 64 bits.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970, as the leader's clock or its fence had it.
    pub const fn physical(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The number within the millisecond, from 0 to 262,143.
    pub const fn logical(self) -> u32 {
        (self.0 & ((1 << LOGICAL_BITS) - 1)) as u32
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The first timestamp of a millisecond. Those after the last one that can be told have none.
pub(crate) fn first_of(physical: u64) -> Option<u64> {
    (physical <= MAX_PHYSICAL).then_some(physical << LOGICAL_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_timestamp() {
        let stamp = Timestamp::from_raw(first_of(50_000).unwrap() + 7);
        assert_eq!((stamp.physical(), stamp.logical()), (50_000, 7));
        assert_eq!(Timestamp::from_raw(u64::MAX).logical(), (1 << 18) - 1);
        assert_eq!(first_of(MAX_PHYSICAL + 1), None);
    }
}
