//! A staged call comes to the same end as the plain one, whatever the nodes do.

use std::time::Duration;

use gorums_core::{QuorumError, QuorumErrorKind, ReplySet, Stage};
use proptest::prelude::*;
use tokio::time::sleep;

use crate::cluster::{Does, MS, Nodes};

#[derive(Clone, Copy, Debug)]
enum Terminal {
    First,
    Majority,
    All,
    Threshold(usize),
    /// Of that many successes.
    Function(usize),
}

fn does() -> impl Strategy<Value = Does> {
    let some_ms = (0..30_u32).prop_map(|ms| ms * MS);
    prop_oneof![
        4 => some_ms.clone().prop_map(Does::Reply),
        2 => some_ms.prop_map(Does::Fail),
        1 => Just(Does::Hang),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    let delay = prop_oneof![
        (0..60_u32).prop_map(|ms| Stage::after(ms * MS)),
        Just(Stage::after(Duration::MAX)),
        Just(Stage::adaptive()),
    ];
    (delay, prop::option::of(0..7_usize)).prop_map(|(stage, size)| match size {
        Some(size) => stage.size(size),
        None => stage,
    })
}

fn terminal() -> impl Strategy<Value = Terminal> {
    prop_oneof![
        Just(Terminal::First),
        Just(Terminal::Majority),
        Just(Terminal::All),
        (0..7_usize).prop_map(Terminal::Threshold),
        (1..6_usize).prop_map(Terminal::Function),
    ]
}

fn function(count: usize) -> impl FnMut(&mut ReplySet<u64>) -> Option<u64> {
    move |replies| (replies.success_count() >= count).then_some(0)
}

async fn plain(nodes: &Nodes, terminal: Terminal) -> Result<u64, QuorumError> {
    let call = nodes.call();
    match terminal {
        Terminal::First => call.first().await,
        Terminal::Majority => call.majority().await,
        Terminal::All => call.all().await,
        Terminal::Threshold(replies) => call.threshold(replies).await,
        Terminal::Function(count) => call.quorum(function(count)).await,
    }
}

async fn staged(nodes: &Nodes, stage: Stage, terminal: Terminal) -> Result<u64, QuorumError> {
    let call = nodes.call().staged(stage);
    match terminal {
        Terminal::First => call.first().await,
        Terminal::Majority => call.majority().await,
        Terminal::All => call.all().await,
        Terminal::Threshold(replies) => call.threshold(replies).await,
        Terminal::Function(count) => call.quorum(function(count)).await,
    }
}

/// Success, or the kind of the failure. Every node is accounted for.
fn class(result: Result<u64, QuorumError>, size: usize) -> Option<QuorumErrorKind> {
    let error = result.err()?;
    assert_eq!(error.nodes().len() + error.replies(), size, "{error}");
    Some(error.kind())
}

proptest! {
    #[test]
    fn staged_and_plain_calls_have_the_same_outcome(
        course in prop::collection::vec(does(), 1..7),
        calls in prop::collection::vec((stage(), terminal()), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let nodes = Nodes::unmeasured(course.len() as u32).await;
            course.iter().enumerate().for_each(|(index, does)| nodes.set(index + 1, *does));
            for (stage, terminal) in calls {
                let size = course.len();
                let expected = class(plain(&nodes, terminal).await, size);
                nodes.assert_idle();
                let got = class(staged(&nodes, stage, terminal).await, size);
                nodes.assert_idle();
                assert_eq!(got, expected, "{stage:?} {terminal:?}");
            }
            sleep(1_000 * MS).await;
            nodes.finish().await;
        });
    }
}
