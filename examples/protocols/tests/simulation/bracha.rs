//! All correct nodes deliver the same, although node 4 of four lies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use gorums::testing::TurmoilIncoming;
use gorums::{Configuration, Node as Member, Server, System};
use protocols::bracha::{BroadcastNodeClient, BroadcastServer, Memory, Message, Node};
use rand::RngExt;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::world::{self, HEALED, MS, PORT, client_name, node_name};

const NODES: u32 = 4;
const LIAR: u32 = 4;
/// Broadcasts of each node.
const BROADCASTS: u64 = 3;

/// What each correct node has delivered, by origin and number.
type Delivered = BTreeMap<u32, BTreeMap<(u32, u64), u64>>;

#[test]
fn correct_nodes_deliver_the_same() {
    let (mut lies, mut silence) = (0, 0);
    for seed in world::seeds() {
        let delivered = run(seed);
        let first = &delivered[&1];
        for (node, messages) in &delivered {
            assert_eq!(messages, first, "seed {seed}: node {node} has delivered something else than node 1");
            for origin in (1..=NODES).filter(|origin| *origin != LIAR) {
                for number in 0..BROADCASTS {
                    let value = messages.get(&(origin, number));
                    assert_eq!(
                        value,
                        Some(&value_of(origin, number)),
                        "seed {seed}: {origin}'s {number} at {node}"
                    );
                }
            }
        }
        let of_liar = first.keys().filter(|(origin, _)| *origin == LIAR).count();
        lies += of_liar;
        silence += usize::try_from(BROADCASTS).unwrap() - of_liar;
    }
    if world::seeds().count() >= 200 {
        assert!(lies > 0 && silence > 0, "{lies} lies were delivered, {silence} were not");
    }
}

fn value_of(origin: u32, number: u64) -> u64 {
    u64::from(origin) * 100 + number
}

fn run(seed: u64) -> Delivered {
    let mut simulation = world::simulation(seed);
    let delivered = Arc::new(Mutex::new(Delivered::new()));
    for id in (1..=NODES).filter(|id| *id != LIAR) {
        let (memory, delivered) = (Memory::default(), delivered.clone());
        delivered.lock().unwrap().insert(id, BTreeMap::new());
        let has_broadcast = Arc::new(Mutex::new(false));
        simulation.host(node_name(id), move || {
            let (memory, delivered, has_broadcast) =
                (memory.clone(), delivered.clone(), has_broadcast.clone());
            async move {
                let bound = system(seed, id).on(TurmoilIncoming::bind(("0.0.0.0", PORT)).await?)?;
                let (sender, mut receiver) = mpsc::unbounded_channel::<Message>();
                let node = Node::start(bound.configuration().clone(), memory, sender);
                let _system = bound.add_service(BroadcastServer::new(node.clone())).serve();
                if !std::mem::replace(&mut *has_broadcast.lock().unwrap(), true) {
                    for number in 0..BROADCASTS {
                        node.broadcast(Message { origin: id, number, value: value_of(id, number) });
                    }
                }
                while let Some(Message { origin, number, value }) = receiver.recv().await {
                    let again =
                        delivered.lock().unwrap().entry(id).or_default().insert((origin, number), value);
                    assert_eq!(again, None, "node {id} has delivered {number} of {origin} twice");
                }
                Ok(())
            }
        });
    }
    simulation.host(node_name(LIAR), move || async move {
        let bound = system(seed, LIAR).on(TurmoilIncoming::bind(("0.0.0.0", PORT)).await?)?;
        let configuration = bound.configuration().clone();
        let _system = bound.serve();
        lie(seed, configuration).await;
        Ok(())
    });
    // A simulation is over when its clients are: this one waits until everything has been delivered that will be.
    simulation.client(client_name(1), async {
        sleep(HEALED + 3_000 * MS).await;
        Ok(())
    });
    world::run(seed, NODES, 1, &mut simulation);
    drop(simulation);
    Arc::into_inner(delivered).unwrap().into_inner().unwrap()
}

fn system(seed: u64, id: u32) -> gorums::SystemBuilder {
    System::builder()
        .own(id)
        .node_map(world::addresses(NODES))
        .server(Server::builder().keepalive(200 * MS, 200 * MS))
        .configuration(world::options(seed, id))
}

/// Tells different nodes different things, of its own broadcasts and of those of others, again and again.
async fn lie(seed: u64, nodes: Configuration) {
    let mut rng = world::rng(seed, LIAR);
    // Sometimes it tells nearly everybody the same, so that its broadcast is delivered.
    let bias = rng.random_range(0.0..1.0);
    loop {
        let members: Vec<Member> = nodes.iter().filter(|node| node.id() != LIAR).cloned().collect();
        for member in members {
            // Also what it says others have begun.
            let origin = if rng.random_bool(0.5) { LIAR } else { rng.random_range(1..=NODES) };
            let number = rng.random_range(0..BROADCASTS);
            let value = if rng.random_bool(bias) { 7 } else { 8 };
            let message = Message { origin, number, value };
            let kind = rng.random_range(0..3);
            tokio::spawn(async move {
                // Whether it arrives is of no concern.
                let _ = match kind {
                    0 => member.initial(message).await,
                    1 => member.echo(message).await,
                    _ => member.ready(message).await,
                };
            });
        }
        sleep(MS * rng.random_range(1..40)).await;
    }
}
