//! What happens in a simulation, drawn from its seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

pub const NODES: u32 = 3;
pub const MS: Duration = Duration::from_millis(1);
/// Faults happen until then.
pub const FAULTS_END: Duration = Duration::from_secs(6);

/// A fault, and when it happens.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    pub at: Duration,
    pub fault: Fault,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A node loses its power.
    Crash(Victim),
    /// All nodes that are down get their power back.
    Bounce,
    /// A node is cut off from the other nodes. Clients still reach it.
    Isolate(Victim),
    /// A node is cut off from everybody.
    CutOff(Victim),
    /// What is sent to and from a node waits, as if its process was stopped.
    Pause(Victim),
    /// All links are well again.
    Heal,
}

#[derive(Clone, Copy, Debug)]
pub enum Victim {
    Leader,
    Node(u32),
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub clients: u32,
    /// How many of them only read, and that from the leader they know, as long as it answers.
    pub readers: u32,
    pub operations: u32,
    pub keys: u32,
    pub latency: Duration,
    pub faults: Vec<Timed>,
}

impl Plan {
    /// A leader is cut off from the other nodes, which elect another one. Clients reach all of them.
    pub fn deposed_leader() -> Self {
        let faults = [(1_500, Fault::Isolate(Victim::Leader)), (5_000, Fault::Heal)];
        let faults = faults.map(|(at, fault)| Timed { at: MS * at, fault }).to_vec();
        Self { seed: 0, clients: 4, readers: 2, operations: 40, keys: 1, latency: 5 * MS, faults }
    }

    pub fn from_seed(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut faults = Vec::new();
        let mut at = MS * rng.random_range(700..1_500);
        while at < FAULTS_END {
            let victim =
                if rng.random_bool(0.6) { Victim::Leader } else { Victim::Node(rng.random_range(1..=NODES)) };
            let (fault, end) = match rng.random_range(0..4) {
                0 => (Fault::Crash(victim), Fault::Bounce),
                1 => (Fault::CutOff(victim), Fault::Heal),
                2 => (Fault::Pause(victim), Fault::Heal),
                _ => (Fault::Isolate(victim), Fault::Heal),
            };
            faults.push(Timed { at, fault });
            at += MS * rng.random_range(300..1_200);
            // Sometimes the next one comes before this one has ended.
            if rng.random_bool(0.8) {
                faults.push(Timed { at, fault: end });
            }
            at += MS * rng.random_range(50..800);
        }
        for fault in [Fault::Heal, Fault::Bounce] {
            faults.push(Timed { at: at.max(FAULTS_END), fault });
        }
        Self {
            seed,
            clients: rng.random_range(3..=5),
            readers: 0,
            operations: rng.random_range(25..=40),
            keys: rng.random_range(3..=6),
            latency: MS * rng.random_range(2..15),
            faults,
        }
    }
}
