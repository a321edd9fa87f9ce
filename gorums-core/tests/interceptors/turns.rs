//! G1 and G2 with interceptors that wait: whom they hold up, and whom they do not.

use std::sync::Arc;
use std::time::Duration;

use gorums_core::{Configuration, Next, ServerCall};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::common::{ECHO, NOTE, OnConfiguration, OnNode, Text, number};
use crate::one_server;

const SECOND: Duration = Duration::from_secs(1);

async fn finish(mut cluster: gorums_core::testing::Cluster, configurations: Vec<Configuration>) {
    drop(configurations);
    cluster.configuration().close().await;
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_keeps_the_order_of_its_sender_and_holds_up_no_other() {
    let (mut cluster, test) = one_server(|server| {
        server.interceptor(async |call: ServerCall, next: Next| {
            let Text { number, text } = call.message()?;
            // The earlier, the longer.
            if text == "wait" {
                tokio::time::sleep(Duration::from_millis(100 - number)).await;
            }
            next.run(call).await
        })
    })
    .await;
    let (slow, other) = (cluster.configuration(), cluster.configuration());
    slow.wait_connected().await.unwrap();
    other.wait_connected().await.unwrap();
    let request = |number| Text { text: "wait".into(), number };
    let start = Instant::now();
    let calls: Vec<_> = (0..10).map(|n| slow.quorum_call(&ECHO, request(n)).send()).collect();
    slow.multicast(&NOTE, request(10)).send().unwrap();
    // They would take a second together.
    other.nodes()[0].rpc(&ECHO, number(99)).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(50), "{:?}", start.elapsed());
    for call in calls {
        call.all().await.unwrap();
    }
    slow.nodes()[0].rpc(&ECHO, number(11)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900), "in turn: {:?}", start.elapsed());
    let mut seen = test.seen.numbers.lock().unwrap().clone();
    assert_eq!(seen.remove(0), 99);
    assert_eq!(seen, (0..=11).collect::<Vec<_>>());
    finish(cluster, vec![slow, other]).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_releases_lets_the_next_request_start() {
    let (mut cluster, _) = one_server(|server| {
        server.interceptor(async |call: ServerCall, next: Next| {
            call.context().release();
            tokio::time::sleep(SECOND).await;
            next.run(call).await
        })
    })
    .await;
    let configuration = cluster.configuration();
    let start = Instant::now();
    let calls: Vec<_> = (0..10).map(|n| configuration.quorum_call(&ECHO, number(n)).send()).collect();
    for call in calls {
        call.all().await.unwrap();
    }
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    finish(cluster, vec![configuration]).await;
}

/// The turn ends with the chain, not with the handler, unless it is released before.
#[tokio::test(start_paused = true)]
async fn what_comes_after_the_handler_is_in_turn_too() {
    for releases in [false, true] {
        let go_on = Arc::new(Notify::new());
        let waiting = go_on.clone();
        let (mut cluster, test) = one_server(move |server| {
            let waiting = waiting.clone();
            server.interceptor(move |call: ServerCall, next: Next| {
                let waiting = waiting.clone();
                async move {
                    let (turn, first) = (call.turn(), call.message::<Text>()?.number == 1);
                    let result = next.run(call).await;
                    if first && releases {
                        turn.release();
                    }
                    if first {
                        waiting.notified().await;
                    }
                    result
                }
            })
        })
        .await;
        let configuration = cluster.configuration();
        let first = configuration.quorum_call(&ECHO, number(1)).send();
        let second = configuration.quorum_call(&ECHO, number(2)).send();
        tokio::time::sleep(SECOND).await;
        let started: &[u64] = if releases { &[1, 2] } else { &[1] };
        assert_eq!(*test.seen.numbers.lock().unwrap(), started);
        go_on.notify_one();
        first.all().await.unwrap();
        second.all().await.unwrap();
        finish(cluster, vec![configuration]).await;
    }
}
