//! Calls from a server to its clients, over the connections that they have made.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{
    COUNT, ECHO, NOTE, OnConfiguration, OnNode, SAFE, Test, Transport, faulty, number, text, within,
};
use futures_util::StreamExt;
use gorums_core::testing::Cluster;
use gorums_core::{
    Configuration, Methods, NodeErrorKind, QuorumErrorKind, Server, ServerHandle, Service, Status,
};

const SECOND: Duration = Duration::from_secs(1);

fn client(cluster: &mut Cluster, test: &Test) -> Configuration {
    let services = Server::builder().add_service(test.clone());
    cluster.configure(|builder| builder.serve_callbacks(services)).unwrap()
}

async fn clients(server: &ServerHandle, count: usize) -> Configuration {
    within("clients", server.wait_for_clients(|clients| clients.len() == count)).await.unwrap()
}

#[tokio::test]
async fn every_call_type_reaches_clients() {
    let (mut cluster, _) = faulty(Transport::Tcp, 1).await;
    let tests: Vec<_> = (1..=3).map(Test::new).collect();
    let configurations: Vec<_> = tests.iter().map(|test| client(&mut cluster, test)).collect();
    for configuration in &configurations {
        configuration.wait_connected().await.unwrap();
    }
    let server = cluster.server(1).unwrap().clone();
    let clients = clients(&server, 3).await;
    assert!(clients.node_ids().all(|id| id.get() >= 1 << 20), "{clients}");
    let reply = clients.quorum_call(&ECHO, text("x")).all().await.unwrap();
    assert_eq!(reply.text, "x");
    assert!((1..=3).contains(&reply.number), "answered by a client");
    let first = &clients.nodes()[0];
    first.rpc(&ECHO, text("x")).await.unwrap();
    first.unicast(&NOTE, number(7)).await.unwrap();
    clients.multicast(&NOTE, number(8)).await.unwrap();
    let counts: Vec<_> = clients.streaming_call(&COUNT, number(5)).send().collect().await;
    assert_eq!(counts.len(), 15);
    let error = first.rpc(&ECHO, text("fail")).await.unwrap_err();
    assert_eq!(error.status().unwrap().message(), "told to fail");
    // What the client asks meanwhile is a matter of its own.
    configurations[0].quorum_call(&ECHO, text("x")).all().await.unwrap();
    assert_eq!(tests.iter().filter(|test| test.seen.numbers.lock().unwrap().contains(&8)).count(), 3);
    let unknown = first.rpc(&common::UNKNOWN, text("x")).await.unwrap_err();
    assert_eq!(unknown.status().unwrap().code(), gorums_core::Code::Unimplemented);
    assert!(clients.extend([(7, "10.0.0.7:1")]).is_err());
    drop(clients);
    cluster.finish().await;
}

/// A handler that calls its caller back before it replies: neither waits for the other.
struct CallsBack;

impl Service for CallsBack {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        methods.two_way(&ECHO, &Arc::new(self), |_, ctx, request| async move {
            let caller = ctx.caller().ok_or_else(|| Status::failed_precondition("offers no services"))?;
            let reply = caller.rpc(&ECHO, request).await?;
            Ok(common::Text { text: reply.text, number: caller.id().get().into() })
        });
    }
}

#[tokio::test]
async fn a_handler_calls_its_caller_back() {
    let mut cluster = Cluster::over_tcp(1, |_| Server::builder().add_service(CallsBack)).await;
    let test = Test::new(1);
    let configuration = client(&mut cluster, &test);
    let node = configuration.node(1).unwrap();
    let calls: Vec<_> = (0..64).map(|call| node.rpc(&ECHO, number(call)).send()).collect();
    for call in calls {
        assert_eq!(within("call", call).await.unwrap().number, 1 << 20);
    }
    assert_eq!(*test.seen.numbers.lock().unwrap(), (0..64).collect::<Vec<_>>(), "in order");
    let plain = cluster.configuration();
    let error = plain.node(1).unwrap().rpc(&ECHO, text("x")).await.unwrap_err();
    assert_eq!(error.status().unwrap().message(), "offers no services");
    cluster.finish().await;
}

/// Offers one method of those that `Test` has.
struct OffersSafe(Test);

impl Service for OffersSafe {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        methods.two_way(&SAFE, &Arc::new(self), |service, _, request| async move {
            service.0.seen.texts.lock().unwrap().push(request.text.clone());
            Ok(request)
        });
    }
}

/// A server cannot call what a client does not offer, whatever that serves to others.
#[tokio::test]
async fn only_what_is_offered_can_be_called() {
    let (mut cluster, _) = faulty(Transport::Tcp, 1).await;
    let test = Test::new(1);
    let elsewhere = Server::builder().add_service(test.clone()).bind("127.0.0.1:0").await.unwrap();
    let handle = elsewhere.handle();
    let serving = tokio::spawn(elsewhere.serve());
    let offered = Server::builder().add_service(OffersSafe(test.clone()));
    let configuration = cluster.configure(|builder| builder.serve_callbacks(offered)).unwrap();
    configuration.wait_connected().await.unwrap();
    let server = cluster.server(1).unwrap().clone();
    let clients = clients(&server, 1).await;
    let client = &clients.nodes()[0];
    let error = client.rpc(&ECHO, text("not offered")).await.unwrap_err();
    assert_eq!(error.status().unwrap().code(), gorums_core::Code::Unimplemented);
    let replies: Vec<_> = clients.streaming_call(&COUNT, number(3)).send().collect().await;
    assert!(replies.len() == 1 && replies[0].result.is_err(), "{replies:?}");
    client.unicast(&NOTE, number(8)).await.unwrap();
    client.rpc(&SAFE, text("offered")).await.unwrap();
    assert_eq!(*test.seen.texts.lock().unwrap(), ["offered"]);
    assert!(test.seen.numbers.lock().unwrap().is_empty());
    drop(clients);
    handle.shutdown().await;
    serving.await.unwrap().unwrap();
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_is_gone_and_its_calls_end() {
    let (mut cluster, _) = faulty(Transport::Memory, 1).await;
    let test = Test::new(1);
    let configuration = client(&mut cluster, &test);
    configuration.wait_connected().await.unwrap();
    let server = cluster.server(1).unwrap().clone();
    let mut changes = server.client_changes();
    let with_client = clients(&server, 1).await;
    let hanging = with_client.quorum_call(&ECHO, text("hang")).send();
    tokio::time::sleep(SECOND).await;
    cluster.faults(1).reset();
    let replies: Vec<_> = hanging.collect().await;
    let error = replies[0].result.as_ref().unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
    let error = with_client.quorum_call(&ECHO, text("x")).all().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete, "the old node stays gone");
    // The client dials again, and is another one.
    let node = configuration.node(1).unwrap();
    node.rpc(&ECHO, text("x")).wait_for_ready(true).await.unwrap();
    let again = clients(&server, 1).await;
    assert_ne!(again, with_client);
    again.quorum_call(&ECHO, text("x")).all().await.unwrap();
    configuration.close().await;
    clients(&server, 0).await;
    let mut seen = vec![];
    while let Some(Some(change)) = futures_util::FutureExt::now_or_never(changes.next()) {
        seen.push(change.len());
    }
    assert_eq!(seen.last(), Some(&0));
    drop((with_client, again));
    cluster.finish().await;
}

/// G1 for calls back, across reconnects and with releases.
#[tokio::test]
async fn calls_back_keep_their_order() {
    let (mut cluster, _) = faulty(Transport::Tcp, 1).await;
    let test = Test::new(1);
    let configuration = client(&mut cluster, &test);
    configuration.wait_connected().await.unwrap();
    let server = cluster.server(1).unwrap().clone();
    for round in 0..20 {
        let clients = clients(&server, 1).await;
        let commands = ["", "yield", "release-sleep:1", "yield-release"];
        let calls: Vec<_> = (0..100)
            .map(|call| common::Text { text: commands[call % 4].into(), number: round * 100 + call as u64 })
            .map(|request| clients.quorum_call(&ECHO, request).send())
            .collect();
        if round % 2 == 0 {
            for mut call in calls {
                within("call", call.next()).await.unwrap().result.unwrap();
            }
        } else {
            cluster.faults(1).reset();
            for mut call in calls {
                let _ = within("call", call.next()).await;
            }
            let node = configuration.node(1).unwrap();
            within("reconnect", node.rpc(&SAFE, text("x")).wait_for_ready(true)).await.unwrap();
        }
    }
    assert!(test.seen.numbers.lock().unwrap().is_sorted());
    assert_eq!(test.seen.overlaps.load(std::sync::atomic::Ordering::SeqCst), 0);
    cluster.finish().await;
}

/// Calls its caller back when it is told to, while it keeps its turn.
struct CallsBackLater(Arc<tokio::sync::Notify>);

impl Service for CallsBackLater {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        let this = Arc::new(self);
        methods.two_way(&ECHO, &this, |this, ctx, request| async move {
            this.0.notified().await;
            let caller = ctx.caller().ok_or_else(|| Status::failed_precondition("offers no services"))?;
            Ok(caller.rpc(&ECHO, request).await?)
        });
        methods.one_way(&NOTE, &this, |_, ctx, _| async move { drop(ctx) });
    }
}

/// The requests that wait behind a handler leave room for the reply that the handler waits for.
#[tokio::test(start_paused = true)]
async fn a_full_stream_carries_replies_all_the_same() {
    let told = Arc::new(tokio::sync::Notify::new());
    let service = told.clone();
    let mut cluster =
        Cluster::in_memory(1, move |_| Server::builder().add_service(CallsBackLater(service.clone()))).await;
    let test = Test::new(1);
    let configuration = client(&mut cluster, &test);
    configuration.wait_connected().await.unwrap();
    let node = configuration.node(1).unwrap();
    let call = node.rpc(&ECHO, text("x")).timeout(10 * SECOND).send();
    let mut full = 0;
    while full < 3 {
        let bulk = common::Text { text: "x".repeat(16 << 10), number: 0 };
        full = if node.unicast(&NOTE, bulk).timeout(60 * SECOND).send().is_ok() { 0 } else { full + 1 };
        if full > 0 {
            tokio::time::sleep(SECOND / 10).await;
        }
    }
    let sent = node.stats().queue.sent;
    assert!(sent > 128, "the stream is full after {sent} messages");
    told.notify_one();
    assert_eq!(call.await.unwrap().number, 1);
    drop(configuration);
    cluster.finish().await;
}
