//! Runs a plan.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums::Server;
use gorums::testing::{TurmoilConnector, TurmoilIncoming};
use raft::testing::Disk;
use raft::{Defect, NoApplication, Node, Options, Storage};
use turmoil::{Builder, Sim};

use crate::client;
use crate::history::History;
use crate::plan::{Fault, MS, NODES, Plan, Victim};

pub const PORT: u16 = 9_000;
/// The hosts' clocks move on by this much at a time.
const TICK: Duration = Duration::from_millis(2);
/// A simulation that is not over by then never is.
const LIMIT: Duration = Duration::from_secs(60);

/// What there is to judge after a simulation.
pub struct Outcome {
    pub history: History,
    /// The term at the end: how often somebody stood for election.
    pub terms: u64,
    /// Why it did not come to its end, if it did not.
    pub error: Option<String>,
}

pub fn node_name(node: u32) -> String {
    format!("node{node}")
}

fn client_name(client: u32) -> String {
    format!("client{client}")
}

/// What the world knows of the nodes.
#[derive(Clone, Default)]
struct Nodes {
    running: Arc<Mutex<BTreeMap<u32, Node>>>,
    disks: Arc<Mutex<BTreeMap<u32, (Disk, Disk)>>>,
}

impl Nodes {
    fn victim(&self, victim: Victim) -> u32 {
        match victim {
            Victim::Node(node) => node,
            Victim::Leader => {
                let running = self.running.lock().unwrap();
                let leader = running.values().find(|node| node.leadership().borrow().is_leading());
                leader.map_or(1, Node::id)
            }
        }
    }
}

pub fn run(plan: Plan, defect: Option<Defect>) -> Outcome {
    let (seed, plan) = (plan.seed, Arc::new(plan));
    let (history, nodes) = (History::default(), Nodes::default());
    let mut simulation = Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .tick_duration(TICK)
        .simulation_duration(LIMIT)
        .max_message_latency(plan.latency)
        .build();
    for id in 1..=NODES {
        let nodes = nodes.clone();
        simulation.host(node_name(id), move || serve(id, seed, defect, nodes.clone()));
    }
    for number in 1..=plan.clients {
        let (plan, history) = (plan.clone(), history.clone());
        simulation.client(client_name(number), async move { client::run(&plan, number, history).await });
    }
    let error = advance(&plan, &nodes, &mut simulation).err();
    let terms = nodes.running.lock().unwrap().values().map(|node| node.status().term).max().unwrap_or(0);
    Outcome { history, terms, error }
}

/// A node, on what its disks hold.
async fn serve(id: u32, seed: u64, defect: Option<Defect>, nodes: Nodes) -> turmoil::Result {
    let (log, state) = nodes.disks.lock().unwrap().entry(id).or_default().clone();
    let storage = Storage::on(log.backend(), state.backend())?;
    let mut options = Options::new(id, format!("{}:{PORT}", node_name(id)));
    options.heartbeat_interval = 50 * MS;
    options.election_timeout = 300 * MS;
    options.call_timeout = 1_000 * MS;
    options.compact_every = 40;
    options.keep_entries = 5;
    options.seed = seed.wrapping_mul(1_000).wrapping_add(id.into());
    let seed = options.seed;
    if let Some(defect) = defect {
        options = options.with_defect(defect);
    }
    let connect =
        move |builder: gorums::ConfigurationBuilder| builder.connector(TurmoilConnector).jitter_seed(seed);
    let node = Node::start(options, storage, connect, NoApplication).await?;
    let incoming = TurmoilIncoming::bind(("0.0.0.0", PORT)).await?;
    let server = node.add_services(Server::builder().keepalive(300 * MS, 300 * MS), false).on(incoming);
    nodes.running.lock().unwrap().insert(id, node.clone());
    node.initialize((1..=NODES).map(|id| (id, format!("{}:{PORT}", node_name(id)))).collect()).await?;
    server.serve().await?;
    Ok(())
}

/// Runs until the clients have finished.
fn advance(plan: &Plan, nodes: &Nodes, simulation: &mut Sim<'_>) -> Result<(), String> {
    let mut faults = plan.faults.iter().peekable();
    loop {
        while let Some(timed) = faults.next_if(|timed| timed.at <= simulation.elapsed()) {
            apply(timed.fault, plan, nodes, simulation);
        }
        if simulation.step().map_err(|error| error.to_string())? {
            return Ok(());
        }
    }
}

fn apply(fault: Fault, plan: &Plan, nodes: &Nodes, simulation: &mut Sim<'_>) {
    let all_clients = || (1..=plan.clients).map(client_name);
    let others = |node| (1..=NODES).filter(move |other| *other != node).map(node_name);
    match fault {
        Fault::Crash(victim) => {
            let node = nodes.victim(victim);
            simulation.crash(node_name(node));
            nodes.running.lock().unwrap().remove(&node);
            if let Some((log, state)) = nodes.disks.lock().unwrap().get(&node) {
                log.lose_power();
                state.lose_power();
            }
        }
        Fault::Bounce => {
            for node in 1..=NODES {
                if !simulation.is_host_running(node_name(node)) {
                    simulation.bounce(node_name(node));
                }
            }
        }
        Fault::Isolate(victim) => {
            let node = nodes.victim(victim);
            others(node).for_each(|other| simulation.partition(node_name(node), other));
        }
        Fault::CutOff(victim) => {
            let node = nodes.victim(victim);
            others(node).chain(all_clients()).for_each(|other| simulation.partition(node_name(node), other));
        }
        Fault::Pause(victim) => {
            let node = nodes.victim(victim);
            others(node).chain(all_clients()).for_each(|other| simulation.hold(node_name(node), other));
        }
        Fault::Heal => {
            for node in 1..=NODES {
                for other in others(node).chain(all_clients()) {
                    simulation.repair(node_name(node), other.clone());
                    simulation.release(node_name(node), other);
                }
            }
        }
    }
}
