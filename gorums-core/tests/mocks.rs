//! Fake nodes: what they are told, what they answer, and what they remember. Nothing here takes time.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{COUNT, ECHO, NOTE, OnConfiguration, OnNode, Text, number, text};
use futures_util::StreamExt;
use gorums_core::testing::{Held, MockMethod, MockNodes, MockOneWay, MockStream, Traffic};
use gorums_core::{Code, Methods, NodeErrorKind, QuorumErrorKind, Service, Status};
use tokio::time::Instant;

/// As it is generated.
#[derive(Clone, Debug)]
struct TestMock {
    echo: MockMethod<Text, Text>,
    note: MockOneWay<Text>,
    count: MockStream<Text, Text>,
}

impl Default for TestMock {
    fn default() -> Self {
        Self { echo: MockMethod::new(&ECHO), note: MockOneWay::new(&NOTE), count: MockStream::new(&COUNT) }
    }
}

impl Service for TestMock {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        self.echo.register(methods);
        self.note.register(methods);
        self.count.register(methods);
    }
}

fn nodes(size: u32) -> MockNodes<TestMock> {
    MockNodes::new(size)
}

#[tokio::test(start_paused = true)]
async fn they_answer_unimplemented_until_they_are_told() {
    let (start, nodes) = (Instant::now(), nodes(3));
    let error = nodes.configuration().quorum_call(&ECHO, text("x")).all().await.unwrap_err();
    let status = error.nodes().iter().find_map(|error| error.status()).unwrap();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "the mock of test.Test.Echo was not told what to answer");
    let mut updates = nodes.configuration().streaming_call(&COUNT, text("x")).send();
    let error = updates.next().await.unwrap().result.unwrap_err();
    assert_eq!(error.status().unwrap().code(), Code::Unimplemented);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn they_answer_as_they_are_told() {
    let nodes = nodes(3);
    let configuration = nodes.configuration();
    nodes[0].echo.replies(number(1));
    nodes[1].echo.answers(|request| Ok(number(request.number * 2)));
    nodes.node(3).echo.fails(Status::aborted("no")).in_turn([Ok(number(30)), Err(Status::not_found("gone"))]);
    let mut seen = Vec::new();
    for round in 1..=4 {
        let replies = configuration.quorum_call(&ECHO, number(round)).send();
        let mut results: Vec<_> = replies
            .map(|reply| {
                (reply.node.get(), reply.result.map_err(|e| e.status().map(Status::code)).map(|r| r.number))
            })
            .collect()
            .await;
        results.sort_by_key(|(node, _)| *node);
        seen.push(results);
    }
    let third = [Ok(30), Err(Some(Code::NotFound)), Err(Some(Code::Aborted)), Err(Some(Code::Aborted))];
    for (round, (results, third)) in (1..).zip(seen.into_iter().zip(third)) {
        assert_eq!(results, [(1, Ok(1)), (2, Ok(round * 2)), (3, third)]);
    }
    for mock in &nodes {
        assert_eq!(mock.echo.calls(), 4);
        assert_eq!(mock.echo.requests(), [1, 2, 3, 4].map(number));
    }
    // What was told last counts, and a closure may look at what was asked.
    let mock = nodes[0].clone();
    nodes[0].echo.answers(move |_| Ok(number(mock.echo.calls() as u64)));
    assert_eq!(configuration.nodes()[0].rpc(&ECHO, text("x")).await.unwrap(), number(5));
}

#[tokio::test(start_paused = true)]
async fn a_method_that_hangs_holds_nothing_else_up() {
    let nodes = nodes(3);
    let (start, configuration) = (Instant::now(), nodes.configuration());
    nodes[0].echo.replies(number(1));
    nodes[1].echo.hangs();
    let held = nodes[2].echo.hold();
    nodes[2].echo.replies(number(3));
    let error = configuration.quorum_call(&ECHO, text("x")).majority().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    // The next request is not behind those that wait.
    let all: Vec<_> =
        configuration.quorum_call(&ECHO, text("y")).timeout(Duration::from_secs(1)).send().collect().await;
    let ok: Vec<_> = all.iter().filter(|reply| reply.result.is_ok()).map(|reply| reply.node.get()).collect();
    assert!(ok == [1, 3] || ok == [3, 1], "{ok:?}");
    assert_eq!(nodes[1].echo.requests(), [text("x"), text("y")]);
    held.release(Ok(number(3)));
}

/// Whatever order they are released in is the order in which the replies come.
#[tokio::test(start_paused = true)]
async fn replies_come_in_the_order_in_which_they_are_released() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let nodes = nodes(3);
        let configuration = nodes.configuration();
        for released_before in [false, true] {
            let mut held: Vec<_> = nodes.iter().map(|mock| Some(mock.echo.hold())).collect();
            let replies = configuration.quorum_call(&ECHO, text("x")).send();
            for held in held.iter_mut().flatten() {
                if released_before {
                    assert_eq!(held.request().await, text("x"));
                }
            }
            for node in order {
                let held: Held<_, _> = held[node].take().unwrap();
                held.release(Ok(number(node as u64)));
                if !released_before {
                    // Nothing is known of when the request comes.
                    nodes[node].echo.received(1).await;
                }
            }
            let come: Vec<_> = replies.map(|reply| reply.result.unwrap().number as usize).collect().await;
            if released_before {
                assert_eq!(come, order);
            } else {
                assert_eq!(come.len(), 3);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_hold_is_dropped_fails() {
    let nodes = nodes(1);
    drop(nodes[0].echo.hold());
    let error = nodes.configuration().nodes()[0].rpc(&ECHO, text("x")).await.unwrap_err();
    assert_eq!(error.status().unwrap().message(), "the test has dropped what held this call");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_is_over_for_the_mock_as_well() {
    let nodes = nodes(1);
    let mut held = nodes[0].echo.hold();
    let call = nodes.configuration().nodes()[0].rpc(&ECHO, text("x")).send();
    assert_eq!(held.request().await, text("x"));
    drop(call);
    common::within("the end of the call at the node", held.given_up()).await;
    held.release(Ok(number(1)));
}

#[tokio::test(start_paused = true)]
async fn one_way_calls_are_remembered_and_can_be_waited_for() {
    let nodes = nodes(3);
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    nodes[1].note.does(move |note| sender.send(note.number).unwrap());
    for sent in 1..=3 {
        nodes.configuration().multicast(&NOTE, number(sent)).send().unwrap();
    }
    for mock in &nodes {
        mock.note.received(3).await;
        assert_eq!(mock.note.requests(), [1, 2, 3].map(number));
        assert_eq!(mock.note.calls(), 3);
    }
    assert_eq!([done.recv().await, done.recv().await, done.recv().await], [Some(1), Some(2), Some(3)]);
}

#[tokio::test(start_paused = true)]
async fn streams_reply_as_they_are_told() {
    let nodes = nodes(3);
    let configuration = nodes.configuration();
    nodes[0].count.replies([number(1), number(2)]);
    nodes[1].count.answers(|request| Ok(vec![request])).in_turn([Err(Status::aborted("first"))]);
    let held = nodes[2].count.hold();
    nodes[2].count.fails(Status::data_loss("second"));
    let mut updates = configuration.streaming_call(&COUNT, number(9)).send();
    let mut come = Vec::new();
    for _ in 0..3 {
        come.push(updates.next().await.unwrap());
    }
    let of = |node, come: &[gorums_core::NodeReply<Text>]| -> Vec<_> {
        let of_node = come.iter().filter(|reply| reply.node.get() == node);
        of_node
            .map(|reply| reply.result.as_ref().map(|r| r.number).map_err(|e| e.status().unwrap().code()))
            .collect()
    };
    assert_eq!(of(1, &come), [Ok(1), Ok(2)]);
    assert_eq!(of(2, &come), [Err(Code::Aborted)]);
    held.send(number(30));
    assert_eq!(updates.next().await.unwrap().result.unwrap(), number(30));
    held.send(number(31));
    held.end();
    assert_eq!(updates.next().await.unwrap().result.unwrap(), number(31));
    assert!(updates.next().await.is_none());
    let again: Vec<_> = configuration.streaming_call(&COUNT, number(9)).send().collect().await;
    assert_eq!(of(1, &again), [Ok(1), Ok(2)]);
    assert_eq!(of(2, &again), [Ok(9)]);
    assert_eq!(of(3, &again), [Err(Code::DataLoss)]);
    // A stream that hangs has no end; one whose hold is dropped or failed has a bad one.
    nodes[0].count.hangs();
    drop(nodes[1].count.hold());
    let failed = nodes[2].count.hold();
    failed.send(number(1));
    failed.fail(Status::out_of_range("late"));
    let call = configuration.streaming_call(&COUNT, number(9)).timeout(Duration::from_secs(1));
    let last: Vec<_> = call.send().collect().await;
    assert_eq!(of(2, &last), [Err(Code::Cancelled)]);
    assert_eq!(of(3, &last), [Ok(1), Err(Code::OutOfRange)]);
    let hung = last.iter().find(|reply| reply.node.get() == 1).unwrap().result.as_ref().unwrap_err();
    assert!(matches!(hung.kind(), NodeErrorKind::DeadlineExceeded), "{hung}");
    assert_eq!(nodes[0].count.requests(), vec![number(9); 3]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_stopped_is_unavailable_until_it_is_started() {
    let nodes = nodes(3);
    let configuration = nodes.configuration();
    let other = nodes.configure(|builder| builder.timeout(Duration::from_secs(1))).unwrap();
    for mock in &nodes {
        mock.echo.replies(number(1));
    }
    configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
    other.quorum_call(&ECHO, text("x")).all().await.unwrap();
    for _ in 0..3 {
        nodes.stop(2).await;
        nodes.stop(2).await;
        for configuration in [&configuration, &other] {
            let error = configuration.quorum_call(&ECHO, text("x")).all().await.unwrap_err();
            let of_node = error.nodes().iter().find(|error| error.node() == 2).unwrap();
            assert!(matches!(of_node.kind(), NodeErrorKind::Unavailable), "{of_node}");
            assert!(!of_node.is_ambiguous());
            configuration.quorum_call(&ECHO, text("x")).majority().await.unwrap();
        }
        nodes.start(2).await;
        nodes.start(2).await;
        configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
        other.quorum_call(&ECHO, text("x")).all().await.unwrap();
    }
    // It remembers what it was asked before.
    assert_eq!(nodes[1].echo.calls(), 8);
    // A node that nobody has called as yet can be stopped as well.
    let fresh = self::nodes(1);
    fresh.stop(1).await;
    let error = fresh.configuration().nodes()[0].rpc(&ECHO, text("x")).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_was_in_flight_when_a_node_stopped_is_lost() {
    let nodes = nodes(1);
    let mut held = nodes[0].echo.hold();
    let call = nodes.configuration().nodes()[0].rpc(&ECHO, text("x")).send();
    held.request().await;
    nodes.stop(1).await;
    let error = call.await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
    assert!(error.is_ambiguous());
}

#[tokio::test(start_paused = true)]
async fn links_have_faults() {
    let nodes = nodes(1);
    nodes[0].echo.replies(number(1));
    nodes.faults(1).set_both(Traffic::Hold);
    let node = nodes.configuration().nodes()[0].clone();
    let error = node.rpc(&ECHO, text("x")).timeout(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::DeadlineExceeded | NodeErrorKind::Unavailable), "{error}");
    assert_eq!(nodes[0].echo.calls(), 0);
}

/// The nodes end with the value, whatever else is held.
#[tokio::test(start_paused = true)]
async fn dropping_them_ends_them() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let nodes = nodes(3);
    nodes[0].echo.hangs();
    let call = nodes.configuration().quorum_call(&ECHO, text("x")).send();
    nodes[0].echo.received(1).await;
    drop((nodes, call));
    common::eventually("the end of all tasks", || {
        tokio::runtime::Handle::current().metrics().num_alive_tasks() == before
    })
    .await;
}
