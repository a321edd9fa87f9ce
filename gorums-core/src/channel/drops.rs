//! Says in the log that messages are dropped: at once, then once in each window while it goes on, and the rest at its end.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::channel::{Channel, Connectivity};
use crate::sync::Mutex;

/// Drops are logged at most this often.
const WINDOW: Duration = Duration::from_secs(30);

/// What has been said of a node's drops.
#[derive(Debug, Default)]
pub(crate) struct DropLog {
    /// Drops that the log has told of.
    told: Mutex<u64>,
    /// A window is open, and a task tells of the rest at its end. Looked at for every drop.
    open: AtomicBool,
}

/// A message was dropped, and counted.
pub(crate) fn dropped(channel: &Arc<Channel>) {
    let open = &channel.drop_log().open;
    if !open.load(SeqCst) && !open.swap(true, SeqCst) {
        tell(channel);
        channel.pool().spawn(windows(Arc::downgrade(channel), channel.connectivity()));
    }
}

/// Tells of the drops that nothing was said of yet. False if there are none.
fn tell(channel: &Channel) -> bool {
    let (new, total) = {
        let mut told = channel.drop_log().told.lock();
        let total = channel.with_queue(|queue| queue.dropped());
        (total - mem::replace(&mut *told, total), total)
    };
    if new > 0 {
        let (node, address) = (channel.id(), channel.address());
        tracing::warn!(%node, %address, dropped = new, total, "queue full, dropped");
    }
    new > 0
}

/// Tells of drops at the end of each window, until there were none or the node is closed.
async fn windows(channel: Weak<Channel>, mut connectivity: watch::Receiver<Connectivity>) {
    loop {
        // Also ends when the channel is gone.
        let closed = connectivity.wait_for(|state| matches!(state, Connectivity::Closed));
        let closed = timeout(WINDOW, closed).await.is_ok();
        let Some(channel) = channel.upgrade() else { return };
        // Closed before the drops are counted: one that is not among them opens the next window.
        let open = &channel.drop_log().open;
        open.store(false, SeqCst);
        if !tell(&channel) || closed || open.swap(true, SeqCst) {
            return;
        }
    }
}
