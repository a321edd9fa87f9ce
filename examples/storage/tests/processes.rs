//! Server processes: quorums with some of them dead, and how they end.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::net::TcpListener;

use common::{Process, Server, free_addresses, on, run};

#[test]
fn a_majority_answers_and_less_does_not() {
    let mut servers = Server::cluster(4);
    let addresses: Vec<_> = servers.iter().map(|server| server.address.clone()).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let run = on(&addresses, "qc write foo bar");
    assert_eq!((run.out.as_str(), run.code), ("Write OK\n", Some(0)));

    servers[1].process.kill();
    let run = on(
        &addresses,
        "qc read foo; qc write foo baz; qc read foo; qc cread foo; qc nread foo; qc nwrite n m",
    );
    let expected = "foo = bar\nWrite OK\nfoo = baz\nfoo = baz (level 1 of 3)\nfoo = baz (level 2 of 3)\n\
                    foo = baz (level 3 of 3)\nfoo = baz\nNested write OK\n";
    assert_eq!((run.out.as_str(), run.err.as_str(), run.code), (expected, "", Some(0)));
    let run = on(&addresses, "nodes");
    let states: Vec<_> = run.out.lines().map(|line| line.split('\t').nth(3).unwrap()).collect();
    assert_eq!(states, ["connected", "down", "connected", "connected"]);

    servers[0].process.kill();
    servers[3].process.kill();
    for command in ["qc read foo", "qc write foo x", "qc cread foo", "qc nread foo", "qc nwrite foo x"] {
        let run = on(&addresses, command);
        assert_eq!(
            (run.out.lines().filter(|line| !line.contains("(level 1 of 3)")).count(), run.code),
            (0, Some(1))
        );
        assert!(run.err.contains("no quorum: "), "{run:?}");
        assert!(run.err.contains(" of 4 nodes answered, 3 are needed\n"), "{run:?}");
        for dead in [0, 1, 3] {
            assert!(run.err.contains(&format!("\n  node {dead} ({}): ", addresses[dead])), "{run:?}");
        }
        assert!(run.err.contains("no connection"), "{run:?}");
    }
    let run = on(&addresses, "cfg 2 nread foo");
    let node = format!("node 2 ({}): the node answered Unavailable: its nested call ", addresses[2]);
    assert!(run.err.contains(&node), "{run:?}");
    assert!(run.err.contains(" of 4 nodes\n    127.0.0.1:"), "{run:?}");
    let run = on(&addresses, "rpc 2 read foo; rpc 3 read foo; mcast foo z");
    // A write that failed for want of a majority may still have been taken by those that are alive.
    assert_eq!(run.out, "foo = x\n");
    assert!(
        run.err.contains(&format!("`rpc 3 read foo`: node 3 ({}): no connection", addresses[3])),
        "{run:?}"
    );
    assert!(run.err.contains(" of 4 nodes, not to all\n  node 0 ("), "{run:?}");
}

#[test]
fn a_client_outlives_the_servers() {
    let mut servers = Server::cluster(3);
    let addresses: Vec<_> = servers.iter().map(|server| server.address.clone()).collect();
    let mut client = Process::start(&["--connect", &addresses.join(",")]);
    let mut stdin = client.child.stdin.take().unwrap();
    let mut ask = |command: &str| {
        std::io::Write::write_all(&mut stdin, command.as_bytes()).unwrap();
        client.line()
    };
    assert_eq!(ask("qc write k v\n"), "Write OK");
    servers[2].process.kill();
    assert_eq!(ask("qc read k\n"), "k = v");
    assert_eq!(ask("qc write k w\n"), "Write OK");
    servers[0].process.kill();
    // A server that is back, although empty, makes a majority again.
    let peers = addresses.join(",");
    let back = Server::start(&["--listen", &addresses[2], "--peers", &peers, "--quiet"]);
    assert_eq!(ask("rpc 1 read k\n"), "k = w");
    let fresh = on(&[&addresses[1], &back.address], "qc read k");
    assert_eq!((fresh.out.as_str(), fresh.code), ("k = w\n", Some(0)));
}

#[test]
fn nested_calls_need_peers() {
    let server = Server::alone();
    let run = on(&[&server.address], "qc write k v; qc nread k; qc nwrite k w; qc read k");
    assert_eq!((run.out.as_str(), run.code), ("Write OK\nk = v\n", Some(1)));
    let reason = "the node answered FailedPrecondition: this server knows no peers";
    assert_eq!(run.err.matches(reason).count(), 2, "{run:?}");
}

#[test]
fn a_server_that_does_not_answer_costs_no_more_than_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let run = run(&["--connect", &address, "--timeout", "200ms", "-e", "qc read k; rpc 0 read k"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.err.contains("no quorum in time: 0 of 1 nodes answered, 1 are needed\n  node 0 ("),
        "{run:?}"
    );
    assert!(run.err.contains("no reply before the deadline"), "{run:?}");
}

#[test]
fn signals_end_a_server_with_success() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::alone();
        assert_eq!(on(&[&server.address], "qc write k v").code, Some(0));
        server.process.signal(signal);
        assert_eq!(server.process.wait().code(), Some(0), "{signal}");
        assert_eq!(on(&[&server.address], "qc read k").code, Some(1));
    }
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let other = free_addresses(1).remove(0);
    let alone = run(&["--listen", &address]);
    assert_eq!((alone.code, alone.out.as_str()), (Some(1), ""));
    assert!(alone.err.contains(&format!("error: cannot listen on {address}")), "{alone:?}");
    let cluster = run(&["--cluster", &format!("{other},{address}")]);
    assert_eq!(cluster.code, Some(1));
    assert!(cluster.err.contains(&format!("error: the server at {address} did not start")), "{cluster:?}");
}

#[test]
fn a_cluster_of_processes() {
    let addresses = free_addresses(4);
    let mut cluster = Process::start(&["--cluster", &addresses.join(",")]);
    assert_eq!(cluster.line(), "4 servers are up:");
    while cluster.line() != "Ctrl-C stops them." {}
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let run = on(&addresses, "qc nwrite k v; qc nread k");
    assert_eq!((run.out.as_str(), run.code), ("Nested write OK\nk = v\n", Some(0)));
    cluster.signal("TERM");
    assert_eq!(cluster.wait().code(), Some(0));
    assert_eq!(on(&addresses, "qc read k").code, Some(1));
}

#[test]
fn no_server_outlives_its_cluster() {
    let addresses = free_addresses(2);
    let mut cluster = Process::start(&["--cluster", &addresses.join(",")]);
    while cluster.line() != "Ctrl-C stops them." {}
    cluster.kill();
    // The servers have the same stderr: it ends when the last of them has.
    let mut log = String::new();
    cluster.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(log.matches("stopping").count(), 2, "{log}");
}
