//! A load generator for gorums: `gorums-bench --help` tells more.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "figures have a few digits that matter, and pixels are few"
)]

mod allocator;
mod args;
mod call_type;
mod contender;
mod machine;
mod measurement;
mod message;
mod output;
mod pace;
mod plan;
mod plot;
mod recorder;
mod sample;
mod serve;
mod servers;
mod setup;
mod statistics;
mod usage;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::args::{Args, Axis, Command, LoadArgs, OutputArgs};
use crate::call_type::CallType;
use crate::contender::Kind;
use crate::measurement::Measurement;
use crate::output::Progress;
use crate::plan::Plan;
use crate::setup::{Scenario, Setup};

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::notice(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Run { load, output } => measure(&load.plan(Scenario::Calls)?, None, &output),
        Command::Sweep { sweep, load, output } => measure(&sweep.plan(&load)?, Some(sweep.axis), &output),
        Command::BlackHole { load, output } => black_hole(&load, &output),
        Command::Idle { load, output } => measure(&load.plan(Scenario::Idle)?, None, &output),
        Command::Connect { load, output } => measure(&load.plan(Scenario::Connect)?, None, &output),
        Command::Serve { addresses, contender, workers } => serve::serve(&addresses, contender, workers),
        Command::List => list(),
        Command::Measure { measurement } => {
            let measurement: Measurement =
                serde_json::from_str(&measurement).context("a measurement as JSON is needed")?;
            output::print(&serde_json::to_string(&measurement.run_here()?)?)
        }
    }
}

fn measure(plan: &Plan, axis: Option<Axis>, output: &OutputArgs) -> Result<()> {
    let rows = plan.run(&Progress::new(output.quiet))?;
    output::emit(&rows, axis, plan.baseline, output)
}

/// All nodes well first, then one that never reads.
fn black_hole(load: &LoadArgs, output: &OutputArgs) -> Result<()> {
    let mut plan = load.plan(Scenario::BlackHole)?;
    let well = plan.cells.iter().map(|cell| Setup { scenario: Scenario::Calls, ..cell.clone() });
    plan.cells = well.chain(plan.cells.clone()).collect();
    measure(&plan, None, output)
}

fn list() -> Result<()> {
    for call in CallType::ALL {
        let able: Vec<_> = Kind::value_variants().iter().filter(|kind| kind.supports(call)).collect();
        let able: Vec<_> = able.into_iter().map(|kind| kind.name()).collect();
        output::print(&format!("{call:18} {} ({})", call.description(), able.join(", ")))?;
    }
    Ok(())
}
