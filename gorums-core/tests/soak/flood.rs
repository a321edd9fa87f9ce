//! One-way messages as fast as they go, and calls right behind them.

use futures_util::future::join_all;
use gorums_core::{Configuration, NodeErrorKind, Overflow};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::common::{OnConfiguration, OnNode, within};
use crate::tools::*;

/// The sender of the calls behind the flood.
const CALLER: u32 = 0;
/// Messages that a sender sends in one go: more than have room.
const BURST: u64 = 300;
const CALLS: usize = 100;

#[derive(Clone, Copy, Debug)]
enum Form {
    Unicast,
    Multicast,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unicasts_on_two_threads() {
    flood(Form::Unicast, "two threads").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_multicasts_on_two_threads() {
    flood(Form::Multicast, "two threads").await;
}

#[tokio::test]
async fn a_flood_of_unicasts_on_one_thread() {
    flood(Form::Unicast, "one thread").await;
}

#[tokio::test]
async fn a_flood_of_multicasts_on_one_thread() {
    flood(Form::Multicast, "one thread").await;
}

/// G1, G5 and G6: senders of several policies, and then calls at once. No connection is lost, the counters
/// add up, what was sent is handled, in order, and the calls succeed in time and after all that was before them.
async fn flood(form: Form, threads: &str) {
    let _alone = alone().await;
    let (mut cluster, nodes) = over_tcp(3).await;
    let configuration = cluster.configuration();
    configuration.wait_connected().await.unwrap();
    let start = Instant::now();
    let until = start + length(SECOND, 60 * SECOND);
    // A sender that lets others' messages be dropped is not among those of which all are to arrive.
    let policies = match form {
        Form::Unicast => [Overflow::Fail, Overflow::Wait, Overflow::DropNewest],
        Form::Multicast => [Overflow::Fail, Overflow::DropNewest, Overflow::DropOldest],
    };
    let senders = (1..).zip(policies).map(|(sender, policy)| {
        let sending = send(configuration.clone(), form, sender, policy, until);
        tokio::spawn(sending)
    });
    let accepted: Vec<u64> = join_all(senders).await.into_iter().map(Result::unwrap).collect();

    // The caller floods too, so that its calls find full queues.
    for number in 1..=BURST {
        let _ = configuration.multicast(&NOTE, item(4, number)).send();
    }
    let flooded: Vec<_> = configuration.iter().map(|node| node.stats().queue).collect();
    let (end, calls) = (Instant::now(), CALLS as u64);
    let refused = calls_at_once(&configuration).await;
    let took = end.elapsed();
    assert!(took < 5 * SECOND, "{calls} calls behind the flood took {took:?}");

    let (mut offered, mut sent) = (0, 0);
    for ((node, soak), flooded) in configuration.iter().zip(&nodes).zip(flooded) {
        let handled = soak.handled.lock().unwrap();
        let counts = node.stats().queue;
        assert_eq!(node.stats().connections, 1, "{node} lost its connection");
        assert_eq!(counts.queued, 0, "{counts:?}");
        // Calls that were refused by one node were withdrawn from the others.
        let messages = handled.count - handled.senders[&CALLER].count;
        assert_eq!(messages, flooded.sent + flooded.queued, "{node} has lost something: {flooded:?}");
        assert_eq!(handled.disorder, [], "sender, number, number before");
        assert_eq!(handled.after_first_call, 0, "messages were handled after a call that was behind them");
        assert!(counts.dropped > 0 && counts.failed > 0, "no flood: {counts:?}");
        if matches!(form, Form::Unicast) && node.id().get() == 1 {
            // Nothing that was taken gives way to what refuses or drops what comes later.
            assert_eq!(handled.senders[&1].count, accepted[0], "refused or lost");
            assert_eq!(handled.senders[&2].count, accepted[1], "a sender that waits has lost something");
        }
        (offered, sent) = (offered + counts.offered, sent + counts.sent);
    }
    assert_counters_add_up(&configuration);
    report(
        &format!("a flood, {form:?}, {threads}"),
        &format!(
            "{offered} messages offered, {sent} sent; {calls} calls at once behind them took {took:?}, after {refused} \
             refusals because a queue was full"
        ),
    );
    drop(configuration);
    cluster.finish().await;
}

/// Sends for a while; gives how many were taken by all nodes, as far as the sender is told.
async fn send(
    configuration: Configuration,
    form: Form,
    sender: u32,
    policy: Overflow,
    until: Instant,
) -> u64 {
    let (mut number, mut taken) = (0, 0);
    while Instant::now() < until {
        for _ in 0..BURST {
            number += 1;
            let message = item(sender, number);
            let is_taken = match (form, policy) {
                (Form::Unicast, Overflow::Wait) => {
                    let node = configuration.nodes()[0].clone();
                    within("room", node.unicast(&NOTE, message).overflow(policy)).await.is_ok()
                }
                (Form::Unicast, _) => {
                    // The other nodes get theirs from the two senders that do not wait.
                    for node in &configuration.nodes()[1..] {
                        let _ = node.unicast(&NOTE, message.clone()).overflow(policy).send();
                    }
                    configuration.nodes()[0].unicast(&NOTE, message).overflow(policy).send().is_ok()
                }
                (Form::Multicast, _) => {
                    configuration.multicast(&NOTE, message).overflow(policy).send().is_ok()
                }
            };
            taken += u64::from(is_taken);
        }
        yield_now().await;
    }
    taken
}

/// Calls on all nodes, one after the other. One that finds a queue full is told so at once, and is made again with
/// the next number. Gives how often that was.
async fn calls_at_once(configuration: &Configuration) -> u64 {
    let (mut succeeded, mut number, mut refused) = (0, 0, 0);
    while succeeded < CALLS {
        number += 1;
        match configuration.quorum_call(&CALL, item(CALLER, number)).all().await {
            Ok(reply) => {
                assert_eq!(reply.number, number);
                succeeded += 1;
            }
            Err(error) => {
                let full = error.nodes().iter().any(|node| matches!(node.kind(), NodeErrorKind::QueueFull));
                assert!(full, "a call behind the flood: {error}");
                refused += 1;
                yield_now().await;
            }
        }
    }
    refused
}
