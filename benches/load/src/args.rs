//! The command line.

mod load;
mod output;
mod sweep;
mod values;

use clap::{Parser, Subcommand};

pub(crate) use self::load::LoadArgs;
pub(crate) use self::output::OutputArgs;
pub(crate) use self::sweep::{Axis, SweepArgs};
pub(crate) use self::values::display_bytes;
use crate::contender::Kind;

/// Loads servers with calls, and measures what they cost: gorums, and what could be used in its place.
///
/// The contenders take turns in each of some rounds, so that the noise of the machine hits all alike, and the medians are
/// given. Absolute figures are those of this machine; the ratios to the baseline (the columns "x") travel better.
#[derive(Parser, Debug)]
#[command(name = "gorums-bench", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Measure calls
    Run {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Measure calls while one option takes several values
    Sweep {
        #[command(flatten)]
        sweep: SweepArgs,
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Measure calls with all nodes well, and then with one that accepts connections and never reads
    BlackHole {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Measure the memory of connections that do nothing, by node and both ends together
    Idle {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Measure how long it takes to connect and to get a first reply of every node
    Connect {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Serve, for `--remotes` of other processes, until it is interrupted
    Serve {
        /// The addresses to listen on, each of which is a node
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
        /// Whose server it is
        #[arg(long, value_enum, default_value = "gorums")]
        contender: Kind,
        /// Worker threads of the runtime; 0 is a current-thread runtime [default: one for each core]
        #[arg(long)]
        workers: Option<usize>,
    },
    /// List call types and contenders
    List,
    /// Do one measurement for another process
    #[command(name = crate::measurement::COMMAND, hide = true)]
    Measure {
        /// The measurement, as JSON
        measurement: String,
    },
}
