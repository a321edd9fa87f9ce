//! A call that ends early, by its caller or with an error, is nobody else's problem.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gorums_core::{Code, Configuration};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::common::dice::{Dice, pause};
use crate::common::talk::{BAD, PANIC, Talk, is_late, nobody_talks, talking};
use crate::common::{Transport, eventually, on_each_transport, within};

on_each_transport!(a_storm_of_cancellations, cancel_isolation, deadline_isolation, error_isolation);

/// What was cancelled is gone here and there, over the one connection that there was.
fn nothing_left(configuration: &Configuration) {
    let node = &configuration.nodes()[0];
    assert_eq!((configuration.pending(), node.pending(), node.stats().connections), (0, 0, 1));
}

/// G2, G4: half of 30 talks are cancelled at random moments within 500 us, and the others do not notice.
///
/// After `TestStress_CancelStorm`.
async fn a_storm_of_cancellations(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    let dice = Dice::new();
    let cancelled = dice.half(30);
    let (start, mut tasks) = (Arc::new(Barrier::new(30)), JoinSet::new());
    for number in 0..30_usize {
        let cancel_after = cancelled.contains(&number).then(|| Duration::from_micros(dice.number(0..500)));
        let mut talk = Talk::open(&configuration, number as u64).await;
        let start = start.clone();
        tasks.spawn(async move {
            start.wait().await;
            let echoes = async {
                for echo in 0..20 {
                    talk.echo(number as u64 * 1_000 + echo).await;
                }
            };
            match cancel_after {
                None => {
                    echoes.await;
                    talk.hang_up().await;
                }
                Some(after) => {
                    // A call that was quicker is cancelled while nothing goes on.
                    tokio::select! {
                        () = pause(after) => {}
                        () = async { echoes.await; std::future::pending().await } => {}
                    }
                    drop(talk);
                }
            }
        });
    }
    within("the storm", tasks.join_all()).await;
    nothing_left(&configuration);
    nobody_talks(&nodes[0]).await;
    assert_eq!(nodes[0].cancelled(), 15, "each cancelled talk, and no other, was told so");
    cluster.finish().await;
}

/// Three talks, of which the second is about to end.
async fn three_talks(configuration: &Configuration, second: Option<Duration>) -> [Talk; 3] {
    [
        Talk::open(configuration, 1).await,
        Talk::open_for(configuration, 2, second).await,
        Talk::open(configuration, 3).await,
    ]
}

/// G2, G8: a call that is cancelled ends at the node, and only it.
///
/// After `TestMultiplex_CancelIsolation`. A caller cancels by dropping the call, so that there is nothing to receive.
async fn cancel_isolation(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    let [mut first, second, mut third] = three_talks(&configuration, None).await;
    assert_eq!((nodes[0].open(), configuration.pending()), (3, 3));
    drop(second);
    assert_eq!(configuration.pending(), 2, "gone at once");
    first.echo(10).await;
    third.echo(30).await;
    eventually("the handler is told", || nodes[0].cancelled() == 1 && nodes[0].open() == 2).await;
    first.echo(11).await;
    third.echo(31).await;
    first.hang_up().await;
    third.hang_up().await;
    nothing_left(&configuration);
    nobody_talks(&nodes[0]).await;
    assert_eq!(nodes[0].cancelled(), 1);
    cluster.finish().await;
}

/// G2, G3: the same for a call whose deadline passes, which its caller sees.
///
/// After `TestMultiplex_CancelIsolation`.
async fn deadline_isolation(transport: Transport) {
    const LIMIT: Duration = Duration::from_millis(250);
    let (mut cluster, nodes) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    let start = Instant::now();
    let [mut first, second, mut third] = three_talks(&configuration, Some(LIMIT)).await;
    first.echo(10).await;
    let error = second.error().await;
    assert!(is_late(&error), "{error}");
    assert!(start.elapsed() >= LIMIT, "{:?}", start.elapsed());
    first.echo(11).await;
    third.echo(30).await;
    eventually("the handler is told", || nodes[0].cancelled() == 1 && nodes[0].open() == 2).await;
    first.hang_up().await;
    third.hang_up().await;
    nothing_left(&configuration);
    nobody_talks(&nodes[0]).await;
    cluster.finish().await;
}

/// G2: a handler that fails or panics ends its own call, with the status that it gave, and no other.
///
/// After `TestMultiplex_ErrorIsolation`.
async fn error_isolation(transport: Transport) {
    let (mut cluster, nodes) = talking(transport, 1).await;
    let configuration = cluster.configuration();
    let [bad, panics, mut good] = three_talks(&configuration, None).await;
    bad.say(BAD).unwrap();
    panics.say(PANIC).unwrap();
    good.say(42).unwrap();
    for (talk, code, message) in [
        (bad, Code::InvalidArgument, "bad input"),
        (panics, Code::Internal, "the handler of test.Talk.Open panicked"),
    ] {
        let error = talk.error().await;
        let status = error.status().unwrap_or_else(|| panic!("no status: {error}"));
        assert_eq!((status.code(), status.message()), (code, message));
    }
    good.hear(42).await.unwrap();
    good.echo(100).await;
    good.hang_up().await;
    nothing_left(&configuration);
    nobody_talks(&nodes[0]).await;
    cluster.finish().await;
}
