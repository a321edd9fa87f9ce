//! Interceptors of the servers, chosen on the command line.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::run;

#[test]
fn requests_for_foo_are_refused() {
    let run = run(&[
        "--interceptors",
        "nofoo",
        "-e",
        "qc write bar x; qc read bar; qc write foo x; rpc 1 read foo",
    ]);
    assert_eq!((run.out.as_str(), run.code), ("Write OK\nbar = x\n", Some(1)));
    assert!(run.err.contains("no foo here: the server runs with the interceptor `nofoo`"), "{run:?}");
}

/// The first interceptor is the outermost: it does not see what comes after it, unless that is a reply.
#[test]
fn requests_are_logged_with_the_metadata_that_was_added() {
    for (interceptors, logged) in [
        ("metadata,logging,nofoo", "proto.Storage.WriteRPC from 127.0.0.1:"),
        ("metadata,logging,nofoo", " [metadata]: PermissionDenied: no foo here"),
        ("logging,metadata,nofoo", ": PermissionDenied: no foo here"),
    ] {
        let run = run(&["--interceptors", interceptors, "-v", "-e", "rpc 0 write foo x"]);
        assert!(run.err.contains(logged), "{run:?}");
        assert_eq!(run.err.contains("[metadata]"), interceptors.starts_with("metadata"), "{run:?}");
    }
}

#[test]
fn delayed_requests_take_their_time() {
    let started = Instant::now();
    let run = run(&["--interceptors", "delayed", "-e", "qc write k v; qc read k"]);
    assert_eq!((run.out.as_str(), run.code), ("Write OK\nk = v\n", Some(0)));
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
}

#[test]
fn mistakes_on_the_command_line_are_told() {
    let unknown = run(&["--interceptors", "nobar", "-e", "nodes"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("[possible values: logging, nofoo, metadata, delayed]"), "{unknown:?}");
    let elsewhere = run(&["--connect", "127.0.0.1:1", "--interceptors", "nofoo"]);
    assert_eq!(elsewhere.code, Some(2));
    let half = run(&["--listen", "127.0.0.1:0", "--tls-ca", "ca.pem"]);
    assert!(half.err.contains("needs --tls-cert and --tls-key too"), "{half:?}");
    assert_eq!(half.code, Some(2));
    let local = run(&["--tls-ca", "ca.pem", "-e", "nodes"]);
    assert!(local.err.contains("servers in this process need no TLS"), "{local:?}");
}
