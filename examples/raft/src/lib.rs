//! A replicated key-value store on Raft whose leader can be trusted, built on [gorums] and [openraft]: as a program, and as
//! a library to layer a service on.
//!
//! A [`Node`] is a member of the cluster: the engine on a [`Storage`], and what surrounds it. Its services are served by a
//! gorums server, beside those of the application, which may have a state machine in the same log ([`Application`]), work
//! that only the leader does ([`Node::on_leadership`]), and reads that are as fresh as asked ([`Node::linearize`]). A
//! [`Client`] finds the leader and writes exactly once. Every [`Error`] has a class, which says what to do about it.
//!
//! The README tells how it works, and why.

mod chance;
mod client;
mod convert;
pub mod details;
mod error;
mod network;
mod node;
mod options;
pub mod program;
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
pub mod proto;
mod service;
mod sessions;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod types;

pub use client::{Client, ClientBuilder, Watch, WatchedChange};
pub use convert::Malformed;
pub use error::Error;
pub use node::{
    CircuitBreaker, Leader, LeaderContext, Leadership, Node, Pass, Refused, RetryBudget, Verdict, Write,
};
pub use options::{Defect, Options};
pub use proto::Consistency;
pub use storage::{Application, ApplicationState, NoApplication, Storage};
pub use types::Id;
