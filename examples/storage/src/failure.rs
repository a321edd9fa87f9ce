//! What keeps the program from doing its work at all.

use std::fmt;
use std::io;
use std::process::ExitCode;

use gorums::{ConfigError, ServerError, SystemError, TlsError};

/// Why the program gave up.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The addresses make no cluster.
    Addresses(ConfigError),
    /// The options make no sense together.
    Usage(String),
    Serve(ServerError),
    /// What a server is and its peers do not go together, or it did not stop in good order.
    System(SystemError),
    /// The certificates are of no use.
    Tls(TlsError),
    Runtime(io::Error),
    Prompt(rustyline::error::ReadlineError),
    /// A server process could not be started.
    Spawn {
        address: String,
        reason: String,
    },
    /// Every server process has ended.
    NoServersLeft,
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Addresses(_) | Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(error) => error.fmt(f),
            Self::Usage(reason) => f.write_str(reason),
            Self::Serve(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Runtime(error) => write!(f, "cannot start: {error}"),
            Self::Prompt(error) => write!(f, "cannot read from the terminal: {error}"),
            Self::Spawn { address, reason } => write!(f, "the server at {address} did not start: {reason}"),
            Self::NoServersLeft => f.write_str("all servers have ended"),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Addresses(error)
    }
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        match error {
            SystemError::Config(error) => Self::Addresses(error),
            SystemError::Server(error) => Self::Serve(error),
            error => Self::System(error),
        }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::Serve(error)
    }
}
