//! Random programs of calls on a simulated network that partitions, holds messages back, and crashes hosts. All of
//! it is drawn from one seed, and an oracle judges what happened by the guarantees G1, G3 to G7, G9, I1 and I7.
//!
//! `GORUMS_SEEDS=2000` runs that many seeds, `GORUMS_SEEDS=1000..2000` those, and `GORUMS_SEED=17` one, of which it
//! tells all when it fails.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "simulation/client.rs"]
mod client;
mod common;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/record.rs"]
mod record;
#[path = "simulation/service.rs"]
mod service;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use oracle::Verdict;

/// How many seeds are run by default.
const SEEDS: u64 = 100;
/// Violations that are told of one seed.
const TOLD: usize = 10;

/// G1, G3 to G7, G9, I1 and I7, whatever the network does.
#[test]
fn guarantees_hold_under_random_faults() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(BTreeMap::new());
    let seen = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Relaxed)).filter(|seed| seeds.contains(seed)) {
                    let outcome = world::run(seed);
                    let verdict = oracle::judge(&outcome);
                    let mut seen = seen.lock().unwrap();
                    verdict.seen.iter().for_each(|(what, times)| *seen.entry(*what).or_insert(0) += times);
                    if !verdict.wrong.is_empty() {
                        let details = seeds.end - seeds.start == 1;
                        failures.lock().unwrap().insert(seed, report(&outcome, &verdict, details));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let reports: String = failures.values().map(String::as_str).collect();
    assert!(
        failures.is_empty(),
        "{} of {} seeds failed:\n{reports}",
        failures.len(),
        seeds.end - seeds.start
    );
    let seen = seen.into_inner().unwrap();
    if seeds.end - seeds.start >= SEEDS {
        every_fate_is_met(&seen);
    }
}

/// A seed is worth something only if it can be replayed.
#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in seeds().step_by(5) {
        let trace =
            || -> Vec<_> { world::run(seed).events.iter().map(|event| format!("{event:?}")).collect() };
        let (first, second) = (trace(), trace());
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        assert!(differs.is_none(), "seed {seed} had another trace the second time: {differs:#?}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

fn seeds() -> Range<u64> {
    let number =
        |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text:?} is no number of seeds"));
    if let Ok(seed) = std::env::var("GORUMS_SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("GORUMS_SEEDS") {
        Ok(range) => match range.split_once("..") {
            Some((start, end)) => number(start)..number(end),
            None => 1..number(&range) + 1,
        },
        Err(_) => 1..SEEDS + 1,
    }
}

fn report(outcome: &world::Outcome, verdict: &Verdict, details: bool) -> String {
    let seed = outcome.plan.seed;
    let mut report = format!(
        "\nseed {seed}: {} violations; GORUMS_SEED={seed} cargo test -p gorums-core --test simulation\n",
        verdict.wrong.len()
    );
    for wrong in verdict.wrong.iter().take(if details { usize::MAX } else { TOLD }) {
        // Writing to a string cannot fail.
        let _ = writeln!(report, "  {wrong}");
    }
    if details {
        let _ = writeln!(report, "{:#?}", outcome.plan);
        for (at, event) in &outcome.events {
            let _ = writeln!(report, "{at:?} {event:?}");
        }
    }
    report
}

/// The simulation is worth something only if it meets what the guarantees are about.
fn every_fate_is_met(seen: &BTreeMap<&'static str, usize>) {
    for fate in [
        "a node replied",
        "a handler said no",
        "a node was unavailable",
        "a connection was lost",
        "a deadline passed",
        "a node was not waited for",
        "a queue was full",
        "a call was dropped",
        "a request was repeated",
        "a request that failed was handled",
        "a node was connected to again",
    ] {
        assert!(seen.get(fate).is_some_and(|&times| times >= 10), "too rarely: {fate}, in {seen:?}");
    }
}
