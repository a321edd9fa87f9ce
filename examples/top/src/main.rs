//! A live view of gorums nodes in the terminal: `gorums top --help` tells more.

mod args;
mod history;
mod plain;
mod probe;
mod screen;
mod view;

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use clap::Parser;
use gorums::Configuration;
use tokio::runtime::{Builder, Runtime};

use crate::args::{Args, Command, Top};

fn main() -> ExitCode {
    let Command::Top(top) = Args::parse().command;
    match run(&top) {
        Ok(code) => code,
        Err(error) => {
            plain::notice(&format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(top: &Top) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let configuration = runtime.block_on(async { configure(top) })?;
    if let Some(method) = &top.method {
        probe::start(&runtime, &configuration, method, top.rate);
    }
    let code = show(top, &runtime, &configuration);
    runtime.block_on(configuration.abort());
    Ok(code?)
}

fn configure(top: &Top) -> Result<Configuration, gorums::ConfigError> {
    Configuration::builder()
        .nodes(top.addresses.iter().map(String::as_str))
        .keepalive(top.every, top.every.max(args::LEAST_PATIENCE))
        .timeout(args::LEAST_PATIENCE)
        .connect_lazy()
}

fn show(top: &Top, runtime: &Runtime, configuration: &Configuration) -> std::io::Result<ExitCode> {
    if top.once {
        return runtime.block_on(plain::once(configuration));
    }
    if top.plain || !stdout().is_terminal() {
        return runtime.block_on(plain::repeat(configuration, top.every));
    }
    // Dials the nodes: nothing is connected before it is used.
    let dialled = configuration.clone();
    runtime.spawn(async move { dialled.wait_connected().await });
    screen::run(configuration, top.every)
}
