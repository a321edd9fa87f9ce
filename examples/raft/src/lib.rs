//! A replicated key-value store on Raft whose leader can be trusted, built on [gorums] and [openraft]: as a program, and as
//! a library to layer a service on.

mod client;
mod convert;
mod error;
mod network;
mod node;
mod options;
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
pub mod proto;
mod service;
mod sessions;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod types;

pub use client::{Client, ClientBuilder, Watch, WatchedChange};
pub use error::Error;
pub use node::{
    CircuitBreaker, Leader, LeaderContext, Leadership, Node, Pass, Refused, RetryBudget, Verdict, Write,
};
pub use convert::Malformed;
pub use options::{Defect, Options};
pub use proto::Consistency;
pub use storage::{Application, ApplicationState, NoApplication, Storage};
pub use types::Id;
