//! The program.

mod args;
mod bench;
mod commands;
mod config;
mod failure;
mod local;
mod prompt;
mod serve;
mod status;

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
    let file = config::read(args.config.as_deref())?;
    let runtime = Runtime::new().map_err(Failure::Runtime)?;
    let connection = args.connection.or(file.connection);
    match args.command {
        Command::Serve(options) => {
            let options = options.or(file.serve);
            runtime.block_on(serve::run(options, connection))
        }
        Command::Local(options) => local::run(&runtime, &options, args.verbose),
        Command::Bench(options) => runtime.block_on(bench::run(&options, &connection)),
        Command::Client(command) => runtime.block_on(async {
            let client = connection.client()?;
            commands::run(&client, command).await.map(|()| ExitCode::SUCCESS)
        }),
    }
}

/// Logs to stderr: who leads and what goes wrong, and more if asked to. The engine reports every message that a peer does
/// not answer as a warning, which is no news while a peer is down.
fn log(verbose: u8) {
    use LevelFilter as Level;
    let (own, others, engine) = match verbose {
        0 => (Level::INFO, Level::WARN, Level::ERROR),
        1 => (Level::DEBUG, Level::INFO, Level::WARN),
        2 => (Level::DEBUG, Level::DEBUG, Level::INFO),
        _ => (Level::TRACE, Level::TRACE, Level::DEBUG),
    };
    let levels = Targets::new().with_default(others).with_target("raft", own).with_target("openraft", engine);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Only fails if there is a subscriber, and nobody else sets one.
    let _ = tracing_subscriber::registry().with(lines.with_filter(levels)).try_init();
}
