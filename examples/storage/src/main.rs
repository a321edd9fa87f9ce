//! A key-value store on several servers, and a prompt to talk to it: `storage --help` tells more.

mod args;
mod client;
mod cluster;
mod failure;
mod interceptors;
mod local;
mod logging;
mod members;
mod output;
mod quorum;
mod server;
mod service;
mod store;
mod terminate;
mod tls;

/// What `build.rs` generated from `proto/storage.proto`.
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
mod proto {
    gorums::include_proto!("proto");
}

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Runtime;

use crate::args::{Args, Mode};
use crate::failure::Failure;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(failure) => {
            output::notice(&format!("error: {failure}"));
            failure.exit_code()
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    let runtime = Runtime::new().map_err(Failure::Runtime)?;
    match args.into_mode()? {
        Mode::Client(options) => client::run(&runtime, options),
        Mode::Server(options) => runtime.block_on(server::run(options)),
        Mode::Cluster(options) => runtime.block_on(cluster::run(options)),
    }
}
