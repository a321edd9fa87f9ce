//! What an interceptor can do with a call: the order of the chain, what it sees and what it changes.

use std::sync::atomic::{AtomicUsize, Ordering};

use gorums_core::{
    Code, Configuration, MetadataMap, Method, Methods, Next, Server, ServerCall, Service, Status,
};

use crate::common::{ECHO, OnConfiguration, OnNode, Test, Text, UNKNOWN, number, text, within};
use crate::{Appends, Log, noting, one_server, taken};

async fn code(configuration: &Configuration, command: &str) -> Code {
    let call = configuration.nodes()[0].rpc(&ECHO, text(command));
    within(command, call).await.unwrap_err().status().unwrap().code()
}

/// After `TestServerInterceptorsChain` of Go Gorums.
#[tokio::test]
async fn the_first_is_the_outermost_whichever_was_added_before_the_service() {
    for service_first in [false, true] {
        let server = move |_| {
            let intercepted =
                |server: gorums_core::ServerBuilder| server.interceptor(Appends("i1in-", "i1out"));
            let second = Appends("i2in-server-", "i2out-");
            if service_first {
                intercepted(Server::builder().add_service(Test::new(1))).interceptor(second)
            } else {
                intercepted(Server::builder()).interceptor(second).add_service(Test::new(1))
            }
        };
        let mut cluster = gorums_core::testing::Cluster::in_memory(1, server).await;
        let configuration = cluster.configuration();
        let reply = configuration.quorum_call(&ECHO, text("client-")).all().await.unwrap();
        assert_eq!(reply.text, "client-i1in-i2in-server-i2out-i1out");
        drop(configuration);
        cluster.finish().await;
    }
}

#[tokio::test]
async fn a_call_that_is_refused_reaches_no_handler() {
    let inner = Log::default();
    let log = inner.clone();
    let (mut cluster, test) = one_server(move |server| {
        server
            .interceptor(async |call: ServerCall, next: Next| {
                if call.is::<Text>() && call.message::<Text>()?.text.contains("foo") {
                    return Err(Status::permission_denied("no foo"));
                }
                next.run(call).await
            })
            .interceptor(noting(&log))
    })
    .await;
    let configuration = cluster.configuration();
    let error = configuration.nodes()[0].rpc(&ECHO, text("a foo")).await.unwrap_err();
    assert_eq!(error.status().unwrap().message(), "no foo");
    assert_eq!(configuration.quorum_call(&ECHO, text("bar")).all().await.unwrap().text, "bar");
    assert_eq!(*test.seen.texts.lock().unwrap(), ["bar"]);
    assert_eq!(taken(&inner), ["Echo QuorumCall", "Echo ok 7"]);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test]
async fn an_interceptor_can_answer_instead_of_the_handler() {
    let (mut cluster, test) = one_server(|server| {
        server.interceptor(async |call: ServerCall, next: Next| match call.message::<Text>()?.text.as_str() {
            "cached" => call.reply(&text("from the cache")),
            // An error of the handler becomes a reply.
            "fail" => {
                let instead = call.reply(&text("not so bad"));
                next.run(call).await.or(instead)
            }
            "of another type" => call.reply(&String::new()),
            _ => next.run(call).await,
        })
    })
    .await;
    let configuration = cluster.configuration();
    let node = &configuration.nodes()[0];
    assert_eq!(node.rpc(&ECHO, text("cached")).await.unwrap().text, "from the cache");
    assert_eq!(node.rpc(&ECHO, text("fail")).await.unwrap().text, "not so bad");
    assert_eq!(code(&configuration, "of another type").await, Code::Internal);
    assert_eq!(*test.seen.texts.lock().unwrap(), ["fail"]);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test]
async fn metadata_that_is_added_is_seen_by_the_handler() {
    let (mut cluster, _) = one_server(|server| {
        server
            .interceptor(async |mut call: ServerCall, next: Next| {
                let secret = call.metadata().get_bin("secret-bin").map(|value| value.to_bytes().unwrap());
                let length = secret.map_or(0, |secret| secret.len());
                call.metadata_mut().insert("x-trace", length.to_string().parse().unwrap());
                next.run(call).await
            })
            .interceptor(async |call: ServerCall, next: Next| {
                assert_eq!(call.metadata().get("x-trace"), call.context().metadata().get("x-trace"));
                assert!(call.metadata().contains_key("x-trace"));
                next.run(call).await
            })
    })
    .await;
    let configuration = cluster.configuration();
    let node = &configuration.nodes()[0];
    assert_eq!(node.rpc(&ECHO, text("meta")).await.unwrap().text, "0");
    let mut metadata = MetadataMap::new();
    metadata.insert_bin("secret-bin", gorums_core::MetadataValue::from_bytes(&[0, 255, 7]));
    assert_eq!(node.rpc(&ECHO, text("meta")).metadata(metadata).await.unwrap().text, "3");
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test]
async fn what_an_interceptor_sees_of_a_call() {
    let (mut cluster, _) = one_server(|server| {
        server.interceptor(async |mut call: ServerCall, next: Next| {
            assert_eq!(call.method(), "test.Test.Echo");
            assert_eq!(call.context().method(), call.method());
            assert!(call.context().remaining().is_some());
            assert!(call.context().peer_id().is_none());
            let client = call.context().connection_metadata().get("x-client").unwrap();
            assert_eq!(client, "tester");
            assert!(call.is::<Text>() && !call.is::<String>());
            let wrong = call.message::<String>().unwrap_err();
            assert!(wrong.message().ends_with("Text, not a alloc::string::String"), "{wrong}");
            assert_eq!(call.set_message(&String::new()).unwrap_err().code(), Code::Internal);
            assert_eq!(call.payload().len(), 3);
            let mut reply = next.run(call).await?;
            assert!(reply.is::<Text>() && !reply.is::<()>());
            assert_eq!(reply.message::<()>().unwrap_err().code(), Code::Internal);
            assert_eq!(reply.set_message(&()).unwrap_err().code(), Code::Internal);
            Ok(reply)
        })
    })
    .await;
    let mut metadata = MetadataMap::new();
    metadata.insert("x-client", "tester".parse().unwrap());
    let configuration = cluster.configure(|builder| builder.metadata(metadata)).unwrap();
    configuration.nodes()[0].rpc(&ECHO, text("x")).await.unwrap();
    drop(configuration);
    cluster.finish().await;
}

const GARBLED: Method<u64, Text> = Method::prost("test.Test.Echo", gorums_core::CallType::Rpc);
const GARBLED_NOTE: Method<u64, Text> = Method::prost("test.Test.Note", gorums_core::CallType::Rpc);

#[tokio::test]
async fn panics_and_requests_that_cannot_be_decoded_are_answered() {
    let log = Log::default();
    let outer = log.clone();
    let (mut cluster, _) = one_server(move |server| {
        server.interceptor(noting(&outer)).interceptor(async |call: ServerCall, next: Next| {
            let command = call.message::<Text>().unwrap_or_default().text;
            assert_ne!(command, "panic before", "told to panic");
            let result = next.run(call).await;
            assert_ne!(command, "panic after", "told to panic");
            result
        })
    })
    .await;
    let configuration = cluster.configuration();
    let node = &configuration.nodes()[0];
    for command in ["panic before", "panic after"] {
        let error = node.rpc(&ECHO, text(command)).await.unwrap_err();
        assert_eq!(error.status().unwrap().message(), "an interceptor of test.Test.Echo panicked");
    }
    taken(&log);
    // The panic of a handler is a status for the interceptors.
    assert_eq!(code(&configuration, "panic").await, Code::Internal);
    assert_eq!(taken(&log), ["Echo QuorumCall", "Echo Internal"]);
    let error = node.rpc(&GARBLED, 5).await.unwrap_err();
    assert_eq!(error.status().unwrap().code(), Code::InvalidArgument);
    assert_eq!(taken(&log), ["Echo QuorumCall", "Echo InvalidArgument"]);
    // So is a message that nobody expects a reply to, as by Go Gorums.
    let error = within("answer", node.rpc(&GARBLED_NOTE, 5)).await.unwrap_err();
    assert_eq!(error.status().unwrap().code(), Code::InvalidArgument);
    assert_eq!(taken(&log), ["Note Multicast", "Note InvalidArgument"]);
    // What no handler gets, no interceptor sees.
    assert_eq!(
        node.rpc(&UNKNOWN, text("x")).await.unwrap_err().status().unwrap().code(),
        Code::Unimplemented
    );
    assert!(taken(&log).is_empty());
    assert_eq!(node.rpc(&ECHO, text("alive")).await.unwrap().text, "alive");
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test]
async fn a_reply_that_interceptors_made_too_long_is_refused() {
    let (mut cluster, _) = one_server(|server| {
        server.max_message_size(1 << 10).interceptor(async |call: ServerCall, next: Next| {
            let mut reply = next.run(call).await?;
            reply.set_message(&text(&"x".repeat(2 << 10)))?;
            Ok(reply)
        })
    })
    .await;
    let configuration = cluster.configuration();
    assert_eq!(code(&configuration, "x").await, Code::Internal);
    drop(configuration);
    cluster.finish().await;
}

/// An interceptor is told as a handler is that its caller has gone, and knows the deadline.
#[tokio::test(start_paused = true)]
async fn an_interceptor_hears_of_cancellation() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    let (mut cluster, test) = one_server(|server| {
        server.interceptor(async |call: ServerCall, _: Next| {
            call.context().cancelled().await;
            TOLD.fetch_add(1, Ordering::SeqCst);
            Err(Status::cancelled("nobody waits"))
        })
    })
    .await;
    let configuration = cluster.configuration();
    let call = configuration.quorum_call(&ECHO, number(1)).timeout(std::time::Duration::from_secs(60)).send();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(TOLD.load(Ordering::SeqCst), 0);
    drop(call);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(TOLD.load(Ordering::SeqCst), 1);
    assert!(test.seen.numbers.lock().unwrap().is_empty());
    drop(configuration);
    cluster.finish().await;
}

/// A service whose handler replies to one method by calling itself: interceptors see nested calls too.
struct Nested;

impl Service for Nested {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        methods.two_way(&ECHO, &std::sync::Arc::new(self), |_, ctx, request| async move {
            ctx.release();
            match ctx.caller() {
                Some(caller) if request.number > 0 => {
                    Ok(caller.rpc(&ECHO, number(request.number - 1)).await?)
                }
                _ => Ok(text("bottom")),
            }
        });
    }
}

#[tokio::test]
async fn calls_from_a_handler_to_its_caller_are_intercepted_at_both_ends() {
    let log = Log::default();
    let (servers, clients) = (log.clone(), log.clone());
    let server = move |_| Server::builder().interceptor(noting(&servers)).add_service(Nested);
    let mut cluster = gorums_core::testing::Cluster::over_tcp(1, server).await;
    let callbacks = Server::builder().interceptor(noting(&clients)).add_service(Nested);
    let configuration = cluster.configure(|builder| builder.serve_callbacks(callbacks)).unwrap();
    let reply = within("nested", configuration.nodes()[0].rpc(&ECHO, number(3))).await.unwrap();
    assert_eq!(reply.text, "bottom");
    assert_eq!(taken(&log), [["Echo QuorumCall"; 4], ["Echo ok 8"; 4]].concat());
    drop(configuration);
    cluster.finish().await;
}
