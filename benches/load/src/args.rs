//! The command line.

mod load;
mod output;
mod report;
mod sweep;
mod values;

use anyhow::Result;
use clap::{Parser, Subcommand};

pub(crate) use self::load::LoadArgs;
pub(crate) use self::output::OutputArgs;
pub(crate) use self::report::ReportArgs;
pub(crate) use self::sweep::{Axis, SweepArgs};
pub(crate) use self::values::display_bytes;
use crate::contender::Kind;
use crate::plan::Plan;
use crate::setup::{Scenario, Setup};

/// Loads servers with calls, and measures what they cost: gorums, and what could be used in its place.
///
/// The contenders take turns in each of some rounds, so that the noise of the machine hits all alike, and the medians are
/// given. Absolute figures are those of this machine; the ratios to the baseline (the columns "×") travel better.
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
    /// Measure everything that docs/performance.md shows, draw it, and write its tables
    Report(ReportArgs),
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

/// What a command measures, and what becomes of the figures.
pub(crate) struct Measuring {
    pub(crate) plan: Plan,
    /// What varies, if it is a sweep.
    pub(crate) axis: Option<Axis>,
    pub(crate) output: OutputArgs,
}

impl Command {
    /// What it measures; `None` if it does something else.
    pub(crate) fn measuring(&self) -> Option<Result<Measuring>> {
        let (load, output, axis) = match self {
            Self::Run { load, output }
            | Self::BlackHole { load, output }
            | Self::Idle { load, output }
            | Self::Connect { load, output } => (load, output, None),
            Self::Sweep { load, output, sweep } => (load, output, Some(sweep.axis)),
            Self::Report(_) | Self::Serve { .. } | Self::List | Self::Measure { .. } => return None,
        };
        let plan = match self {
            Self::Sweep { sweep, .. } => sweep.plan(load),
            Self::BlackHole { .. } => load.plan(Scenario::BlackHole).map(well_first),
            Self::Idle { .. } => load.plan(Scenario::Idle),
            Self::Connect { .. } => load.plan(Scenario::Connect),
            _ => load.plan(Scenario::Calls),
        };
        Some(plan.map(|plan| Measuring { plan, axis, output: output.clone() }))
    }
}

/// The same with all nodes well, before it.
fn well_first(mut plan: Plan) -> Plan {
    let well = plan.cells.iter().map(|cell| Setup { scenario: Scenario::Calls, ..cell.clone() });
    plan.cells = well.chain(plan.cells.clone()).collect();
    plan
}
