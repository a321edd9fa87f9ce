//! What keeps the program from doing its work.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use gorums::{ConfigError, ServerError, TlsError};

/// Why the program gave up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The options make no sense together.
    #[error("{0}")]
    Usage(String),
    #[error("{}: {reason}", .path.display())]
    File { path: PathBuf, reason: String },
    #[error(transparent)]
    Nodes(#[from] ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Serve(#[from] ServerError),
    #[error(transparent)]
    Call(#[from] raft::Error),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    #[error("cannot start on {}: {reason}", .data.display())]
    Start { data: PathBuf, reason: String },
    #[error("cannot listen on {address}: {error}")]
    Http { address: String, error: io::Error },
    #[error("cannot read from the terminal: {0}")]
    Prompt(#[from] rustyline::error::ReadlineError),
    #[error("node {id} did not start: {reason}")]
    Spawn { id: u32, reason: String },
    /// It was said what.
    #[error("not healthy")]
    Unhealthy,
}

impl Failure {
    /// 2 for a wrong command line, 3 for a write of which nobody knows whether it takes effect, and 1 for all else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Nodes(_) | Self::File { .. } => ExitCode::from(2),
            Self::Call(error) if error.is_ambiguous() => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }
}
