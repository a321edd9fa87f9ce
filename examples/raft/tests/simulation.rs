//! Whole clusters on a simulated network: leaders are killed, links cut, nodes paused and restarted with what was on their
//! disks, and what clients saw has to be linearizable.
//!
//! `GORUMS_SEEDS=1000 cargo test --release -p raft --test simulation` runs that many; a seed that fails is told, and
//! `GORUMS_SEED=<seed>` runs it alone. The seed decides faults, delays and what clients do. The tasks of a node are not all
//! scheduled by it: a rerun may differ by a few milliseconds.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod common;

#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/history.rs"]
mod history;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/world.rs"]
mod world;

use std::time::Instant;

use common::{length, report};
use plan::Plan;
use raft::Defect;
use world::Outcome;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// The seeds to run.
fn seeds(short: u64) -> Vec<u64> {
    match number("GORUMS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("GORUMS_SEEDS").unwrap_or(short)).collect(),
    }
}

#[test]
fn what_clients_see_is_linearizable() {
    let begun = Instant::now();
    let seeds = seeds(length(40, 1_000));
    let (mut operations, mut unknown, mut elections) = (0, 0, 0);
    for seed in &seeds {
        let Outcome { history, terms, error } = world::run(Plan::from_seed(*seed), None);
        assert_eq!(error, None, "seed {seed}");
        if let Err(key) = history.check() {
            panic!("seed {seed}: what was seen of key {key} is not linearizable:\n{}", history.of(key));
        }
        operations += history.operations();
        unknown += history.unknown();
        elections += terms;
    }
    report(
        "simulations",
        &format!(
            "{} seeds in {:?}: {operations} operations, of which {unknown} have an unknown outcome; {elections} terms",
            seeds.len(),
            begun.elapsed()
        ),
    );
    assert!(operations > 50 * seeds.len(), "{operations} operations");
    assert!(seeds.len() < 10 || unknown > 0, "no outcome was unknown: the faults do too little");
}

/// The red proof: a leader that answers reads without asking a quorum is caught when it is deposed.
#[test]
fn reads_without_read_index_are_caught() {
    let Outcome { history, error, .. } = world::run(Plan::deposed_leader(), None);
    assert_eq!(error, None);
    assert!(history.check().is_ok(), "with ReadIndex:\n{}", history.of(0));
    let Outcome { history, .. } = world::run(Plan::deposed_leader(), Some(Defect::ReadsWithoutReadIndex));
    assert!(history.check().is_err(), "without it, a deposed leader goes on answering:\n{}", history.of(0));
}
