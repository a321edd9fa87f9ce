//! A client of a simulated cluster.

use std::time::Duration;

use bytes::Bytes;
use gorums::testing::TurmoilConnector;
use raft::{Client, Consistency, Error};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::history::{History, Op, Ret};
use crate::plan::{FAULTS_END, MS, NODES, Plan};
use crate::world::{PORT, node_name};

/// Does what the plan says, and notes it. Each operation is of another seed than those of the other clients.
pub async fn run(plan: &Plan, client: u32, history: History) -> turmoil::Result {
    let seed = plan.seed.wrapping_mul(1_000).wrapping_add(u64::from(client) + 500);
    let mut rng = SmallRng::seed_from_u64(seed);
    let connections = gorums::Configuration::builder()
        .connector(TurmoilConnector)
        .jitter_seed(seed)
        .connect_timeout(200 * MS)
        .keepalive(300 * MS, 300 * MS);
    let nodes = (1..=NODES).map(|node| (node, format!("{}:{PORT}", node_name(node))));
    let timeout = MS * rng.random_range(400..1_500);
    let store =
        Client::builder().nodes(nodes).connections(connections).timeout(timeout).seed(seed).build()?;
    let mut last_seen = vec![None; plan.keys as usize];
    for step in 0..plan.operations {
        let key = rng.random_range(0..plan.keys);
        let value = client * 1_000 + step;
        let only_reads = client <= plan.readers;
        let op = match rng.random_range(0..10) {
            _ if only_reads => Op::Get,
            0..4 => Op::Get,
            4..7 => Op::Put(value),
            7 => Op::Delete,
            _ => Op::Swap(last_seen[key as usize], value),
        };
        let number = history.begin(client, key, op, turmoil::elapsed());
        let by_lease = rng.random_bool(0.3) && !only_reads;
        let consistency = if by_lease { Consistency::Lease } else { Consistency::Linearizable };
        let result = call(&store, key, op, consistency).await;
        let now = turmoil::elapsed();
        match result {
            Ok(ret) => {
                history.returned(number, now, ret);
                last_seen[key as usize] = match (op, ret) {
                    (Op::Put(value) | Op::Swap(_, value), Ret::Done) => Some(value),
                    (_, Ret::Value(value) | Ret::Found(value)) => value,
                    _ => None,
                };
            }
            Err(error) if error.is_ambiguous() => history.lost(number, now),
            Err(_) => history.failed(number, now),
        }
        // Spread over the time of the faults, and a while after.
        let pace = (FAULTS_END + Duration::from_secs(1)) / plan.operations;
        sleep(pace.mul_f64(rng.random_range(0.0..1.5))).await;
    }
    // When all is well again, everything can be read.
    sleep((FAULTS_END + Duration::from_secs(6)).saturating_sub(turmoil::elapsed())).await;
    for key in 0..plan.keys {
        let number = history.begin(client, key, Op::Get, turmoil::elapsed());
        let ret = call(&store, key, Op::Get, Consistency::Linearizable)
            .await
            .map_err(|error| format!("after the faults: {error}"))?;
        history.returned(number, turmoil::elapsed(), ret);
    }
    store.close().await;
    Ok(())
}

fn bytes(value: u32) -> Bytes {
    value.to_string().into()
}

fn number(value: Option<Bytes>) -> Option<u32> {
    value.map(|value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

async fn call(store: &Client, key: u32, op: Op, consistency: Consistency) -> Result<Ret, Error> {
    let key = format!("k{key}");
    Ok(match op {
        Op::Get => Ret::Value(number(store.get(key, consistency).await?.value)),
        Op::Put(value) => {
            store.put(key, bytes(value)).await?;
            Ret::Done
        }
        Op::Delete => {
            if store.delete(key).await?.done {
                Ret::Done
            } else {
                Ret::Missing
            }
        }
        Op::Swap(expected, value) => {
            let written = store.compare_and_swap(key, expected.map(bytes), Some(bytes(value))).await?;
            if written.done { Ret::Done } else { Ret::Found(number(written.found)) }
        }
    })
}
