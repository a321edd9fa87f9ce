//! Clients that ask all the time, and note what they get.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use tso::Client;

use crate::cli::args::{Scenario, StressOptions};
use crate::cli::failure::Failure;

/// Pauses, so that the calls of a minute fit into memory and the nodes have time for other things.
const PAUSE: Duration = Duration::from_millis(1);
const BURST: Duration = Duration::from_millis(300);

/// A call that got timestamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) epoch: u64,
}

/// What one client got, in order, and how many of its calls failed.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) seen: Vec<Seen>,
    pub(crate) failed: u64,
}

/// Clients at work, each with connections of its own.
pub(crate) struct Load {
    done: Arc<AtomicBool>,
    clients: JoinSet<History>,
}

impl Load {
    pub(crate) fn start(options: &StressOptions, nodes: &[(u32, String)]) -> Result<Self, Failure> {
        let (done, mut clients) = (Arc::<AtomicBool>::default(), JoinSet::new());
        let burst = options.scenario == Scenario::Burst;
        for _ in 0..options.clients {
            let client = Client::builder().nodes(nodes.to_vec()).timeout(Duration::from_secs(10)).build()?;
            clients.spawn(ask(client, options.batch, burst, done.clone()));
        }
        Ok(Self { done, clients })
    }

    pub(crate) async fn finish(self) -> Vec<History> {
        self.done.store(true, Relaxed);
        self.clients.join_all().await
    }
}

async fn ask(client: Client, batch: u32, burst: bool, done: Arc<AtomicBool>) -> History {
    let mut history = History::default();
    let start = Instant::now();
    while !done.load(Relaxed) {
        let begun = Instant::now();
        match client.get_batch(batch).await {
            Ok(stamps) => history.seen.push(Seen {
                begun,
                ended: Instant::now(),
                first: stamps.first().raw(),
                count: batch,
                epoch: stamps.epoch(),
            }),
            Err(error) => {
                tracing::debug!("{error}");
                history.failed += 1;
            }
        }
        // All at once for a while, and nothing for as long.
        let in_burst = (start.elapsed().as_millis() / BURST.as_millis()).is_multiple_of(2);
        match (burst, in_burst) {
            (true, true) => tokio::task::yield_now().await,
            (true, false) => sleep(BURST / 10).await,
            (false, _) => sleep(PAUSE).await,
        }
    }
    client.close().await;
    history
}
