//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use raft::program::Tls;
use raft::program::parse::{duration, node};
use tso::Client;

use crate::cli::failure::Failure;

/// A timestamp oracle: nodes, a client, and tools.
///
/// `tso local` shows it: three nodes, whose leader is killed now and then, and a client that is never without timestamps for
/// long.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Log more, to stderr; twice for even more.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach the cluster.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Connection {
    /// The nodes, as `1=host:port,2=host:port`. For `serve`, all members of the cluster.
    #[arg(long, global = true, value_delimiter = ',', value_parser = node, value_name = "NODES", env = "TSO_NODES")]
    pub(crate) nodes: Vec<(u32, String)>,

    /// How long a call may take, with all its attempts, as `2s` or `500ms`.
    #[arg(long, global = true, value_parser = duration, value_name = "TIME", default_value = "5s", env = "TSO_TIMEOUT")]
    pub(crate) timeout: Duration,

    /// Talk over TLS, with nodes and clients whose certificates are signed by this CA (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "TSO_TLS_CA")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// The own certificate (PEM), with `gorums://node/<id>` among its names for a node.
    #[arg(long, global = true, value_name = "FILE", env = "TSO_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of the own certificate (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "TSO_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
}

impl Connection {
    /// The certificates, if TLS was asked for.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        let tls = Tls::of(self.tls_ca.as_ref(), self.tls_cert.as_ref(), self.tls_key.as_ref());
        tls.map_err(|missing| Failure::Usage(missing.to_owned()))
    }

    /// A client of the nodes.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        if self.nodes.is_empty() {
            return Err(Failure::Usage("which nodes? give --nodes 1=host:port,.. or TSO_NODES".into()));
        }
        let mut builder = Client::builder().nodes(self.nodes.clone()).timeout(self.timeout);
        if let Some(tls) = self.tls()? {
            builder = builder.connections(tls.connect(gorums::Configuration::builder())?);
        }
        Ok(builder.build()?)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Be a node, until SIGINT or SIGTERM.
    ///
    /// Once it listens, it prints `listening on <address>`.
    Serve(Serve),
    /// Get timestamps.
    Get {
        /// How many.
        #[arg(default_value_t = 1)]
        count: u32,
    },
    /// Print how each node is.
    Status,
    /// Measure: timestamps a second with many callers, one call at a time, and a call that does nothing.
    Bench(BenchOptions),
    /// Start three nodes on this machine, and watch them.
    Local(LocalOptions),
    /// Start three nodes, do bad things to them, and check what clients get. Ends with 1 if a timestamp is wrong, and with 3
    /// if the test itself fails.
    Stress(StressOptions),
}

/// How to be a node.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Serve {
    /// The id of this node.
    #[arg(long, env = "TSO_ID")]
    pub(crate) id: u32,
    /// Where to keep the log and the state.
    #[arg(long, value_name = "DIRECTORY", env = "TSO_DATA")]
    pub(crate) data: PathBuf,
    /// Where to listen; the address of this node among the members by default.
    #[arg(long, value_name = "HOST:PORT", env = "TSO_LISTEN")]
    pub(crate) listen: Option<String>,
    /// Serve `/health`, `/ready` and `/metrics` here, over HTTP.
    #[arg(long, value_name = "HOST:PORT", env = "TSO_HTTP")]
    pub(crate) http: Option<String>,
    /// How often the leader says that it leads.
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "100ms", env = "TSO_HEARTBEAT")]
    pub(crate) heartbeat: Duration,
    /// How long a follower waits for the leader, at least.
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "1s", env = "TSO_ELECTION_TIMEOUT")]
    pub(crate) election_timeout: Duration,
    /// How far ahead the log grants.
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "3s", env = "TSO_WINDOW_AHEAD")]
    pub(crate) window_ahead: Duration,
    /// Stop when stdin closes: a node of `local` must not outlive it.
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
    /// Take orders to fail.
    #[arg(long, hide = true)]
    pub(crate) allow_faults: bool,
    /// Be broken, for the stress test to find it.
    #[arg(long, hide = true)]
    pub(crate) below_the_floor: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchOptions {
    /// How long each part takes.
    #[arg(long, value_parser = duration, default_value = "3s")]
    pub(crate) duration: Duration,
    /// Calls at once, in the part with many callers.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) callers: u32,
    /// Timestamps of each of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch: u32,
    /// Start a cluster of one process for it, without disks, instead of --nodes.
    #[arg(long)]
    pub(crate) in_process: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LocalOptions {
    /// End after so long, instead of with Ctrl-C.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
    /// Kill the leader so often.
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "8s")]
    pub(crate) kill_every: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Nothing bad happens.
    Steady,
    /// Clients come all at once, and pause.
    Burst,
    /// The leader is killed every 2 s.
    KillerLoop,
    /// The mark cannot be read or raised for a while, at elections too.
    FenceFaults,
    /// The clocks of nodes jump to and fro, at elections too.
    ClockJumps,
    /// The leader is stopped, as if it were cut off, until another one leads, and goes on.
    Partition,
    /// New leaders grant what earlier ones have granted: this has to be found.
    InjectViolation,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StressOptions {
    /// What happens.
    #[arg(value_enum)]
    pub(crate) scenario: Scenario,
    #[arg(long, value_parser = duration, default_value = "20s")]
    pub(crate) duration: Duration,
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,
    /// Timestamps of each call.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch: u32,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Fail if there is no timestamp for so long.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) max_gap: Option<Duration>,
}
