//! The program: nodes as processes, and what it says.
#![cfg(unix)]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod common;

#[path = "processes/cluster.rs"]
mod cluster;
#[path = "processes/local.rs"]
mod local;
#[path = "processes/operations.rs"]
mod operations;
#[path = "processes/tls.rs"]
mod tls;
