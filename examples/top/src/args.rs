//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand};

/// What nodes are given at least to answer a ping or a call.
pub(crate) const LEAST_PATIENCE: Duration = Duration::from_secs(2);

/// Tools for gorums nodes.
#[derive(Debug, Parser)]
#[command(name = "gorums", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A live view of nodes: a dashboard on a terminal, else a table at each interval.
    Top(Top),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// The nodes, as host:port, separated by commas or spaces. They are numbered from 1.
    #[arg(required = true, value_delimiter = ',', value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
    /// How often to ping the nodes and to show how they are, as 500ms or 2s.
    #[arg(long, default_value = "1s", value_parser = interval, value_name = "TIME")]
    pub(crate) every: Duration,
    /// Also call this rpc of each node with an empty request, as storage.Storage.ReadRPC.
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// Calls of the method to each node, per second.
    #[arg(long, default_value_t = 10, requires = "method", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// Shows the nodes once, when each is connected or known not to be; exits with 1 if one is not.
    #[arg(long)]
    pub(crate) once: bool,
    /// Tables also on a terminal.
    #[arg(long)]
    pub(crate) plain: bool,
}

/// A number with `ms` or `s`, from 50 ms to an hour.
fn interval(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time such as 500ms or 2s, from 50ms to 3600s");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(bad)?, 1_000),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let millis = millis.filter(|millis| (50..=3_600_000).contains(millis)).ok_or_else(bad)?;
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        for bad in ["", "5", "s", "1m", "49ms", "-1s", "3601s", "99999999999999999999s"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
