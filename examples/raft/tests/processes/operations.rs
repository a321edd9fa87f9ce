//! What an operator does and sees.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::cluster::{PATIENCE, Process, Processes, eventually, http, program, run};

#[test]
fn health_metrics_and_a_watch() {
    let cluster = Processes::start("health", 3, 0, |_| Vec::new());
    let leader = cluster.leader();
    let healthy: Vec<_> = (0..3).map(|index| http(&cluster.https[index], "/health").unwrap().0).collect();
    assert_eq!(healthy.iter().filter(|code| **code == 200).count(), 1, "{healthy:?}");
    for address in &cluster.https {
        let ready = eventually("ready", || http(address, "/ready").filter(|(code, _)| *code == 200));
        assert_eq!(ready.1, "ready\n");
    }
    assert_eq!(http(&cluster.https[0], "/nothing").unwrap().0, 404);

    let mut watch = program();
    watch.args(["--nodes", &cluster.nodes(), "watch", "a/", "--count", "2"]).stdout(Stdio::piped());
    let mut watch = Process(watch.spawn().unwrap());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "watching after revision 0");
    assert_eq!(cluster.ok(&["put", "a/k", "v"]), "ok, revision 1\n");
    assert_eq!(cluster.ok(&["put", "b/k", "v"]), "ok, revision 2\n");
    assert_eq!(cluster.ok(&["delete", "a/k"]), "deleted\n");
    assert_eq!(lines.next().unwrap().unwrap(), "1 a/k = v");
    assert_eq!(lines.next().unwrap().unwrap(), "3 a/k deleted");
    assert!(watch.0.wait().unwrap().success());

    let (code, metrics) = http(&cluster.https[leader - 1], "/metrics").unwrap();
    assert_eq!(code, 200);
    for line in ["raft_leading 1", "raft_circuit_open 0", "raft_calls_total{method=\"put\",outcome=\"ok\"} 2"]
    {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    assert!(cluster.ok(&["health"]).starts_with(&format!("node {leader} leads in term ")));
}

#[test]
fn without_a_quorum_nobody_is_healthy() {
    let mut cluster = Processes::start("quorum", 3, 0, |_| Vec::new());
    let leader = cluster.leader();
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.kill(id);
    }
    eventually("unhealthy", || http(&cluster.https[leader - 1], "/health").filter(|(code, _)| *code == 503));
    assert_eq!(http(&cluster.https[leader - 1], "/ready").unwrap().0, 503);
    let health = cluster.run(&["health", "--timeout", "1s"]);
    assert_eq!((health.code, health.err.as_str()), (Some(1), "error: not healthy\n"));
    let put = cluster.run(&["put", "k", "v", "--timeout", "1s"]);
    assert_eq!(put.code, Some(3), "nobody knows whether it takes effect: {put:?}");
    let get = cluster.run(&["get", "k", "--timeout", "1s"]);
    assert_eq!(get.code, Some(1), "{get:?}");
    let status = cluster.ok(&["status", "--timeout", "1s"]);
    assert!(status.contains("leader (unconfirmed)"), "{status}");
}

#[test]
fn a_node_is_replaced_by_command() {
    let mut cluster = Processes::start("replace", 3, 1, |_| vec!["--compact-every".into(), "50".into()]);
    for number in 0..20 {
        cluster.ok(&["put", &format!("k{number}"), "v"]);
    }
    cluster.ok(&["compact"]);
    cluster.spawn(4);
    let new = format!("4={}", cluster.addresses[3]);
    let gone = cluster.leader() % 3 + 1;
    let replaced = cluster.ok(&["member", "replace", &gone.to_string(), &new, "--timeout", "20s"]);
    assert_eq!(replaced, format!("node 4 is in the place of node {gone}\n"));
    cluster.kill(gone);
    let stale = run(["--nodes", &new, "get", "k19", "--consistency", "stale"]);
    assert_eq!(stale.out, "v (revision 20)\n", "{stale:?}");
    // It votes: with it and another one, there is a quorum.
    cluster.kill(cluster.leader());
    assert_eq!(cluster.ok(&["put", "after", "v", "--timeout", "20s"]), "ok, revision 21\n");
    let leader = cluster.leader();
    let other = if leader == 4 { (1..=3).find(|id| cluster.running[id - 1].is_some()).unwrap() } else { 4 };
    cluster.ok(&["transfer", &other.to_string()]);
    eventually("the other one leads", || (cluster.leader() == other).then_some(()));
}

#[test]
fn options_come_from_a_file_and_mistakes_are_told() {
    let cluster = Processes::start("file", 1, 0, |_| Vec::new());
    let file = cluster.directory(1).join("raft.toml");
    std::fs::write(&file, format!("nodes = ['{}']\n", cluster.nodes())).unwrap();
    let put = run(["--config", file.to_str().unwrap(), "put", "k", "v"]);
    assert_eq!((put.code, put.out.as_str()), (Some(0), "ok, revision 1\n"), "{put:?}");
    let get = program().env("RAFT_NODES", cluster.nodes()).args(["get", "k"]).output().unwrap();
    assert_eq!(get.stdout, b"v (revision 1)\n");

    std::fs::write(&file, "node = 3").unwrap();
    let data = cluster.directory(1);
    for (arguments, expected) in [
        (&["get", "k"][..], "which nodes?"),
        (&["--config", file.to_str().unwrap(), "get", "k"], "unknown field"),
        (&["--config", "/nowhere/raft.toml", "get", "k"], "/nowhere/raft.toml"),
        (&["serve"], "which node is this?"),
        (&["serve", "--id", "1"], "where is the data to be kept?"),
        (&["serve", "--id", "1", "--data", "x"], "--join"),
        (&["--nodes", "1=a", "get", "k"], "it has no port"),
    ] {
        let run = run(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert!(run.err.contains(expected), "{arguments:?}: {run:?}");
    }
    let nodes = cluster.nodes();
    let twice = run(["serve", "--id", "1", "--nodes", &nodes, "--data", data.to_str().unwrap()]);
    assert_eq!(twice.code, Some(1), "another process has the data: {twice:?}");
}

#[test]
fn a_node_ends_in_good_order_when_it_is_asked_to() {
    let mut cluster = Processes::start("term", 1, 0, |_| Vec::new());
    cluster.ok(&["put", "k", "v"]);
    let mut process = cluster.running[0].take().unwrap();
    let pid = process.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let begun = std::time::Instant::now();
    assert!(process.0.wait().unwrap().success());
    assert!(begun.elapsed() < PATIENCE / 3, "{:?}", begun.elapsed());
    cluster.spawn(1);
    assert_eq!(cluster.ok(&["get", "k"]), "v (revision 1)\n");
}

#[test]
fn a_bench_tells_how_long_calls_took() {
    let cluster = Processes::start("bench", 3, 0, |_| Vec::new());
    cluster.leader();
    let bench = cluster.run(&["bench", "--duration", "1s", "--clients", "8", "--keys", "100"]);
    assert_eq!(bench.code, Some(0), "{bench:?}");
    for what in ["reads ", "writes", "p99", "failed  0"] {
        assert!(bench.out.contains(what), "{bench:?}");
    }
}
