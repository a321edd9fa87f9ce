//! A simulated network with faults.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use gorums::testing::TurmoilConnector;
use gorums::{Configuration, ConfigurationBuilder};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use turmoil::{Builder, Sim};

pub const MS: Duration = Duration::from_millis(1);
/// From then on nothing is broken any more.
pub const HEALED: Duration = Duration::from_secs(4);
pub const PORT: u16 = 9_000;
/// The hosts' clocks move on by this much at a time.
const TICK: Duration = Duration::from_millis(2);
/// A simulation that is not over by then never is.
const LIMIT: Duration = Duration::from_secs(60);

/// The seeds to run.
pub fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    match (number("GORUMS_SEED"), number("GORUMS_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 1..seeds.unwrap_or(200) + 1,
    }
}

pub fn node_name(node: u32) -> String {
    format!("node{node}")
}

pub fn client_name(client: u32) -> String {
    format!("client{client}")
}

pub fn addresses(nodes: u32) -> impl Iterator<Item = (u32, String)> {
    (1..=nodes).map(|node| (node, format!("{}:{PORT}", node_name(node))))
}

/// Options that notice within half a second of simulated time that somebody is gone.
pub fn options(seed: u64, own: u32) -> ConfigurationBuilder {
    Configuration::builder()
        .connector(TurmoilConnector)
        .jitter_seed(seed << 8 | u64::from(own))
        .connect_timeout(200 * MS)
        .keepalive(200 * MS, 200 * MS)
        .timeout(400 * MS)
}

/// What a client does between two operations.
pub fn rng(seed: u64, own: u32) -> SmallRng {
    SmallRng::seed_from_u64(seed << 8 | u64::from(own))
}

pub fn simulation(seed: u64) -> Sim<'static> {
    Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .tick_duration(TICK)
        .simulation_duration(LIMIT)
        .max_message_latency(20 * MS)
        .build()
}

/// Runs until the clients have finished. Up to all nodes crash, are cut off from others, or are not heard of
/// for a while; all of them are well again in the end.
pub fn run(seed: u64, nodes: u32, clients: u32, simulation: &mut Sim<'_>) {
    let mut rng = rng(seed, 255);
    let others: Vec<_> = (1..=nodes).map(node_name).chain((1..=clients).map(client_name)).collect();
    let mut crashed = BTreeSet::new();
    let mut next = 100 * MS;
    let mut is_healed = false;
    loop {
        if simulation.elapsed() >= HEALED && !is_healed {
            is_healed = true;
            heal(nodes, &others, simulation);
            for node in std::mem::take(&mut crashed) {
                simulation.bounce(node);
            }
        } else if simulation.elapsed() >= next && !is_healed {
            next += MS * rng.random_range(20..250);
            let node = node_name(rng.random_range(1..=nodes));
            let other = others[rng.random_range(0..others.len())].clone();
            match rng.random_range(0..10) {
                0..2 if crashed.insert(node.clone()) => simulation.crash(node),
                0..5 => {
                    if let Some(node) = crashed.pop_first() {
                        simulation.bounce(node);
                    }
                }
                5..7 if node != other => simulation.partition(node, other),
                7 if node != other => simulation.hold(node, other),
                _ => heal(nodes, &others, simulation),
            }
        }
        if simulation.step().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
            return;
        }
    }
}

fn heal(nodes: u32, others: &[String], simulation: &mut Sim<'_>) {
    for node in (1..=nodes).map(node_name) {
        for other in others.iter().filter(|other| **other != node) {
            simulation.repair(node.clone(), other.clone());
            simulation.release(node.clone(), other.clone());
        }
    }
}
