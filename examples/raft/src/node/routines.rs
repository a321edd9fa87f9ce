//! Work that only the leader does.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::node::Node;
use crate::node::leadership::Leadership;

/// The pause after the first panic of a routine; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a routine knows of the leadership that it runs under.
#[derive(Clone, Debug)]
pub struct LeaderContext {
    node: Node,
    term: u64,
    epoch: u64,
}

impl LeaderContext {
    /// The node that leads.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The term in which it was elected.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Which time it is that the node leads; see [`Leadership::Leading`].
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the node still leads, and is still confirmed. Other nodes may know better: what must not happen after the
    /// next leader has begun goes through the log, where the term tells.
    pub fn is_current(&self) -> bool {
        *self.node.leadership().borrow() == Leadership::Leading { term: self.term, epoch: self.epoch }
    }
}

/// Runs a routine whenever the node leads, until the node stops.
///
/// The future of the routine is dropped as soon as leadership is lost or cannot be confirmed. One that returns is done until
/// the next time; one that panics is started again after a pause.
pub(crate) async fn run<F, Fut>(
    node: Node,
    name: &'static str,
    mut leadership: watch::Receiver<Leadership>,
    routine: F,
) where
    F: Fn(LeaderContext) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    loop {
        let Ok(leading) = leadership.wait_for(Leadership::is_leading).await.map(|now| now.clone()) else {
            return;
        };
        let Leadership::Leading { term, epoch } = leading else { continue };
        let context = LeaderContext { node: node.clone(), term, epoch };
        let lost = async {
            let mut leadership = leadership.clone();
            // The node has stopped if this fails, which is a loss as well.
            let _ = leadership.wait_for(|now| *now != leading).await;
        };
        let mut lost = pin!(lost);
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                biased;
                () = &mut lost => break,
                ended = AssertUnwindSafe(routine(context.clone())).catch_unwind() => match ended {
                    Ok(()) => {
                        lost.await;
                        break;
                    }
                    Err(panic) => tracing::error!("routine {name} panicked: {}", panic_text(&*panic)),
                }
            }
            tokio::select! {
                biased;
                () = &mut lost => break,
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
