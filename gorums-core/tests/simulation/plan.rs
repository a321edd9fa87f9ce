//! All that is random about a simulation, drawn from its seed before it starts.

use std::time::Duration;

use gorums_core::{Backoff, Overflow, QueueLimits};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::faults::{self, Timed};

pub const MS: Duration = Duration::from_millis(1);
/// No fault outlasts this.
pub const HEALED: Duration = Duration::from_secs(6);
/// Calls are started up to here.
const BUSY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub servers: u32,
    pub clients: u32,
    /// Nothing ever fails.
    pub calm: bool,
    /// The longest time that a message is on its way.
    pub latency: Duration,
    /// How likely a message is to break its link for a moment.
    pub fail_rate: f64,
    pub options: Options,
    pub programs: Vec<Vec<Step>>,
    pub faults: Vec<Timed>,
}

/// The options of the clients.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub keepalive: (Duration, Duration),
    pub backoff: Backoff,
    pub connect_timeout: Duration,
    pub queue: QueueLimits,
}

/// Calls that are started one after the other at one moment.
#[derive(Clone, Debug)]
pub struct Step {
    pub pause: Duration,
    pub calls: Vec<Call>,
    /// The next step waits for the ends of these calls.
    pub waits: bool,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub kind: Kind,
    pub idempotent: bool,
    pub handling: Handling,
    pub padding: usize,
    pub timeout: Duration,
    pub wait_for_ready: bool,
    /// The caller loses interest after this time.
    pub dropped_after: Option<Duration>,
}

/// How a call is made; nodes by their ids.
#[derive(Clone, Debug)]
pub enum Kind {
    Rpc {
        node: u32,
    },
    Unicast {
        node: u32,
        awaited: bool,
        overflow: Overflow,
    },
    Multicast {
        awaited: bool,
        overflow: Overflow,
    },
    First,
    Majority,
    All,
    Threshold(usize),
    /// Some replies are read; then a threshold is waited for, or the rest is dropped.
    Replies {
        read: usize,
        then: Option<usize>,
    },
    Correctable {
        level: usize,
    },
    Streaming {
        updates: u32,
        read: usize,
    },
}

/// What a handler does.
#[derive(Clone, Copy, Debug)]
pub struct Handling {
    pub releases: bool,
    pub pause: Duration,
    pub fails: bool,
}

impl Plan {
    pub fn from_seed(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        let servers = rng.random_range(3..=5);
        let clients = rng.random_range(1..=3);
        let calm = rng.random_bool(0.1);
        let latency = *[5, 20, 60].choose(rng).unwrap() * MS;
        let fail_rate = if calm || rng.random_bool(0.7) { 0.0 } else { rng.random_range(0.0005..0.005) };
        let options = options(rng, calm);
        let programs = (0..clients).map(|_| program(rng, servers)).collect();
        let faults = if calm { Vec::new() } else { faults::schedule(rng, servers, clients) };
        Self { seed, servers, clients, calm, latency, fail_rate, options, programs, faults }
    }

    /// How long it takes at most, after all faults, until a node that is asked for is connected and has answered.
    pub fn recovery(&self) -> Duration {
        let Options { keepalive, backoff, connect_timeout, .. } = self.options;
        // The dead connection is noticed, a dial that was under way fails, and the next one comes after the longest
        // pause; then some round trips, and handlers that are still busy with what came before.
        keepalive.0 + keepalive.1 + connect_timeout + backoff.max + 10 * self.latency + 1_000 * MS
    }
}

fn options(rng: &mut StdRng, calm: bool) -> Options {
    let messages = if calm { 256 } else { *[4, 16, 256].choose(rng).unwrap() };
    Options {
        keepalive: (rng.random_range(200..1_000) * MS, rng.random_range(200..400) * MS),
        backoff: Backoff { initial: rng.random_range(5..100) * MS, max: rng.random_range(100..800) * MS },
        connect_timeout: rng.random_range(300..600) * MS,
        queue: QueueLimits { messages, bytes: 1 << 18 },
    }
}

fn program(rng: &mut StdRng, servers: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = Duration::ZERO;
    let longest = *[20, 100, 400].choose(rng).unwrap();
    while at < BUSY && steps.len() < 60 {
        let pause = rng.random_range(0..longest) * MS;
        at += pause + 20 * MS;
        let burst = if rng.random_bool(0.6) { 1 } else { rng.random_range(2..12) };
        let waits = rng.random_bool(0.6);
        let calls = (0..burst).map(|_| call(rng, servers, burst == 1 && waits)).collect();
        steps.push(Step { pause, calls, waits });
    }
    steps
}

fn call(rng: &mut StdRng, servers: u32, alone: bool) -> Call {
    let kind = kind(rng, servers, alone);
    Call {
        kind,
        idempotent: rng.random(),
        handling: Handling {
            releases: rng.random_bool(0.2),
            pause: match rng.random_range(0..10) {
                0..6 => Duration::ZERO,
                6..9 => rng.random_range(1..20) * MS,
                _ => rng.random_range(20..120) * MS,
            },
            fails: rng.random_bool(0.05),
        },
        padding: if rng.random_bool(0.05) { rng.random_range(0..100_000) } else { rng.random_range(0..100) },
        timeout: match rng.random_range(0..3) {
            0 => rng.random_range(10..100) * MS,
            1 => rng.random_range(100..500) * MS,
            _ => rng.random_range(500..3_000) * MS,
        },
        wait_for_ready: rng.random_bool(0.4),
        dropped_after: rng.random_bool(0.15).then(|| rng.random_range(0..300) * MS),
    }
}

fn kind(rng: &mut StdRng, servers: u32, alone: bool) -> Kind {
    let node = rng.random_range(1..=servers);
    let some = rng.random_range(1..=servers as usize);
    match rng.random_range(0..14) {
        0..4 => Kind::Rpc { node },
        4 => Kind::Unicast { node, awaited: rng.random(), overflow: overflow(rng, alone) },
        5 => Kind::Multicast { awaited: rng.random(), overflow: overflow(rng, alone) },
        6 => Kind::First,
        7 | 8 => Kind::Majority,
        9 => Kind::All,
        10 => Kind::Threshold(some),
        11 => Kind::Replies { read: rng.random_range(0..=some), then: rng.random_bool(0.5).then_some(some) },
        12 => Kind::Correctable { level: some },
        _ => Kind::Streaming { updates: rng.random_range(0..6), read: rng.random_range(0..20) },
    }
}

/// A message that waits for room is overtaken by calls that are started meanwhile: only one that is alone waits.
fn overflow(rng: &mut StdRng, alone: bool) -> Overflow {
    match rng.random_range(0..4) {
        0 if alone => Overflow::Wait,
        1 => Overflow::DropNewest,
        2 => Overflow::DropOldest,
        _ => Overflow::Fail,
    }
}
