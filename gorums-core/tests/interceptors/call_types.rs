//! Interceptors around every call type, and on every way to a handler.

use futures_util::StreamExt;
use gorums_core::testing::Cluster;
use gorums_core::{Code, Configuration, Next, Server, ServerBuilder, ServerCall, Status};

use crate::common::{
    COUNT, ECHO, NOTE, OnConfiguration, OnNode, Test, Text, eventually, number, text, within,
};
use crate::{Log, noting, one_server, taken};

fn intercepted(log: &Log) -> ServerBuilder {
    Server::builder().interceptor(noting(log)).interceptor(async |call: ServerCall, next: Next| {
        match call.message::<Text>()?.text.as_str() {
            "refuse" => Err(Status::permission_denied("refused")),
            _ => next.run(call).await,
        }
    })
}

/// Every call type, to a configuration of one node.
async fn call_everything(configuration: &Configuration, log: &Log, test: &Test) {
    let node = &configuration.nodes()[0];
    let echo = within("rpc", node.rpc(&ECHO, text("x"))).await.unwrap();
    assert_eq!(echo.text, "x");
    assert_eq!(taken(log), ["Echo QuorumCall", "Echo ok 5"]);
    assert!(node.rpc(&ECHO, text("refuse")).await.is_err());
    assert_eq!(taken(log), ["Echo QuorumCall", "Echo PermissionDenied"]);
    within("quorum call", configuration.quorum_call(&ECHO, text("fail")).all()).await.unwrap_err();
    assert_eq!(taken(log), ["Echo QuorumCall", "Echo FailedPrecondition"]);

    // Of a one-way call, interceptors see that it was handled; nothing comes back.
    let seen = |number| test.seen.numbers.lock().unwrap().contains(&number);
    within("unicast", node.unicast(&NOTE, number(71))).await.unwrap();
    within("multicast", configuration.multicast(&NOTE, number(72))).await.unwrap();
    within("refused", configuration.multicast(&NOTE, Text { text: "refuse".into(), number: 73 }))
        .await
        .unwrap();
    within("panics", configuration.multicast(&NOTE, text("panic"))).await.unwrap();
    eventually("handled", || log.lock().unwrap().len() == 8).await;
    assert!(seen(71) && seen(72) && !seen(73));
    let ends = ["ok 0", "ok 0", "PermissionDenied", "Internal"];
    let expected: Vec<_> =
        ends.iter().flat_map(|end| ["Note Multicast".to_owned(), format!("Note {end}")]).collect();
    assert_eq!(taken(log), expected);

    // Of a streaming call, they see the end; the updates pass.
    let replies: Vec<_> = configuration.streaming_call(&COUNT, number(5)).send().collect().await;
    assert_eq!(replies.len(), 5);
    assert!(replies.into_iter().zip(1..).all(|(reply, n)| reply.result.unwrap().number == n));
    assert_eq!(taken(log), ["Count StreamingQuorumCall", "Count ok 0"]);
    let request = |text: &str| Text { text: text.into(), number: 2 };
    let failed: Vec<_> = configuration.streaming_call(&COUNT, request("fail")).send().collect().await;
    let code = |reply: &gorums_core::NodeReply<Text>| {
        reply.result.as_ref().err().and_then(|error| error.status()).map(Status::code)
    };
    assert_eq!(failed.iter().map(code).collect::<Vec<_>>(), [None, None, Some(Code::Aborted)]);
    let refused: Vec<_> = configuration.streaming_call(&COUNT, request("refuse")).send().collect().await;
    assert_eq!(refused.iter().map(code).collect::<Vec<_>>(), [Some(Code::PermissionDenied)]);
    assert_eq!(
        taken(log)[1..],
        ["Count Aborted", "Count StreamingQuorumCall", "Count PermissionDenied"].map(str::to_owned)
    );
    assert_eq!(configuration.pending(), 0);
}

#[tokio::test]
async fn over_the_network() {
    let (log, test) = (Log::default(), Test::new(1));
    for memory in [false, true] {
        let (log_of_server, service) = (log.clone(), test.clone());
        let server = move |_| intercepted(&log_of_server).add_service(service.clone());
        let mut cluster =
            if memory { Cluster::in_memory(1, server).await } else { Cluster::over_tcp(1, server).await };
        let configuration = cluster.configuration();
        call_everything(&configuration, &log, &test).await;
        test.seen.numbers.lock().unwrap().clear();
        drop(configuration);
        cluster.finish().await;
    }
}

#[tokio::test]
async fn on_the_own_node() {
    let (log, test) = (Log::default(), Test::new(1));
    let services = intercepted(&log).add_service(test.clone());
    let configuration = Configuration::builder().local_node(1, services).connect_lazy().unwrap();
    call_everything(&configuration, &log, &test).await;
    configuration.close().await;
}

#[tokio::test]
async fn of_calls_back_to_a_client() {
    let (log, test) = (Log::default(), Test::new(1));
    let (mut cluster, _) = one_server(|server| server).await;
    let services = intercepted(&log).add_service(test.clone());
    let configuration = cluster.configure(|builder| builder.serve_callbacks(services)).unwrap();
    configuration.wait_connected().await.unwrap();
    let server = cluster.server(1).unwrap().clone();
    let clients = within("client", server.wait_for_clients(|clients| clients.len() == 1)).await.unwrap();
    call_everything(&clients, &log, &test).await;
    drop((configuration, clients));
    cluster.finish().await;
}

/// An interceptor changes how a streaming call ends, and ends one before it starts.
#[tokio::test]
async fn the_end_of_a_streaming_call_can_be_changed() {
    let (mut cluster, test) = one_server(|server| {
        server.interceptor(async |call: ServerCall, next: Next| {
            let request: Text = call.message()?;
            let end = call.reply(&())?;
            match request.text.as_str() {
                "fail" => next.run(call).await.or(Ok(end)),
                "empty" => Ok(end),
                _ => {
                    next.run(call).await?;
                    Err(Status::data_loss("not trusted"))
                }
            }
        })
    })
    .await;
    let configuration = cluster.configuration();
    let results = async |text: &str| {
        let request = Text { text: text.into(), number: 2 };
        let replies = configuration.streaming_call(&COUNT, request).send();
        let replies: Vec<_> = within(text, replies.collect::<Vec<_>>()).await;
        replies.iter().map(|reply| reply.result.is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(results("fail").await, [true, true]);
    assert_eq!(results("empty").await, [false; 0]);
    assert_eq!(results("x").await, [true, true, false]);
    assert_eq!(test.seen.updates.load(std::sync::atomic::Ordering::SeqCst), 4);
    drop(configuration);
    cluster.finish().await;
}
