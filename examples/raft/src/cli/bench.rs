//! Load, and how long calls take under it.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use raft::{Client, Consistency};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use crate::cli::args::BenchOptions;
use crate::cli::config::Connection;
use crate::cli::failure::Failure;
use raft::program::output::{notice, result};

/// What one of the callers saw: how long calls took, in microseconds, and how many failed.
#[derive(Default)]
struct Seen {
    reads: Vec<u32>,
    writes: Vec<u32>,
    failed: u64,
    last_error: Option<String>,
}

/// Runs the load and prints a line a second to stderr, and then a summary.
pub(crate) async fn run(options: &BenchOptions, connection: &Connection) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    // Fails early if there is no cluster.
    client.put("bench/0", Bytes::new()).await?;
    let done = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + options.duration;
    let mut callers = JoinSet::new();
    for caller in 0..options.clients {
        callers.spawn(call(client.clone(), Load::of(options, caller), end, done.clone()));
    }
    let begun = Instant::now();
    let mut seen = Seen::default();
    let mut progress = interval_at(begun + SECOND, SECOND);
    let mut last = 0;
    loop {
        tokio::select! {
            ended = callers.join_next() => match ended {
                Some(Ok(more)) => seen.add(more),
                Some(Err(error)) => return Err(Failure::Runtime(error.into())),
                None => break,
            },
            _ = progress.tick() => {
                let now = done.load(Relaxed);
                notice(&format!("{:>3.0} s  {:>8} calls/s", begun.elapsed().as_secs_f64(), now - last));
                last = now;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    for (what, times) in [("reads", &mut seen.reads), ("writes", &mut seen.writes)] {
        summary(what, times, seconds);
    }
    result(&format!("failed  {}", seen.failed));
    if let Some(error) = seen.last_error {
        notice(&format!("the last failure: {error}"));
    }
    client.close().await;
    Ok(if seen.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const SECOND: Duration = Duration::from_secs(1);

/// What one of the callers does.
struct Load {
    reads: u8,
    consistency: Consistency,
    value: Bytes,
    keys: u32,
    caller: u16,
}

impl Load {
    fn of(options: &BenchOptions, caller: u16) -> Self {
        let value = Bytes::from(vec![b'x'; options.size]);
        let (consistency, reads, keys) = (options.consistency.into(), options.reads, options.keys);
        Self { reads, consistency, value, keys, caller }
    }
}

async fn call(client: Client, load: Load, end: Instant, done: Arc<AtomicU64>) -> Seen {
    let mut seen = Seen::default();
    for number in 0_u64.. {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        // Spread over the keys, and over reads and writes, in the same way each time.
        let mixed = (number + u64::from(load.caller) * 7_919).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let key = format!("bench/{}", (mixed >> 32) % u64::from(load.keys));
        let is_read = mixed % 100 < u64::from(load.reads);
        let failure = if is_read {
            client.get(key, load.consistency).await.err()
        } else {
            client.put(key, load.value.clone()).await.err()
        };
        done.fetch_add(1, Relaxed);
        let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        match failure {
            Some(error) => {
                seen.failed += 1;
                seen.last_error = Some(error.to_string());
            }
            None if is_read => seen.reads.push(micros),
            None => seen.writes.push(micros),
        }
    }
    seen
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.reads.extend(other.reads);
        self.writes.extend(other.writes);
        self.failed += other.failed;
        self.last_error = other.last_error.or(self.last_error.take());
    }
}

fn summary(what: &str, times: &mut [u32], seconds: f64) {
    if times.is_empty() {
        return;
    }
    times.sort_unstable();
    // Thousandths, so that no rounding takes part.
    let at = |part: usize| f64::from(times[(times.len() - 1) * part / 1000]) / 1e3;
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let rate = f64::from(count) / seconds;
    result(&format!(
        "{what:<6}  {rate:>8.0}/s  p50 {:.2} ms  p90 {:.2} ms  p99 {:.2} ms  p99.9 {:.2} ms  max {:.2} ms",
        at(500),
        at(900),
        at(990),
        at(999),
        at(1000)
    ));
}
