//! Increments of a counter while connections are reset at random moments.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use gorums_core::testing::{Cluster, Faults};
use gorums_core::{Backoff, Node, NodeErrorKind, Server};
use rand::Rng;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::common::{OnNode, Transport, soon, within};
use crate::tools::*;

const CALLERS: u32 = 8;
/// Calls that a caller makes before it waits for them.
const BATCH: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_under_resets_over_tcp() {
    let _alone = alone().await;
    increments(Transport::Tcp, length(125, 1_250)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_under_resets_in_memory() {
    let _alone = alone().await;
    increments(Transport::Memory, length(125, 1_250)).await;
}

#[tokio::test]
async fn increments_under_resets_on_one_thread() {
    let _alone = alone().await;
    increments(Transport::Tcp, length(125, 1_250)).await;
}

/// What became of the requests of one caller. Odd numbers are increments, which must not be repeated; even ones are of
/// a method that may be.
#[derive(Default)]
struct Outcome {
    acknowledged: Vec<u64>,
    lost: Vec<u64>,
    never_sent: Vec<u64>,
}

/// G1 and G5: what was acknowledged ran once, what was lost at most once, what was never sent not at all; what may be
/// repeated succeeds. In order.
async fn increments(transport: Transport, batches: u64) {
    let soak = Soak::keeping();
    let service = soak.clone();
    let server = move |_| Server::builder().add_service(service.clone());
    let mut cluster = match transport {
        Transport::Memory => Cluster::in_memory(1, server).await,
        Transport::Tcp => Cluster::over_tcp(1, server).await,
    };
    let backoff = Backoff { initial: 2 * MS, max: 20 * MS };
    let configure =
        |builder: gorums_core::ConfigurationBuilder| builder.backoff(backoff).timeout(60 * SECOND);
    let configuration = cluster.configure(configure).unwrap();
    configuration.wait_connected().await.unwrap();
    let node = configuration.nodes()[0].clone();
    let callers = (0..CALLERS).map(|caller| tokio::spawn(call(node.clone(), caller, 2 * batches)));
    let calling = join_all(callers);
    let faults = cluster.faults(1).clone();
    let resetting = tokio::spawn(reset_at_random(faults));
    let outcomes: Vec<_> = calling.await.into_iter().map(Result::unwrap).collect();
    resetting.abort();
    let _ = resetting.await;
    // What is left of broken streams is handled before this, or with it.
    node.rpc(&SAFE, item(CALLERS, 1)).wait_for_ready(true).await.unwrap();
    let handlers = || cluster.server(1).unwrap().stats().streams <= 1;
    soon("the streams that broke have ended", 5 * SECOND, handlers).await;

    let runs = soak.handled.lock().unwrap().all.take().unwrap();
    let mut ran_lost = 0;
    for (caller, outcome) in (0..CALLERS).zip(&outcomes) {
        let of_caller: Vec<_> = runs.iter().filter(|run| run.0 == caller).map(|run| run.1).collect();
        ran_lost += assert_at_most_once(&of_caller, outcome);
        assert_order(&of_caller);
    }
    let count =
        |of: fn(&Outcome) -> &Vec<u64>| outcomes.iter().map(|outcome| of(outcome).len()).sum::<usize>();
    let (acknowledged, lost, never_sent) =
        (count(|o| &o.acknowledged), count(|o| &o.lost), count(|o| &o.never_sent));
    let connections = node.stats().connections;
    report(
        &format!("at most once, {transport:?}"),
        &format!(
            "{} increments and as many repeatable ones over {connections} connections: {acknowledged} acknowledged, \
             {lost} lost of which {ran_lost} ran, {never_sent} never sent",
            u64::from(CALLERS) * batches * BATCH
        ),
    );
    assert_eq!(acknowledged + lost + never_sent, 2 * (u64::from(CALLERS) * batches * BATCH) as usize);
    assert!(
        connections > 20 && lost > 0,
        "{connections} connections, {lost} lost: not enough to prove anything"
    );
    assert_counters_add_up(&configuration);
    assert_eq!(configuration.pending(), 0);
    drop((configuration, node));
    cluster.finish().await;
}

/// Cuts the connections now and then, and once in a while for long enough for the node to be known as down.
async fn reset_at_random(faults: Faults) {
    loop {
        let pause = MS.mul_f64(rand::rng().random_range(0.0..1.0));
        sleep(pause).await;
        faults.reset();
        if rand::rng().random_ratio(1, 10) {
            let until = Instant::now() + 10 * MS;
            while Instant::now() < until {
                faults.reset();
                yield_now().await;
            }
        }
    }
}

async fn call(node: Node, caller: u32, batches: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for batch in 0..batches {
        let numbers = batch * BATCH + 1..=(batch + 1) * BATCH;
        let calls: Vec<_> = numbers
            .map(|number| {
                let method = if number % 2 == 0 { &SAFE } else { &CALL };
                // Some increments do not wait for a node that is down.
                let waits = number % BATCH != 5 && number % BATCH != 9;
                (number, node.rpc(method, item(caller, number)).wait_for_ready(waits).send())
            })
            .collect();
        for (number, call) in calls {
            match within("increment", call).await {
                Ok(reply) => {
                    assert_eq!(reply.number, number, "the reply to another call");
                    outcome.acknowledged.push(number);
                }
                Err(error) => match error.kind() {
                    _ if number % 2 == 0 => panic!("a call that may be repeated: {error}"),
                    NodeErrorKind::ConnectionLost => outcome.lost.push(number),
                    other => {
                        assert!(!error.is_ambiguous(), "{other}");
                        outcome.never_sent.push(number);
                    }
                },
            }
        }
    }
    outcome
}

/// Gives how many of the lost ones ran.
fn assert_at_most_once(runs: &[u64], outcome: &Outcome) -> usize {
    let mut counts: HashMap<u64, u32> = HashMap::new();
    for number in runs {
        *counts.entry(*number).or_default() += 1;
    }
    let count = |number: &u64| counts.get(number).copied().unwrap_or(0);
    for number in &outcome.acknowledged {
        let ran = count(number);
        assert!(ran == 1 || number % 2 == 0 && ran > 1, "acknowledged {number} ran {ran} times");
    }
    for number in &outcome.lost {
        assert!(count(number) <= 1, "lost {number} ran {} times", count(number));
    }
    for number in &outcome.never_sent {
        assert_eq!(count(number), 0, "{number} ran, and the error says that it was never sent");
    }
    outcome.lost.iter().filter(|number| count(number) == 1).count()
}

/// The first runs of a caller's requests are in the order of its calls, those of the lost ones too.
fn assert_order(runs: &[u64]) {
    let (mut seen, mut last) = (HashSet::new(), 0);
    for &number in runs.iter().filter(|number| seen.insert(**number)) {
        assert!(number > last, "{number} ran after {last}");
        last = number;
    }
}
