//! Counters and gauges of a node.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::channel::queue::QueueCounts;
use crate::error::NodeErrorKind;
use crate::sync::Mutex;

/// What one node has done so far, as counted at the moment of asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// Where the requests to the node went.
    pub queue: QueueCounts,
    /// Calls that the node still owes a reply.
    pub pending: usize,
    /// Replies that came after their call had ended, or to calls that nobody made.
    pub late_replies: u64,
    /// Connections made.
    pub connections: u64,
    /// The moving average of the time to a reply; `None` before the first. Where a [staged](crate::QuorumCall::staged) call
    /// had to ask other nodes and ended without this one's reply, the time it waited counts, if that is more.
    pub latency: Option<Duration>,
    /// How long the node took to answer the last keepalive ping: the way there and back, without handlers. `None` before the
    /// first, and for a node in this process.
    pub ping: Option<Duration>,
}

/// The live counters behind [`NodeStats`].
#[derive(Default)]
pub(crate) struct Counters {
    late_replies: AtomicU64,
    connections: AtomicU64,
    /// Nanoseconds, or 0 before the first reply.
    latency: AtomicU64,
    /// Nanoseconds, or 0 before the first answer.
    ping: AtomicU64,
    last_error: Mutex<Option<NodeErrorKind>>,
    #[cfg(feature = "metrics")]
    histogram: std::sync::OnceLock<metrics::Histogram>,
}

/// Each reply moves the average by this part of the difference, as TCP's smoothed round-trip time (RFC 6298).
const SMOOTHING: u64 = 8;

impl Counters {
    pub(crate) fn late_reply(&self) {
        self.late_replies.fetch_add(1, Relaxed);
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// Not exact when two replies are counted at once: one of them may be lost, which an average bears.
    pub(crate) fn replied_after(&self, latency: Duration) {
        #[cfg(feature = "metrics")]
        if let Some(histogram) = self.histogram.get() {
            histogram.record(latency);
        }
        self.average(latency);
    }

    fn average(&self, latency: Duration) {
        let sample = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1);
        let average = match self.latency.load(Relaxed) {
            0 => sample,
            old => (old - old / SMOOTHING).saturating_add(sample / SMOOTHING).max(1),
        };
        self.latency.store(average, Relaxed);
    }

    /// A reply has not come within this time.
    pub(crate) fn took_at_least(&self, time: Duration) {
        if self.latency().is_none_or(|average| average < time) {
            self.average(time);
        }
    }

    /// From now on latencies are recorded here too.
    #[cfg(feature = "metrics")]
    pub(crate) fn record_in(&self, histogram: impl FnOnce() -> metrics::Histogram) {
        self.histogram.get_or_init(histogram);
    }

    /// A ping was answered after this time.
    pub(crate) fn pinged(&self, time: Duration) {
        self.ping.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1), Relaxed);
    }

    pub(crate) fn failed(&self, kind: NodeErrorKind) {
        *self.last_error.lock() = Some(kind);
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        duration(&self.latency)
    }

    pub(crate) fn last_error(&self) -> Option<NodeErrorKind> {
        self.last_error.lock().clone()
    }

    pub(crate) fn snapshot(&self, queue: QueueCounts, pending: usize) -> NodeStats {
        NodeStats {
            queue,
            pending,
            late_replies: self.late_replies.load(Relaxed),
            connections: self.connections.load(Relaxed),
            latency: self.latency(),
            ping: duration(&self.ping),
        }
    }
}

fn duration(nanos: &AtomicU64) -> Option<Duration> {
    Some(nanos.load(Relaxed)).filter(|&nanos| nanos > 0).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_an_average_that_moves() {
        let counters = Counters::default();
        assert_eq!(counters.latency(), None);
        counters.replied_after(Duration::from_nanos(800));
        assert_eq!(counters.latency(), Some(Duration::from_nanos(800)));
        counters.replied_after(Duration::from_nanos(1_600));
        assert_eq!(counters.latency(), Some(Duration::from_nanos(900)));
    }
}
