//! What callers do to each other: nothing.
#![allow(clippy::unwrap_used)]

mod common;

use common::{MS, SECOND, metric};
use gorums::testing::Traffic;
use raft::proto::{GetRequest, Put};
use raft::testing::Cluster;
use raft::{Consistency, Error, Write};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

fn put(key: String) -> Write {
    Write::new(Put { key: key.into(), value: "v".into() })
}

/// Ten writes share an entry; one of them is given up while it is on its way.
#[tokio::test(start_paused = true)]
async fn one_of_a_batch_is_cancelled_and_the_others_are_not() {
    let cluster = Cluster::builder(3).start().await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader).clone();
    node.write(put("before".into()), None).await.unwrap();
    let others: Vec<_> = (1..=3).filter(|other| *other != leader).collect();
    for other in &others {
        cluster.links().link(leader, *other).unwrap().set_both(Traffic::Hold);
    }
    let before = node.status().last_index;
    let mut writes = Vec::new();
    for number in 0..10 {
        let node = node.clone();
        writes.push(tokio::spawn(async move { node.write(put(format!("k{number}")), None).await }));
    }
    let proposed = async {
        while node.status().last_index == before {
            sleep(MS).await;
        }
    };
    timeout(SECOND, proposed).await.unwrap();
    assert_eq!(node.status().last_index, before + 1, "one entry for all of them");
    let begun = Instant::now();
    writes[3].abort();
    assert!((&mut writes[3]).await.unwrap_err().is_cancelled());
    assert!(begun.elapsed() <= MS);
    assert_eq!(node.waiting(), 9);
    assert!(writes.iter().enumerate().all(|(number, write)| number == 3 || !write.is_finished()));

    for other in &others {
        cluster.links().link(leader, *other).unwrap().set_both(Traffic::Forward);
    }
    let mut revisions = Vec::new();
    for (number, write) in writes.into_iter().enumerate() {
        if number != 3 {
            revisions.push(write.await.unwrap().unwrap().revision);
        }
    }
    // Each takes effect once, in order, also the one that was given up.
    assert_eq!(revisions, [2, 3, 4, 6, 7, 8, 9, 10, 11]);
    assert_eq!(node.status().last_index, before + 1);
    for other in others {
        cluster.caught_up(other).await;
        let key =
            GetRequest { key: "k3".into(), consistency: Consistency::Stale.into(), ..GetRequest::default() };
        assert_eq!(cluster.node(other).get(key, None).await.unwrap().revision, 5);
    }
    cluster.finish().await;
}

/// A write that the leader has put into its log before it vanishes may take effect, although the attempts after it say that
/// nobody leads.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_attempt_may_have_done_is_not_forgotten() {
    let mut cluster = Cluster::builder(3).start().await;
    let leader = cluster.leader().await;
    let [asked, third]: [_; 2] =
        (1..=3).filter(|other| *other != leader).collect::<Vec<_>>().try_into().unwrap();
    // The leader cannot commit, and without it nobody is elected.
    for (from, to) in [(leader, asked), (leader, third), (asked, third), (third, asked)] {
        cluster.links().link(from, to).unwrap().set_both(Traffic::Hold);
    }
    let (node, first) = (cluster.node(asked).clone(), cluster.node(leader).clone());
    let before = first.status().last_index;
    let deadline = Instant::now() + 3 * SECOND;
    let write = tokio::spawn(async move { node.write(put("k".into()), Some(deadline)).await });
    let proposed = async {
        while first.status().last_index == before {
            sleep(MS).await;
        }
    };
    timeout(SECOND, proposed).await.unwrap();
    drop(first);
    cluster.kill(leader).await;
    let error = write.await.unwrap().unwrap_err();
    assert!(Instant::now() + 100 * MS >= deadline, "it was tried again until the deadline");
    assert!(matches!(error, Error::OutcomeUnknown), "{error:?}");
    for (from, to) in [(asked, third), (third, asked)] {
        cluster.links().link(from, to).unwrap().set_both(Traffic::Forward);
    }
    cluster.finish().await;
}

/// A read that shares a round with others and is given up.
#[tokio::test(start_paused = true)]
async fn one_read_of_a_round_is_cancelled_and_the_others_are_not() {
    let cluster = Cluster::builder(3).start().await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader).clone();
    let set = |traffic| {
        for other in (1..=3).filter(|other| *other != leader) {
            cluster.links().link(leader, other).unwrap().set_both(traffic);
        }
    };
    set(Traffic::Hold);
    let mut reads: Vec<_> = (0..10)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move { node.linearize(Consistency::Linearizable, None).await })
        })
        .collect();
    sleep(10 * MS).await;
    reads.remove(4).abort();
    set(Traffic::Forward);
    for read in reads {
        timeout(SECOND, read).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(metric(&node, "raft_waiting_reads"), 0);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn more_calls_than_are_admitted_are_refused_at_once() {
    let cluster = Cluster::builder(3)
        .options(|mut options| {
            options.max_calls = 10;
            options.election_timeout = 20 * SECOND;
            options
        })
        .start()
        .await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader).clone();
    for other in (1..=3).filter(|other| *other != leader) {
        cluster.links().link(leader, other).unwrap().set_both(Traffic::Hold);
    }
    let mut writes = JoinSet::new();
    for number in 0..25 {
        let node = node.clone();
        writes.spawn(async move {
            let begun = Instant::now();
            (node.write(put(format!("k{number}")), None).await, begun.elapsed())
        });
    }
    let (mut refused, mut late) = (0, 0);
    while let Some(ended) = writes.join_next().await {
        let (result, took) = ended.unwrap();
        match result.unwrap_err() {
            Error::Overloaded => {
                refused += 1;
                assert!(took <= MS, "{took:?}");
            }
            Error::OutcomeUnknown => {
                late += 1;
                assert!((5 * SECOND..5 * SECOND + 200 * MS).contains(&took), "{took:?}");
            }
            error => panic!("{error}"),
        }
    }
    assert_eq!((refused, late), (15, 10));
    assert_eq!(metric(&node, "raft_overloaded_total"), 15);
    cluster.finish().await;
}

/// 1,000 writers at a follower whose leader is dead, for as long as nobody else is elected.
#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_called_a_few_times_and_then_once_per_step_of_the_pause() {
    const WRITERS: u64 = 1_000;
    let mut cluster = Cluster::builder(3)
        .options(|mut options| {
            options.election_timeout = 60 * SECOND;
            options
        })
        .start()
        .await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let node = cluster.node(follower).clone();
    node.write(put("k".into()), None).await.unwrap();
    let made_before = metric(&node, "raft_forwards_total");
    cluster.kill(leader).await;

    let mut writers = JoinSet::new();
    let mut opened = None;
    for number in 0..WRITERS {
        let writer = node.clone();
        writers.spawn(async move {
            let begun = Instant::now();
            (writer.write(put(format!("k{number}")), None).await, begun.elapsed())
        });
        sleep(MS).await;
        if opened.is_none() && metric(&node, "raft_circuit_open") == 1 {
            opened = Some((number + 1, metric(&node, "raft_forwards_failed_total")));
        }
    }
    let (in_flight, failed_then) = opened.unwrap();
    while let Some(ended) = writers.join_next().await {
        let (result, took) = ended.unwrap();
        let error = result.unwrap_err();
        assert!(
            matches!(error, Error::Unreachable { .. } | Error::OutcomeUnknown | Error::Call(_)),
            "{error:?}"
        );
        assert!(took <= 5 * SECOND + 200 * MS, "{took:?}");
    }
    let failed = metric(&node, "raft_forwards_failed_total");
    let made = metric(&node, "raft_forwards_total") - made_before;
    assert!(failed_then <= 3 + in_flight, "{failed_then} failed before it opened, {in_flight} in flight");
    assert!(in_flight < WRITERS / 4, "{in_flight}");
    // In the 6 s, there are probes after 0.1, 0.3, 0.7, 1.5, 3.1 and 5.1 s.
    let probes = failed - failed_then;
    assert!((5..=6).contains(&probes), "{probes} calls after it had opened");
    assert_eq!(made, failed);
    assert_eq!(metric(&node, "raft_circuit_open"), 1);

    cluster.start(leader).await;
    // It has to be elected again, which takes up to two election timeouts.
    let written = async {
        while cluster.node(follower).write(put("after".into()), None).await.is_err() {
            sleep(SECOND).await;
        }
    };
    timeout(200 * SECOND, written).await.unwrap();
    assert_eq!(metric(&node, "raft_circuit_open"), 0);
    cluster.finish().await;
}
