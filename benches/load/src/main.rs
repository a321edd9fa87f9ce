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
mod report;
mod sample;
mod serve;
mod servers;
mod setup;
mod statistics;
mod usage;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::args::{Args, Command, Measuring};
use crate::call_type::CallType;
use crate::contender::Kind;
use crate::measurement::Measurement;
use crate::output::Progress;

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
    if let Some(measuring) = command.measuring() {
        return measure(&measuring?);
    }
    match command {
        Command::Report(report) => report::report(&report),
        Command::Serve { addresses, contender, workers } => serve::serve(&addresses, contender, workers),
        Command::Measure { measurement } => {
            let measurement: Measurement =
                serde_json::from_str(&measurement).context("a measurement as JSON is needed")?;
            output::print(&serde_json::to_string(&measurement.run_here()?)?)
        }
        _ => list(),
    }
}

fn measure(Measuring { plan, axis, output }: &Measuring) -> Result<()> {
    let progress = Progress::new(output.quiet);
    progress.start(plan.measurements());
    let rows = plan.run(&progress)?;
    progress.finish();
    output::emit(&rows, *axis, plan.baseline, output)
}

fn list() -> Result<()> {
    for call in CallType::ALL {
        let able: Vec<_> = Kind::value_variants().iter().filter(|kind| kind.supports(call)).collect();
        let able: Vec<_> = able.into_iter().map(|kind| kind.name()).collect();
        output::print(&format!("{call:18} {} ({})", call.description(), able.join(", ")))?;
    }
    Ok(())
}
