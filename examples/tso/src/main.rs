//! A timestamp oracle, a client of it, and what is needed to run it: `tso --help` tells more.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
