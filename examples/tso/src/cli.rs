//! The program.

mod args;
mod bench;
mod commands;
mod failure;
mod local;
mod processes;
mod serve;
mod stress;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use raft::program::output;
use tokio::runtime::Runtime;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use self::args::{Args, Command};
use self::failure::Failure;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(failure) => {
            output::notice(&format!("error: {failure}"));
            failure.exit_code()
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    log(args.verbose);
    let runtime = Runtime::new().map_err(Failure::Runtime)?;
    let connection = args.connection;
    runtime.block_on(async {
        match args.command {
            Command::Serve(options) => serve::run(options, connection).await,
            Command::Local(options) => local::run(options).await,
            Command::Stress(options) => stress::run(options).await,
            Command::Bench(options) => bench::run(&options, &connection).await,
            Command::Get { count } => commands::get(&connection, count).await,
            Command::Status => commands::status(&connection).await,
        }
    })
}

/// Logs to stderr: who serves and what goes wrong, and more if asked to.
fn log(verbose: u8) {
    use LevelFilter as Level;
    let (own, others, engine) = match verbose {
        0 => (Level::INFO, Level::WARN, Level::ERROR),
        1 => (Level::DEBUG, Level::INFO, Level::WARN),
        _ => (Level::TRACE, Level::DEBUG, Level::INFO),
    };
    let levels = Targets::new()
        .with_default(others)
        .with_target("tso", own)
        .with_target("raft", own)
        .with_target("openraft", engine);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Only fails if there is a subscriber, and nobody else sets one.
    let _ = tracing_subscriber::registry().with(lines.with_filter(levels)).try_init();
}
