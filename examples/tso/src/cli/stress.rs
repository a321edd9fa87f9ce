//! Does bad things to three nodes, and checks what clients get.

mod check;
mod load;

use std::process::ExitCode;
use std::time::Duration;

use raft::program::output::result;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};
use tso::Client;
use tso::proto::FaultsRequest;

use self::load::Load;
use crate::cli::args::{Scenario, StressOptions};
use crate::cli::failure::Failure;
use crate::cli::local::leader;
use crate::cli::processes::Processes;

/// How long the nodes may take until the first timestamp.
const PATIENCE: Duration = Duration::from_secs(15);
const KILL_EVERY: Duration = Duration::from_secs(2);
const ELECTION_TIMEOUT: Duration = Duration::from_millis(300);

/// Runs a scenario, and tells what clients got.
pub(crate) async fn run(options: StressOptions) -> Result<ExitCode, Failure> {
    stress(&options).await.map_err(|failure| match failure {
        Failure::Violation(_) | Failure::Usage(_) => failure,
        other => Failure::Stress(other.to_string()),
    })
}

async fn stress(options: &StressOptions) -> Result<ExitCode, Failure> {
    let mut serve = vec!["--heartbeat", "50ms", "--election-timeout", "300ms", "--allow-faults"];
    if options.scenario == Scenario::InjectViolation {
        serve.push("--below-the-floor");
    }
    let mut processes = Processes::start(3, &serve).await?;
    let admin = Client::builder().nodes(processes.nodes.clone()).timeout(PATIENCE).build()?;
    admin.get().await.map_err(|error| Failure::Stress(format!("no first timestamp: {error}")))?;
    let load = Load::start(options, &processes.nodes)?;
    let begun = Instant::now();
    let done = torment(options, &mut processes, &admin, begun + options.duration).await;
    let ended = Instant::now();
    let histories = load.finish().await;
    admin.close().await;
    processes.finish().await;
    let faults = done?;

    let seen = check::check(histories, begun.into_std(), ended.into_std());
    let seen = seen.map_err(|wrong| Failure::Violation(format!("a timestamp is wrong: {wrong}")))?;
    if seen.calls == 0 || (faults == 0 && !matches!(options.scenario, Scenario::Steady | Scenario::Burst)) {
        return Err(Failure::Stress(format!("{} calls and {faults} faults prove nothing", seen.calls)));
    }
    #[allow(clippy::cast_precision_loss)] // No run is so long.
    let per_second = seen.timestamps as f64 / options.duration.as_secs_f64();
    result(&format!(
        "{} calls, {} timestamps ({per_second:.0}/s) in {} terms; {} calls failed; {faults} faults; longest gap {:.0?}",
        seen.calls, seen.timestamps, seen.terms, seen.failed, seen.longest_gap
    ));
    result(
        "no duplicate, no regression, and every timestamp above all that were there before it was asked for",
    );
    match options.max_gap {
        Some(max) if seen.longest_gap > max => {
            Err(Failure::Violation(format!("no timestamp for {:?}, longer than {max:?}", seen.longest_gap)))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Does what the scenario says until the time is over, and tells how often.
async fn torment(
    options: &StressOptions,
    processes: &mut Processes,
    admin: &Client,
    end: Instant,
) -> Result<u32, Failure> {
    let mut rng = SmallRng::seed_from_u64(options.seed);
    let mut faults = 0;
    loop {
        let next = (Instant::now() + KILL_EVERY).min(end);
        sleep_until(next).await;
        if next == end {
            return Ok(faults);
        }
        let Some(leader) = leader(admin).await else { continue };
        match options.scenario {
            Scenario::Steady | Scenario::Burst => continue,
            Scenario::KillerLoop | Scenario::InjectViolation => {
                processes.kill(leader).await?;
                processes.spawn(leader).await?;
            }
            Scenario::FenceFaults => {
                let failures = rng.random_range(1..12);
                for (id, _) in &processes.nodes {
                    order(admin, *id, FaultsRequest { failures, clock_shift_ms: 0 }).await;
                }
                if rng.random_bool(0.5) {
                    processes.kill(leader).await?;
                    processes.spawn(leader).await?;
                }
            }
            Scenario::ClockJumps => {
                for (id, _) in &processes.nodes {
                    let clock_shift_ms = rng.random_range(-20_000..20_000);
                    order(admin, *id, FaultsRequest { failures: 0, clock_shift_ms }).await;
                }
                if rng.random_bool(0.5) {
                    processes.kill(leader).await?;
                    processes.spawn(leader).await?;
                }
            }
            Scenario::Partition => {
                processes.pause(leader, true).await?;
                sleep(ELECTION_TIMEOUT * rng.random_range(1..6)).await;
                processes.pause(leader, false).await?;
            }
        }
        faults += 1;
    }
}

/// A node that is just being killed takes no orders.
async fn order(admin: &Client, node: u32, faults: FaultsRequest) {
    let ordered = tokio::time::timeout(ELECTION_TIMEOUT, admin.order_faults(node, faults)).await;
    if !matches!(ordered, Ok(Ok(()))) {
        tracing::debug!("node {node} took no order: {ordered:?}");
    }
}
