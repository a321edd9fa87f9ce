//! The register is atomic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use gorums::Server;
use gorums::testing::TurmoilIncoming;
use protocols::abd::{Client, RegisterServer, Replica, Tagged};
use rand::RngExt;
use tokio::time::sleep;

use crate::world::{self, HEALED, MS, PORT, client_name, node_name};

const NODES: u32 = 3;
const CLIENTS: u32 = 4;

/// An operation that succeeded.
#[derive(Debug)]
struct Done {
    /// Their order among all events.
    from: usize,
    to: usize,
    is_write: bool,
    got: Tagged,
}

#[derive(Debug, Default)]
struct History {
    events: usize,
    /// When each value was first tried to be written.
    tried: BTreeMap<u64, usize>,
    done: Vec<Done>,
}

impl History {
    fn event(&mut self) -> usize {
        self.events += 1;
        self.events
    }
}

#[test]
fn a_register_is_atomic() {
    let (mut reads, mut writes) = (0, 0);
    for seed in world::seeds() {
        let history = run(seed);
        check(seed, &history);
        writes += history.done.iter().filter(|done| done.is_write).count();
        reads += history.done.iter().filter(|done| !done.is_write).count();
    }
    assert!(reads > 0 && writes > 0, "{reads} reads and {writes} writes");
}

fn run(seed: u64) -> History {
    let mut simulation = world::simulation(seed);
    let history = Arc::new(Mutex::new(History::default()));
    for node in 1..=NODES {
        let replica = Replica::default();
        simulation.host(node_name(node), move || {
            let server = Server::builder().add_service(RegisterServer::new(replica.clone()));
            async move {
                server.serve_with_incoming(TurmoilIncoming::bind(("0.0.0.0", PORT)).await?).await?;
                Ok(())
            }
        });
    }
    for number in 1..=CLIENTS {
        let history = history.clone();
        simulation.client(client_name(number), async move {
            let nodes = world::options(seed, number).node_map(world::addresses(NODES)).connect_lazy()?;
            let mut client = Client::new(number, nodes);
            let mut rng = world::rng(seed, number);
            for step in 0.. {
                let value = u64::from(number) * 1_000 + step;
                let is_write = rng.random_bool(0.4);
                let from = {
                    let mut history = history.lock().unwrap();
                    let from = history.event();
                    if is_write {
                        history.tried.insert(value, from);
                    }
                    from
                };
                let result = if is_write {
                    client.write(value).await.map(|timestamp| Tagged { timestamp, value })
                } else {
                    client.read().await
                };
                let is_done = result.is_ok();
                if let Ok(got) = result {
                    let mut history = history.lock().unwrap();
                    let to = history.event();
                    history.done.push(Done { from, to, is_write, got });
                }
                // The last one succeeds, when all is well.
                if is_done && turmoil::elapsed() > HEALED {
                    break;
                }
                sleep(MS * rng.random_range(0..60)).await;
            }
            Ok(())
        });
    }
    world::run(seed, NODES, CLIENTS, &mut simulation);
    drop(simulation);
    Arc::into_inner(history).unwrap().into_inner().unwrap()
}

/// After Lynch, "Distributed Algorithms", lemma 13.16: the order by timestamps, writes before the reads of them, is one
/// in which the operations could have happened one at a time.
fn check(seed: u64, history: &History) {
    let mut values = BTreeMap::new();
    for done in &history.done {
        let Tagged { timestamp, value } = &done.got;
        assert_eq!(
            values.entry(timestamp).or_insert(value),
            &value,
            "seed {seed}: two values of {timestamp:?}"
        );
        if timestamp.number > 0 {
            assert!(history.tried[value] < done.to, "seed {seed}: {done:?} got what nobody had written");
        }
        for later in history.done.iter().filter(|later| later.from > done.to) {
            let is_newer = later.got.timestamp > *timestamp;
            let is_same = later.got.timestamp == *timestamp && !later.is_write;
            assert!(is_newer || is_same, "seed {seed}: {later:?} came after {done:?}");
        }
    }
}
