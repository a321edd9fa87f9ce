//! Three nodes on this machine, and what a client sees while their leader is killed.

use std::process::ExitCode;
use std::time::Duration;

use raft::program::output::{notice, result};
use raft::program::terminate;
use tokio::time::{Instant, interval, sleep, sleep_until};
use tso::Client;

use crate::cli::args::LocalOptions;
use crate::cli::failure::Failure;
use crate::cli::processes::Processes;

const SECOND: Duration = Duration::from_secs(1);

/// Runs until the time is over, or Ctrl-C.
pub(crate) async fn run(options: LocalOptions) -> Result<ExitCode, Failure> {
    let requested = terminate::requested().map_err(Failure::Runtime)?;
    tokio::pin!(requested);
    let mut processes = Processes::start(3, &[]).await?;
    let nodes: Vec<_> = processes.nodes.iter().map(|(id, address)| format!("{id}={address}")).collect();
    result(&format!("three nodes; from another terminal: tso --nodes {} get 3", nodes.join(",")));
    let client = Client::builder().nodes(processes.nodes.clone()).timeout(10 * SECOND).build()?;
    let begun = Instant::now();
    let end = options.duration.map(|duration| begun + duration);
    let mut kills = interval(options.kill_every);
    kills.tick().await;
    let (mut last, mut dead, mut got) = (Instant::now(), None, 0_u64);
    loop {
        let ended = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut requested => break,
            () = ended => break,
            _ = kills.tick() => {
                if let Some(dead) = dead.take() {
                    processes.spawn(dead).await?;
                    result(&format!("{:>5.1} s  node {dead} is back", begun.elapsed().as_secs_f64()));
                }
                if let Some(leader) = leader(&client).await {
                    processes.kill(leader).await?;
                    result(&format!("{:>5.1} s  killed node {leader}, the leader", begun.elapsed().as_secs_f64()));
                    dead = Some(leader);
                }
                last = Instant::now();
            }
            stamp = client.get_batch(1) => {
                match stamp {
                    Ok(stamps) => {
                        let late = last.elapsed();
                        let after = if late > 2 * SECOND { format!(", after {late:.1?} without") } else { String::new() };
                        let (first, epoch) = (stamps.first(), stamps.epoch());
                        result(&format!("{:>5.1} s  {first} of term {epoch}{after}", begun.elapsed().as_secs_f64()));
                        last = Instant::now();
                        got += 1;
                    }
                    Err(error) => notice(&format!("error: {error}")),
                }
                sleep(SECOND.min(options.kill_every)).await;
            }
        }
    }
    client.close().await;
    processes.finish().await;
    Ok(if got > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The node that serves.
pub(crate) async fn leader(client: &Client) -> Option<u32> {
    for (id, _) in client.nodes() {
        if let Ok(Ok(status)) = tokio::time::timeout(SECOND / 4, client.status(id)).await
            && status.phase == "serving"
        {
            return Some(id);
        }
    }
    None
}
