//! Errors in what a user configures.

use std::io;
use std::sync::Arc;

use crate::error::NodeError;
use crate::id::NodeId;

/// Why a configuration could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No nodes were given.
    #[error("a configuration needs at least one node: give `.nodes([..])` an address, as \"10.0.0.1:8080\"")]
    NoNodes,
    /// Node id 0 was given.
    #[error("node id 0 (for {address}) is not allowed: ids are numbers from 1 up")]
    ZeroId {
        /// The address that was to have it.
        address: String,
    },
    /// Two nodes have one id.
    #[error("node id {id} is given twice, for {first} and {second}: each node needs an id of its own")]
    DuplicateId {
        /// The id.
        id: NodeId,
        /// The address that had it first.
        first: String,
        /// The address that was to have it too.
        second: String,
    },
    /// Two nodes have one address.
    #[error("address {address} is given twice, for nodes {first} and {second}: one process would vote twice")]
    DuplicateAddress {
        /// The address.
        address: String,
        /// The node that had it first.
        first: NodeId,
        /// The node that was to have it too.
        second: NodeId,
    },
    /// An address is not of the form `host:port`.
    #[error(
        "bad address {address:?}: {reason}; write it as \"host:port\", as \"10.0.0.1:8080\" or \"[::1]:80\""
    )]
    BadAddress {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two configurations that were made separately cannot be joined.
    #[error(
        "these configurations do not share connections: make one from the other, with `extend` or `without`"
    )]
    SeparatePools,
    /// The nodes of a server's peers and clients come and go with their connections.
    #[error("the peers and clients of a server cannot be extended: they connect by themselves")]
    Inbound,
    /// Not called from within a Tokio runtime.
    #[error("a configuration needs a Tokio runtime: make it in `#[tokio::main]`, or after `Runtime::enter`")]
    NoRuntime,
    /// Some nodes could not be reached while connecting eagerly.
    #[error("could not connect to every node: {}", list(.0))]
    Connect(Vec<NodeError>),
}

fn list(errors: &[NodeError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a server could not start or go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An id cannot be that of a member.
    #[error(
        "{id} cannot be the id of a member: those are from 1 to 1048575, and the server's own is one of them"
    )]
    BadId {
        /// The id.
        id: u32,
    },
    /// What is to be shown to reflection is not an encoded `FileDescriptorSet`.
    #[cfg(feature = "reflection")]
    #[error("the file descriptor set for reflection cannot be read: {reason}")]
    BadDescriptors {
        /// What is wrong with it.
        reason: String,
    },
    /// The address is not usable.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address that was asked for.
        address: String,
        /// The reason.
        source: Arc<io::Error>,
    },
}

impl ServerError {
    pub(crate) fn bind(address: &str, source: io::Error) -> Self {
        Self::Bind { address: address.to_owned(), source: Arc::new(source) }
    }
}
