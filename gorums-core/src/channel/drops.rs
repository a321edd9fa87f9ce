//! Says in the log that messages are dropped: at once, then once in each window while it goes on, and the rest at its end.

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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Drops that the log has told of.
    told: u64,
    /// A window is open, and a task tells of the rest at its end.
    open: bool,
}

/// A message was dropped.
pub(crate) fn dropped(channel: &Arc<Channel>) {
    let opens = !std::mem::replace(&mut channel.drop_log().state.lock().open, true);
    if opens && tell(channel) {
        channel.pool().spawn(windows(Arc::downgrade(channel), channel.connectivity()));
    }
}

/// Tells of the drops that nothing was said of yet. False if there are none.
fn tell(channel: &Channel) -> bool {
    let (new, total) = {
        let mut state = channel.drop_log().state.lock();
        let total = channel.stats().queue.dropped;
        let new = total - state.told;
        *state = State { told: total, open: new > 0 };
        (new, total)
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
        match channel.upgrade() {
            Some(channel) if tell(&channel) && !closed => {}
            _ => return,
        }
    }
}
