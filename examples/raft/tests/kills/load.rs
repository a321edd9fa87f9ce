//! What clients of real processes do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft::{Client, Consistency, Error};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::history::{History, Op, Ret};

/// Keys that are used at the same time.
const KEYS: u32 = 8;
/// How long they are used: then come others, so that the history of each is short enough to be judged.
const EPOCH: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(30);

/// Puts, gets and so on until it is told to stop.
pub async fn run(store: Client, client: u32, history: History, begun: Instant, done: Arc<AtomicBool>) {
    let mut rng = SmallRng::seed_from_u64(client.into());
    // A client that has lost an operation goes on as another one: the lost one may still take effect.
    for step in 0_u32.. {
        if done.load(Relaxed) {
            return;
        }
        let epoch = (begun.elapsed().as_millis() / EPOCH.as_millis()) as u32;
        let key = epoch * KEYS + rng.random_range(0..KEYS);
        let value = client * 1_000_000 + step;
        let op = match rng.random_range(0..10) {
            0..5 => Op::Get,
            5..8 => Op::Put(value),
            8 => Op::Delete,
            _ => Op::Swap(None, value),
        };
        let number = history.begin(client, key, op, begun.elapsed());
        match call(&store, key, op).await {
            Ok(ret) => history.returned(number, begun.elapsed(), ret),
            Err(error) if error.is_ambiguous() => history.lost(number, begun.elapsed()),
            Err(_) => history.failed(number, begun.elapsed()),
        }
        sleep(PAUSE.mul_f64(rng.random_range(0.5..1.5))).await;
    }
}

fn bytes(value: u32) -> Bytes {
    value.to_string().into()
}

fn number(value: Option<Bytes>) -> Option<u32> {
    value.map(|value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

/// Does an operation on a key.
pub async fn call(store: &Client, key: u32, op: Op) -> Result<Ret, Error> {
    let key = format!("k{key}");
    Ok(match op {
        Op::Get => Ret::Value(number(store.get(key, Consistency::Linearizable).await?.value)),
        Op::Put(value) => {
            store.put(key, bytes(value)).await?;
            Ret::Done
        }
        Op::Delete if store.delete(key.clone()).await?.done => Ret::Done,
        Op::Delete => Ret::Missing,
        Op::Swap(expected, value) => {
            let written = store.compare_and_swap(key, expected.map(bytes), Some(bytes(value))).await?;
            if written.done { Ret::Done } else { Ret::Found(number(written.found)) }
        }
    })
}
