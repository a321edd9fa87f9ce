//! A node of a replicated store, a client of it, and what is needed to run it: `raft --help` tells more.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
