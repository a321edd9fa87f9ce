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
    #[error(transparent)]
    Nodes(#[from] ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Serve(#[from] ServerError),
    #[error(transparent)]
    Call(#[from] tso::Error),
    #[error(transparent)]
    Node(#[from] raft::Error),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    #[error("cannot start on {}: {reason}", .data.display())]
    Start { data: PathBuf, reason: String },
    #[error("cannot listen on {address}: {error}")]
    Http { address: String, error: io::Error },
    #[error("node {id} did not start: {reason}")]
    Spawn { id: u32, reason: String },
    /// The stress test found it.
    #[error("{0}")]
    Violation(String),
    /// The stress test could not be made.
    #[error("the test failed: {0}")]
    Stress(String),
}

impl Failure {
    /// 1 for a wrong timestamp and all else, 2 for a wrong command line, and 3 for a test that could not be made.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Nodes(_) => ExitCode::from(2),
            Self::Stress(_) | Self::Spawn { .. } | Self::Runtime(_) => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }
}
