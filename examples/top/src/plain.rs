//! The nodes as text, for pipes and scripts.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::time::Duration;

use gorums::{Configuration, NodeState};
use tokio::signal::ctrl_c;
use tokio::time::{Instant, interval};

/// Prints one table when each node is connected or known not to be.
pub(crate) async fn once(configuration: &Configuration) -> std::io::Result<ExitCode> {
    let connected = configuration.wait_connected().await.is_ok();
    print(&configuration.stats().to_string())?;
    Ok(if connected { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Prints a table at each interval, until it is interrupted or nobody reads any more.
pub(crate) async fn repeat(configuration: &Configuration, every: Duration) -> std::io::Result<ExitCode> {
    let _ = configuration.wait_connected().await;
    let (start, mut ticks) = (Instant::now(), interval(every));
    loop {
        tokio::select! {
            _ = ctrl_c() => return Ok(ExitCode::SUCCESS),
            _ = ticks.tick() => {}
        }
        let up = configuration.iter().filter(|node| node.state() == NodeState::Connected).count();
        let (after, size) = (start.elapsed().as_secs_f64(), configuration.len());
        let text = format!("after {after:.1} s, {up} of {size} nodes connected\n{}\n", configuration.stats());
        match print(&text) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            printed => printed?,
        }
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Says something to whoever started the program.
pub(crate) fn notice(text: &str) {
    // There is nobody to tell that it could not be told.
    let _ = writeln!(stderr().lock(), "{text}");
}
