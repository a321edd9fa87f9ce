//! The protocols on a simulated network in which nodes crash and links are cut.
//!
//! `GORUMS_SEEDS=2000` runs that many seeds, and `GORUMS_SEED=17` one.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod abd;
mod bracha;
mod paxos;
mod world;
