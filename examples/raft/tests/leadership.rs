//! A leader that is cut off: when it notices, what its routines do, and what its callers see.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{MS, SECOND, metric};
use gorums::testing::Traffic;
use gorums::{Next, ServerCall};
use raft::proto::{GetRequest, Put};
use raft::testing::Cluster;
use raft::{Consistency, Error, Leadership, Write};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

fn get(key: &'static str) -> GetRequest {
    GetRequest { key: key.into(), consistency: Consistency::Linearizable.into(), ..GetRequest::default() }
}

/// Tells what becomes of a routine, also when it is dropped.
struct Alive(&'static str, mpsc::UnboundedSender<(Instant, &'static str)>);

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.1.send((Instant::now(), self.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_followers_says_so_and_ends_its_routines_in_time() {
    let cluster = Cluster::builder(3).start().await;
    let leader = cluster.leader().await;
    let (told, mut events) = mpsc::unbounded_channel();
    for node in cluster.nodes() {
        let told = told.clone();
        node.on_leadership("test", move |context| {
            let told = told.clone();
            async move {
                assert!(context.is_current());
                let _ = told.send((Instant::now(), "begun"));
                let _alive = Alive("ended", told);
                std::future::pending::<()>().await;
            }
        });
    }
    assert_eq!(events.recv().await.unwrap().1, "begun");
    sleep(5 * SECOND).await;
    assert!(events.is_empty(), "a routine runs while its node leads");

    let cut = Instant::now();
    for other in (1..=3).filter(|other| *other != leader) {
        cluster.links().set_around(other, Traffic::Drop);
    }
    let mut leadership = cluster.node(leader).leadership();
    let lost = timeout(10 * SECOND, leadership.wait_for(|now| !now.is_leading()));
    let now = lost.await.expect("the loss is noticed").unwrap().clone();
    let noticed = cut.elapsed();
    assert!(matches!(now, Leadership::Unconfirmed { .. }), "{now:?}");
    // The last acknowledgement is up to a heartbeat and the way back old.
    assert!((800 * MS..=2 * SECOND).contains(&noticed), "{noticed:?}");
    let (at, what) = timeout(10 * SECOND, events.recv()).await.expect("the routine ends").unwrap();
    assert_eq!(what, "ended");
    assert!((800 * MS..=2 * SECOND).contains(&(at - cut)), "{:?}", at - cut);
    assert!(!cluster.node(leader).is_ready());

    for id in 1..=3 {
        cluster.links().set_around(id, Traffic::Forward);
    }
    let next = timeout(10 * SECOND, events.recv()).await.unwrap().unwrap();
    assert_eq!(next.1, "begun", "somebody leads again");
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_routine_that_panics_is_started_again() {
    let cluster = Cluster::builder(1).start().await;
    let (told, mut events) = mpsc::unbounded_channel();
    cluster.node(1).on_leadership("clumsy", move |_| {
        let told = told.clone();
        async move {
            let _ = told.send(Instant::now());
            panic!("as the test wants it");
        }
    });
    let first = events.recv().await.unwrap();
    let pauses = [events.recv().await.unwrap() - first, events.recv().await.unwrap() - first];
    assert!(pauses[0] >= 100 * MS && pauses[1] >= 300 * MS, "{pauses:?}");
    cluster.finish().await;
}

/// 200 gets a second that have no deadline, while nobody can confirm the leader.
#[tokio::test(start_paused = true)]
async fn gets_that_nobody_can_confirm_end_after_five_seconds_and_leave_nothing() {
    const RATE: u32 = 200;
    const LIMIT: Duration = Duration::from_secs(5);
    let cluster = Cluster::builder(3).start().await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader).clone();
    node.write(Write::new(Put { key: "k".into(), value: "v".into() }), None).await.unwrap();
    for other in (1..=3).filter(|other| *other != leader) {
        cluster.links().set_around(other, Traffic::Drop);
    }
    node.leadership().wait_for(|now| !now.is_leading()).await.unwrap();

    let mut gets = JoinSet::new();
    let mut ticks = interval(SECOND / RATE);
    let mut most = 0;
    for _ in 0..30 * RATE {
        ticks.tick().await;
        let caller = node.clone();
        gets.spawn(async move {
            let begun = Instant::now();
            (caller.get(get("k"), None).await, begun.elapsed())
        });
        most = most.max(node.waiting());
    }
    while let Some(ended) = gets.join_next().await {
        let (result, took) = ended.unwrap();
        assert!(matches!(result, Err(Error::Unconfirmed)), "{result:?}");
        assert!((LIMIT..LIMIT + 200 * MS).contains(&took), "{took:?}");
    }
    let bound = RATE as usize * LIMIT.as_secs() as usize * 11 / 10;
    assert!((RATE as usize * 4..=bound).contains(&most), "{most} calls waited at once");

    for id in 1..=3 {
        cluster.links().set_around(id, Traffic::Forward);
    }
    sleep(5 * SECOND).await;
    assert_eq!(node.waiting(), 0);
    assert_eq!([metric(&node, "raft_waiting_reads"), metric(&node, "raft_queued_writes")], [0, 0]);
    assert!(node.is_ready(), "{:?}", node.status());
    cluster.client().get("k", Consistency::Linearizable).await.unwrap();
    cluster.finish().await;
}

/// Calls to a follower, which forwards them to a leader that nobody confirms.
#[tokio::test(start_paused = true)]
async fn deadlines_hold_behind_a_forward_and_are_seen_there() {
    let seen: Arc<Mutex<Vec<(u32, Duration)>>> = Arc::default();
    let noted = seen.clone();
    let cluster = Cluster::builder(3)
        .options(|mut options| {
            // Nobody else is elected meanwhile.
            options.election_timeout = 20 * SECOND;
            options
        })
        .server(move |id, server| {
            let noted = noted.clone();
            server.interceptor(move |call: ServerCall, next: Next| {
                if call.method() == "raft.Kv.Get" {
                    let left = call.context().remaining().unwrap();
                    noted.lock().unwrap().push((id, left));
                }
                next.run(call)
            })
        })
        .start()
        .await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    cluster.caught_up(follower).await;
    for other in (1..=3).filter(|other| *other != leader) {
        // The leader's own calls get no answer; calls to it do.
        cluster.links().link(leader, other).unwrap().set_both(Traffic::Drop);
    }
    let node = cluster.node(follower);
    for deadline in [SECOND, 2 * SECOND] {
        let nearly = deadline.checked_sub(200 * MS).unwrap();
        seen.lock().unwrap().clear();
        let begun = Instant::now();
        let error = node.get(get("k"), Some(begun + deadline)).await.unwrap_err();
        let took = begun.elapsed();
        assert!((nearly..=deadline + 200 * MS).contains(&took), "{took:?} of {deadline:?}: {error}");
        assert!(matches!(error, Error::Unconfirmed), "{error:?}");
        let seen = seen.lock().unwrap();
        assert!(
            matches!(seen[..], [(at, left)] if at == leader && left <= deadline && left > nearly),
            "{seen:?}"
        );
    }
    // Let go, it answers.
    for other in 1..=3 {
        cluster.links().set_around(other, Traffic::Forward);
    }
    node.get(get("k"), None).await.unwrap();
    cluster.finish().await;
}
