//! Errors of a member of a symmetric system.

use std::error::Error;

use crate::error::{ConfigError, ServerError};

/// Why a member of a system could not be made, or did not stop in good order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// It was not said which member this one is.
    #[error("which member is this? give `.own(id)` the id that it has among the nodes")]
    NoOwnId,
    /// The own id is not among the nodes.
    #[error("own id {id} is not among the nodes {members:?}: add this member's own address to them")]
    NotAMember {
        /// The own id.
        id: u32,
        /// The ids of the nodes that were given.
        members: Vec<u32>,
    },
    /// The configuration was given nodes of its own.
    #[error("give the nodes to the system's builder only: its configuration has all of its members")]
    NodesTwice,
    /// The members make no configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server could not start or go on.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Something that was to happen on stop failed.
    #[error("while stopping: {0}")]
    Stop(#[source] Box<dyn Error + Send + Sync>),
}
