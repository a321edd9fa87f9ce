//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::cli::config::{Connection, Serve};
use raft::program::parse::{duration, node};

/// A replicated key-value store on Raft: nodes, a client, and tools.
///
/// `raft local` shows it: three nodes and a prompt. Options may also be given in a file, and those with [env: ..] in the
/// environment; the command line goes before the environment, and that before the file.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Read options from this file (TOML): the long names of the options below, and those of `serve` under [serve].
    #[arg(long, global = true, value_name = "FILE", env = "RAFT_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Log more, to stderr; twice or three times for even more.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Be a node, until SIGINT or SIGTERM.
    ///
    /// Once it serves, it prints `listening on <address>`.
    Serve(Serve),
    /// Start three nodes on this machine, and a prompt.
    Local(LocalOptions),
    /// Load the cluster with reads and writes, and tell how long they took.
    Bench(BenchOptions),
    #[command(flatten)]
    Client(ClientCommand),
}

/// What a client does, on the command line or at the prompt.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Give a key a value.
    Put { key: String, value: String },
    /// Read a key.
    Get {
        key: String,
        /// How fresh the value has to be.
        #[arg(long, value_enum, default_value = "linearizable")]
        consistency: Freshness,
    },
    /// Take the value of a key away.
    Delete { key: String },
    /// Give a key a value if it has the expected one.
    Cas {
        key: String,
        /// The value that it has to have. Left out, it has to have none.
        #[arg(long)]
        expect: Option<String>,
        /// The new value. Left out, the key is deleted.
        value: Option<String>,
    },
    /// Print the changes under a prefix as they happen.
    Watch {
        #[arg(default_value = "")]
        prefix: String,
        /// End after so many changes.
        #[arg(long)]
        count: Option<u64>,
    },
    /// Print how each node is.
    Status,
    /// Tell whether there is a leader that a quorum confirms; ends with 1 if not.
    Health,
    /// Change who belongs to the cluster.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Hand leadership over to a voter.
    Transfer { node: u32 },
    /// Let the leader cut its log.
    Compact,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Add a node that gets the log and does not vote, and wait until it has caught up.
    Add {
        #[arg(value_parser = node, value_name = "ID=HOST:PORT")]
        node: (u32, String),
    },
    /// Let a learner vote.
    Promote { node: u32 },
    /// Let exactly these nodes vote.
    Voters {
        #[arg(value_delimiter = ',', required = true)]
        nodes: Vec<u32>,
    },
    /// Put a new node in the place of an old one.
    Replace {
        old: u32,
        #[arg(value_parser = node, value_name = "ID=HOST:PORT")]
        new: (u32, String),
    },
    /// Take a node out of the cluster.
    Remove { node: u32 },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Freshness {
    /// The leader asks a quorum whether it still leads.
    Linearizable,
    /// The leader does not ask while its lease holds, which relies on clocks.
    Lease,
    /// What any node has.
    Stale,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LocalOptions {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub(crate) size: u32,
    /// Keep their data here; without it, it is gone at the end.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data: Option<PathBuf>,
    /// Run this instead of the prompt, and end. May be given several times.
    #[arg(long, short, value_name = "COMMAND")]
    pub(crate) execute: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchOptions {
    /// How long.
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub(crate) duration: Duration,
    /// Calls at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) clients: u16,
    /// How many of a hundred calls are reads.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) reads: u8,
    /// How fresh what is read has to be.
    #[arg(long, value_enum, default_value = "linearizable")]
    pub(crate) consistency: Freshness,
    /// Bytes of each value.
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    /// Different keys.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keys: u32,
}
