//! Staged quorum calls, with a paused clock and a network in memory: what takes time is only what the tests say.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "staged/cluster.rs"]
mod cluster;
#[path = "staged/ends.rs"]
mod ends;
#[path = "staged/equivalence.rs"]
mod equivalence;
#[path = "staged/figures.rs"]
mod figures;
#[path = "staged/intercepted.rs"]
mod intercepted;
#[path = "staged/stages.rs"]
mod stages;
