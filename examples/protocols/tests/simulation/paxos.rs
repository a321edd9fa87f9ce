//! One value is chosen, and it is one that was proposed.

use std::sync::{Arc, Mutex};

use gorums::Server;
use gorums::testing::TurmoilIncoming;
use protocols::paxos::{AcceptorServer, Node, Proposer};
use rand::RngExt;
use tokio::time::sleep;

use crate::world::{self, HEALED, MS, PORT, client_name, node_name};

const NODES: u32 = 3;
const CLIENTS: u32 = 4;

#[test]
fn one_proposed_value_is_chosen() {
    let mut repeated = 0;
    for seed in world::seeds() {
        let learned = run(seed);
        let proposed = 1_000..1_000 + u64::from(CLIENTS) + 1;
        assert!(
            learned.iter().all(|value| proposed.contains(value)),
            "seed {seed}: {learned:?} was not proposed"
        );
        assert!(learned.iter().all(|value| *value == learned[0]), "seed {seed}: two values: {learned:?}");
        assert!(learned.len() >= CLIENTS as usize, "seed {seed}");
        repeated += learned.len() - CLIENTS as usize;
    }
    if world::seeds().count() >= 200 {
        assert!(repeated > 0, "nobody asked again while there were faults");
    }
}

/// Gives what the proposers have learned to be chosen.
fn run(seed: u64) -> Vec<u64> {
    let mut simulation = world::simulation(seed);
    let learned = Arc::new(Mutex::new(Vec::new()));
    for node in 1..=NODES {
        let acceptor = Node::default();
        simulation.host(node_name(node), move || {
            let server = Server::builder().add_service(AcceptorServer::new(acceptor.clone()));
            async move {
                server.serve_with_incoming(TurmoilIncoming::bind(("0.0.0.0", PORT)).await?).await?;
                Ok(())
            }
        });
    }
    for number in 1..=CLIENTS {
        let learned = learned.clone();
        simulation.client(client_name(number), async move {
            let nodes = world::options(seed, number).node_map(world::addresses(NODES)).connect_lazy()?;
            let mut proposer = Proposer::new(number, nodes);
            let mut rng = world::rng(seed, number);
            sleep(MS * rng.random_range(0..500)).await;
            loop {
                let result = proposer.propose(1_000 + u64::from(number)).await;
                let is_done = result.is_ok();
                learned.lock().unwrap().extend(result.ok());
                // Proposes again and again, as a chosen value must stay, and a last time when all is well.
                if is_done && turmoil::elapsed() > HEALED {
                    return Ok(());
                }
                sleep(MS * rng.random_range(0..200)).await;
            }
        });
    }
    world::run(seed, NODES, CLIENTS, &mut simulation);
    drop(simulation);
    Arc::into_inner(learned).unwrap().into_inner().unwrap()
}
