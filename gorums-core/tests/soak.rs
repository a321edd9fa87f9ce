//! Faults that last: each guarantee under the fault that hurts it most, for as long as it takes to believe it.
//!
//! Each test has a short form that runs with all the others, and a long one, which prints what it measured:
//!
//! `GORUMS_SOAK=1 cargo test --release -p gorums-core --test soak -- --test-threads=1 --nocapture`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "soak/at_most_once.rs"]
mod at_most_once;
#[path = "soak/black_hole.rs"]
mod black_hole;
mod common;
#[path = "soak/flood.rs"]
mod flood;
#[path = "soak/go_like.rs"]
mod go_like;
#[path = "soak/namespaces.rs"]
mod namespaces;
#[path = "soak/no_deadline.rs"]
mod no_deadline;
#[path = "soak/reconnect_storm.rs"]
mod reconnect_storm;
#[path = "soak/stop_reading.rs"]
mod stop_reading;
#[path = "soak/tools.rs"]
mod tools;
