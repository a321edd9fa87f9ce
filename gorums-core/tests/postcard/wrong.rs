//! Messages that cannot be encoded or decoded fail their call, with an error that says what and why, and nothing else.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use gorums_core::{Code, Configuration, NodeError, NodeErrorKind, QuorumErrorKind, Server, Stage};

use crate::common::{OnConfiguration, OnNode};
use crate::nodes;
use crate::service::{LONG, LONG_REPLY, SHORT, SHORT_REPLY, Tests, WRONG, WRONG_NOTE, WRONGS, Wrong};

/// The call still works, and has left nothing behind.
async fn works(configuration: &Configuration) {
    assert_eq!(configuration.pending(), 0);
    let replies = configuration.quorum_call(&WRONG, Wrong::Fine(5)).send();
    let replies: Vec<_> = replies.map(|reply| format!("{:?}", reply.result.unwrap())).collect().await;
    assert_eq!(replies, ["Fine(5)"; 3]);
}

fn is_unencodable(error: &NodeError, method: &str) {
    assert!(matches!(error.kind(), NodeErrorKind::Encode), "{error}");
    assert!(!error.is_ambiguous() && !error.is_transient());
    let text = error.to_string();
    let told = format!(
        "the request could not be encoded, never sent ({method}: `postcard::service::Wrong` as postcard: The \
         length of a sequence must be known)"
    );
    assert!(text.ends_with(&told), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_encoded_is_an_error_of_each_node() {
    let (cluster, configuration, tests) = nodes().await;
    let start = tokio::time::Instant::now();
    let call = || configuration.quorum_call(&WRONG, Wrong::Fails);
    let errors = [
        call().majority().await.unwrap_err(),
        call().staged(Stage::after(Duration::ZERO)).all().await.unwrap_err(),
        call().staged(Stage::after(Duration::from_secs(1))).majority().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
        assert!(error.nodes().len() >= 2, "{error}");
        // The one of a later stage was not asked.
        let tried = error.nodes().iter().filter(|error| !matches!(error.kind(), NodeErrorKind::Cancelled));
        tried.for_each(|error| is_unencodable(error, "test.Tests.Wrong"));
    }
    assert!(start.elapsed() < Duration::from_secs(1), "at once");
    for node in configuration.nodes() {
        let error = node.rpc(&WRONG, Wrong::Fails).await.unwrap_err();
        is_unencodable(&error, "test.Tests.Wrong");
    }
    // One-way calls as well, whether somebody waits for them or not.
    let error = configuration.multicast(&WRONG_NOTE, Wrong::Fails).await.unwrap_err();
    error.nodes().iter().for_each(|error| is_unencodable(error, "test.Tests.WrongNote"));
    let error = configuration.multicast(&WRONG_NOTE, Wrong::Fails).send().unwrap_err();
    error.nodes().iter().for_each(|error| is_unencodable(error, "test.Tests.WrongNote"));
    works(&configuration).await;
    for tests in tests {
        assert_eq!(*tests.noted.lock().unwrap(), [0; 0]);
    }
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_for_one_node_that_cannot_be_encoded_is_an_error_of_that_node() {
    let (cluster, configuration, _) = nodes().await;
    for bad in 1..=3 {
        let call = configuration.quorum_call(&WRONG, Wrong::Fine(8));
        let call = call.map_request(move |request, node| {
            Some(if node.id() == bad { Wrong::Fails } else { request.clone() })
        });
        let replies: Vec<_> = call.send().collect().await;
        assert_eq!(replies.len(), 3);
        for reply in replies {
            match reply.result {
                Ok(_) => assert_ne!(reply.node.get(), bad),
                Err(error) => {
                    assert_eq!(reply.node.get(), bad);
                    is_unencodable(&error, "test.Tests.Wrong");
                }
            }
        }
    }
    works(&configuration).await;
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_cannot_be_encoded_is_an_error_of_the_caller() {
    let intercepted = || {
        let pass = |call: gorums_core::ServerCall, next: gorums_core::Next| next.run(call);
        Server::builder().add_service(Tests::default()).interceptor(pass)
    };
    let (mut cluster, configuration, _) = nodes().await;
    let with_interceptors = cluster.configure(|builder| builder.local_node(3, intercepted())).unwrap();
    let told = "could not encode the reply of test.Tests.Wrong: `postcard::service::Wrong` as postcard: The length \
                of a sequence must be known";
    for configuration in [&configuration, &with_interceptors] {
        let replies: Vec<_> = configuration.quorum_call(&WRONG, Wrong::Fine(1)).send().collect().await;
        assert_eq!(replies.len(), 3);
        for reply in replies {
            let error = reply.result.unwrap_err();
            let status = error.status().unwrap();
            assert_eq!((status.code(), status.message()), (Code::Internal, told));
        }
        let replies: Vec<_> = configuration.quorum_call(&WRONG, Wrong::Fine(2)).send().collect().await;
        for reply in replies {
            let error = reply.result.unwrap_err();
            assert_eq!(error.status().unwrap().message(), "the handler of test.Tests.Wrong panicked");
        }
        works(configuration).await;
    }
    // What came before it in the stream is there.
    let replies: Vec<_> = configuration.streaming_call(&WRONGS, Wrong::Fine(1)).send().collect().await;
    for node in 1..=3 {
        let of_node = replies.iter().filter(|reply| reply.node.get() == node);
        let results: Vec<_> = of_node.map(|reply| reply.result.as_ref().map_err(NodeError::status)).collect();
        assert!(matches!(results[0], Ok(Wrong::Fine(7))), "{results:?}");
        let status = results[1].unwrap_err().unwrap();
        assert_eq!(status.code(), Code::Internal);
        assert!(
            status.message().starts_with("could not encode the reply of test.Tests.Wrongs: "),
            "{status}"
        );
        assert_eq!(results.len(), 2);
    }
    works(&configuration).await;
    drop((configuration, with_interceptors));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_too_short_or_too_long_are_refused() {
    let (cluster, configuration, _) = nodes().await;
    let long: Vec<_> = configuration.quorum_call(&LONG, (5, 6)).send().collect().await;
    let short: Vec<_> = configuration.quorum_call(&SHORT, ()).send().collect().await;
    let wrong: Vec<_> = configuration.quorum_call(&WRONG, Wrong::Fine(1001)).send().collect().await;
    let start = "could not decode the request of test.Tests.Wrong: `postcard::service::Wrong` as postcard: ";
    for (replies, reason) in [
        (long, "1 of 2 bytes are left over"),
        (short, "Hit the end of buffer, expected more data"),
        (wrong, "not this number"),
    ] {
        for reply in replies {
            // The one in this process decodes nothing, but for types that are not the same.
            if let Err(error) = reply.result {
                let status = error.status().unwrap();
                assert_eq!(status.code(), Code::InvalidArgument);
                assert_eq!(status.message(), format!("{start}{reason}"));
            } else {
                assert_eq!((reply.node.get(), reason), (3, "not this number"));
            }
        }
    }
    works(&configuration).await;
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn replies_that_are_too_short_or_too_long_are_errors() {
    let (cluster, configuration, _) = nodes().await;
    let long = configuration.quorum_call(&SHORT_REPLY, Wrong::Fine(5)).all().await.unwrap_err();
    let short = configuration.quorum_call(&LONG_REPLY, Wrong::Fine(5)).all().await.unwrap_err();
    for (error, reason) in [
        (long, "(test.Tests.Wrong: `()` as postcard: 1 of 1 bytes are left over)"),
        (short, "(test.Tests.Wrong: `(u32, u32)` as postcard: Hit the end of buffer, expected more data)"),
    ] {
        for error in error.nodes().iter().filter(|error| !matches!(error.kind(), NodeErrorKind::Cancelled)) {
            assert!(matches!(error.kind(), NodeErrorKind::Decode), "{error}");
            assert!(error.to_string().ends_with(reason), "{error}");
            assert!(error.is_ambiguous(), "the request was handled");
        }
    }
    works(&configuration).await;
    drop(configuration);
    cluster.finish().await;
}

/// Encoding is code of the user: what it does the second time must not damage the stream.
#[tokio::test(start_paused = true)]
async fn a_message_is_encoded_once_to_be_sent() {
    let (cluster, configuration, _) = nodes().await;
    let grows = || Wrong::Grows(Arc::new(AtomicU32::new(0)));
    let one = configuration.only([1]);
    let reply = one.quorum_call(&WRONG, grows()).all().await.unwrap();
    assert!(matches!(reply, Wrong::Fine(5)), "{reply:?}");
    // The queue of the next one is not out of step.
    works(&configuration).await;
    drop((configuration, one));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_leaves_nothing_behind() {
    let (cluster, configuration, _) = nodes().await;
    works(&configuration).await;
    for node in configuration.nodes() {
        let call = AssertUnwindSafe(async { node.rpc(&WRONG, Wrong::Panics).await });
        assert!(call.catch_unwind().await.is_err());
    }
    let call = AssertUnwindSafe(async { configuration.quorum_call(&WRONG, Wrong::Panics).all().await });
    assert!(call.catch_unwind().await.is_err());
    works(&configuration).await;
    drop(configuration);
    cluster.finish().await;
}
