//! When a restarted node has caught up with what it knew before.
//!
//! What a node applied last is applied again after a restart, when it is known to be committed. The engine lets a leader that
//! was restarted lead on in its term, if nobody else was elected meanwhile; it holds all committed entries then, but does not
//! know yet that those at the end of its log are, and a read would not see them. That is why reads wait until a quorum has
//! confirmed the log as it was at the start, or what has taken its place.

use openraft::LogIdOptionExt;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;

use crate::types::Raft;

/// Notes when the log that ended with this index at the start is known to be committed, or replaced.
pub(crate) async fn observe(raft: Raft, end: Option<u64>, recovered: watch::Sender<bool>) {
    let mut metrics = raft.metrics();
    loop {
        let (committed, last) = {
            let now = metrics.borrow_watched();
            (now.cluster_committed.index(), now.last_log_index)
        };
        if is_recovered(end, last, committed) {
            recovered.send_replace(true);
            return;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Whether the cluster has committed the log that ended with `end`, or, if it is shorter by now, all that is left of it and
/// what came in its place.
fn is_recovered(end: Option<u64>, last: Option<u64>, committed: Option<u64>) -> bool {
    end.is_none() || (committed.is_some() && committed >= end.min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_recovered_when_its_end_is_committed() {
        for (end, last, committed, recovered) in [
            (None, None, None, true),
            (Some(9), Some(9), None, false),
            (Some(9), Some(9), Some(8), false),
            (Some(9), Some(9), Some(9), true),
            // More has come meanwhile.
            (Some(9), Some(20), Some(12), true),
            (Some(9), Some(20), Some(8), false),
            // The end was never committed, and was replaced.
            (Some(9), Some(7), Some(6), false),
            (Some(9), Some(7), Some(7), true),
        ] {
            assert_eq!(is_recovered(end, last, committed), recovered, "{end:?} {last:?} {committed:?}");
        }
    }
}
