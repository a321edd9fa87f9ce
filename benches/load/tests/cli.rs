//! The program as its users run it.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/remote.rs"]
mod remote;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/runs.rs"]
mod runs;
