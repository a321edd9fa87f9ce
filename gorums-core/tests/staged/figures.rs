//! What staging saves and what it costs: one slow node of five, and now and then a node that is slow for once.

use std::time::Duration;

use gorums_core::{QuorumError, Stage, latency};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::cluster::{Does, MS, Nodes};

/// The calls of one kind.
struct Figures {
    requests: usize,
    times: Vec<Duration>,
}

impl Figures {
    fn time_of(&self, permille: usize) -> Duration {
        self.times[(self.times.len() - 1) * permille / 1_000]
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Staged(Stage),
    /// To the three fastest nodes, and nobody else.
    FastestOnly,
}

async fn call(nodes: &Nodes, kind: Kind) -> Result<u64, QuorumError> {
    match kind {
        Kind::Plain => nodes.call().majority().await,
        Kind::Staged(stage) => nodes.call().staged(stage).majority().await,
        Kind::FastestOnly => {
            let fastest = nodes.configuration.sorted_by(latency).take(3);
            let call = gorums_core::QuorumTarget::quorum_call(&fastest, &crate::cluster::READ, String::new());
            call.all().await
        }
    }
}

/// Nodes 1 to 4 take 1 to 3 ms, but 1 reply in 50 takes 40 ms; node 5 takes 50 ms.
fn dice(nodes: &Nodes, random: &mut StdRng) {
    for id in 1..=4 {
        let takes = if random.random_ratio(1, 50) { 40_000 } else { random.random_range(1_000..3_000) };
        nodes.set(id, Does::Reply(Duration::from_micros(takes)));
    }
}

async fn measure(kind: Kind, calls: usize) -> Figures {
    let nodes = Nodes::unmeasured(5).await;
    nodes.set(5, Does::Reply(50 * MS));
    let mut random = StdRng::seed_from_u64(1);
    nodes.call().all().await.unwrap();
    nodes.forget();
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        dice(&nodes, &mut random);
        let start = Instant::now();
        call(&nodes, kind).await.unwrap();
        times.push(start.elapsed());
    }
    tokio::time::sleep(100 * MS).await;
    times.sort_unstable();
    let figures = Figures { requests: nodes.requests(), times };
    nodes.finish().await;
    figures
}

/// Plain, adaptive, after 5 ms, and the fastest quorum only: the same calls with each.
async fn compare(calls: usize) -> [Figures; 4] {
    let kinds = [
        ("plain", Kind::Plain),
        ("staged, adaptive", Kind::Staged(Stage::adaptive())),
        ("staged, after 5 ms", Kind::Staged(Stage::after(5 * MS))),
        ("fastest quorum only", Kind::FastestOnly),
    ];
    let mut all = Vec::new();
    for (name, kind) in kinds {
        let figures = measure(kind, calls).await;
        let per_hundred = figures.requests * 100 / calls;
        let [p50, p99, p999] = [500, 990, 999].map(|permille| figures.time_of(permille));
        eprintln!("{name}: {per_hundred} requests in 100 calls; p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}");
        all.push(figures);
    }
    all.try_into().unwrap_or_else(|_| unreachable!())
}

#[tokio::test(start_paused = true)]
async fn staging_saves_requests_and_keeps_the_tail_short() {
    let calls = if std::env::var_os("GORUMS_SOAK").is_some() { 50_000 } else { 2_000 };
    let [plain, adaptive, after, fastest] = compare(calls).await;
    assert_eq!(plain.requests, 5 * calls);
    for staged in [adaptive, after] {
        assert!(staged.requests < 7 * plain.requests / 10, "{} of {}", staged.requests, plain.requests);
        assert!(staged.time_of(990) < 15 * MS, "{:?}", staged.time_of(990));
    }
    assert!(fastest.time_of(990) >= 40 * MS, "without a second stage the tail is that of the slowest");
}

/// With `GORUMS_SOAK`, in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_in_real_time() {
    if std::env::var_os("GORUMS_SOAK").is_some() {
        compare(2_000).await;
    }
}
