//! What can go wrong with a call: on one node, and for a quorum.
//!
//! Nothing in this crate tells errors apart by their text. A [`NodeErrorKind`] says what happened on one
//! node, [`NodeError::class`] and [`NodeError::is_ambiguous`] say what may be done about it, and a
//! [`QuorumError`] names every node that did not contribute.

mod ambiguity;
mod class;
mod config;
mod node;
mod quorum;
mod system;

pub use self::class::ErrorClass;
pub use self::config::{ConfigError, ServerError};
pub(crate) use self::node::{Fault, Source};
pub use self::node::{NodeError, NodeErrorKind};
pub use self::quorum::{QuorumError, QuorumErrorKind};
pub use self::system::SystemError;
