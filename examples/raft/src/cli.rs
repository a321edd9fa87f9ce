//! The program.

mod args;
mod bench;
mod commands;
mod config;
mod failure;
mod http;
mod local;
mod output;
mod parse;
mod prompt;
mod serve;
mod status;
mod terminate;
mod tls;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Runtime;
use tracing_subscriber::filter::LevelFilter;

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

/// Logs to stderr: what goes wrong, and more if asked to.
fn log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let colours = std::io::stderr().is_terminal();
    // Only fails if there is a subscriber, and nobody else sets one.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .try_init();
}
