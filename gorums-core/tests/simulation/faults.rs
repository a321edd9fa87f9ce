//! What goes wrong, and when.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use turmoil::Sim;

use crate::plan::{HEALED, MS, Plan};

/// A fault and when it happens.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    pub at: Duration,
    pub fault: Fault,
}

/// A change to the network or to a host. Links are named by client and server.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// What is sent is lost.
    Partition(u32, u32),
    PartitionTowardsServer(u32, u32),
    PartitionTowardsClient(u32, u32),
    Repair(u32, u32),
    /// What is sent arrives only after the release.
    Hold(u32, u32),
    Release(u32, u32),
    /// The process dies: its sockets are closed by the system.
    Crash(u32),
    Start(u32),
}

pub fn client_name(client: u32) -> String {
    format!("client{client}")
}

pub fn server_name(server: u32) -> String {
    format!("server{server}")
}

/// Faults of each link and each server, one at a time, all of them over when healed.
pub fn schedule(rng: &mut StdRng, servers: u32, clients: u32) -> Vec<Timed> {
    let mut all = Vec::new();
    let calmness = rng.random_range(500..4_000);
    for server in 1..=servers {
        for client in 1..=clients {
            intervals(rng, calmness, 2_500, |rng, from, to| {
                let (begin, end) = match rng.random_range(0..6) {
                    0 | 1 => (Fault::Partition(client, server), Fault::Repair(client, server)),
                    2 => (Fault::PartitionTowardsServer(client, server), Fault::Repair(client, server)),
                    3 => (Fault::PartitionTowardsClient(client, server), Fault::Repair(client, server)),
                    _ => (Fault::Hold(client, server), Fault::Release(client, server)),
                };
                all.extend([Timed { at: from, fault: begin }, Timed { at: to, fault: end }]);
            });
        }
        intervals(rng, 2 * calmness, 1_500, |_, from, to| {
            let (begin, end) = (Fault::Crash(server), Fault::Start(server));
            all.extend([Timed { at: from, fault: begin }, Timed { at: to, fault: end }]);
        });
    }
    all.sort_by_key(|timed| timed.at);
    all
}

/// Intervals that do not overlap, with pauses of up to `calmness` between them.
fn intervals(
    rng: &mut StdRng,
    calmness: u32,
    longest: u32,
    mut add: impl FnMut(&mut StdRng, Duration, Duration),
) {
    let mut at = Duration::ZERO;
    loop {
        at += rng.random_range(50..calmness) * MS;
        if at >= HEALED {
            return;
        }
        let end = (at + rng.random_range(5..longest) * MS).min(HEALED);
        add(rng, at, end);
        at = end;
    }
}

impl Fault {
    pub fn apply(self, plan: &Plan, simulation: &mut Sim<'_>) {
        match self {
            Self::Partition(client, server) => simulation.partition(client_name(client), server_name(server)),
            Self::PartitionTowardsServer(client, server) => {
                simulation.partition_oneway(client_name(client), server_name(server));
            }
            Self::PartitionTowardsClient(client, server) => {
                simulation.partition_oneway(server_name(server), client_name(client));
            }
            Self::Repair(client, server) => simulation.repair(client_name(client), server_name(server)),
            Self::Hold(client, server) => simulation.hold(client_name(client), server_name(server)),
            Self::Release(client, server) => simulation.release(client_name(client), server_name(server)),
            Self::Crash(server) => crash(plan, simulation, server),
            Self::Start(server) => simulation.bounce(server_name(server)),
        }
    }
}

/// In which order the tasks of a crashed host are dropped depends on what else the process has run. So that the
/// simulation does not, all that they send takes the same time, and is lost or not together.
fn crash(plan: &Plan, simulation: &mut Sim<'_>, server: u32) {
    simulation.set_fail_rate(0.0);
    for client in 1..=plan.clients {
        let (client, server) = (client_name(client), server_name(server));
        simulation.set_link_latency(client.as_str(), server.as_str(), plan.latency / 2);
    }
    simulation.crash(server_name(server));
    for client in 1..=plan.clients {
        simulation.set_link_max_message_latency(client_name(client), server_name(server), plan.latency);
    }
    simulation.set_fail_rate(plan.fail_rate);
}
