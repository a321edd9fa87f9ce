//! A timestamp oracle: strictly growing timestamps for all clients, served by the leader of a Raft cluster from memory.
//!
//! After Percolator (Peng and Dabek, OSDI 2010) and the placement driver of TiDB: the leader reserves a window of time ahead
//! through the log, and grants timestamps out of it without asking anybody. What makes that safe across failovers is the
//! [fence](Oracle): a new leader reads the reserved mark, and begins above it.
//!
//! It is also a model of how an application is layered on a [`raft::Node`]: a state machine in its log
//! ([`MarkMachine`]), a service beside its own ([`TsoNode`]), a task that follows its leadership ([`Oracle`]), and a
//! [`Client`] of its own. The README tells how it works, and why.

mod allocator;
mod client;
mod clock;
mod error;
mod faults;
mod mark;
mod metrics;
mod node;
mod oracle;
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
pub mod proto;
mod service;
mod store;
mod timestamp;

pub use allocator::{Allocator, Grant, Phase};
pub use client::{Client, ClientBuilder, Timestamps};
pub use clock::{Clock, SystemClock};
pub use error::Error;
pub use mark::{Mark, MarkMachine};
pub use node::{Defect, TsoNode};
pub use oracle::{Options, Oracle, Poison};
pub use store::{MarkStore, RaftStore, Trouble};
pub use timestamp::Timestamp;
