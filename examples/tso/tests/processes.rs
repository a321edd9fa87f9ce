//! Nodes as processes, as users and the stress test start them.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tso"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TSO_")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn text(output: &[u8]) -> &str {
    std::str::from_utf8(output).unwrap()
}

/// The short or the full length of something.
fn length<T>(short: T, full: T) -> T {
    if std::env::var_os("GORUMS_SOAK").is_some() { full } else { short }
}

fn stress(arguments: &[&str]) {
    let done = run(&[&["stress"], arguments].concat());
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {out}{err}");
    eprintln!("{}: {}", arguments[0], out.lines().next().unwrap());
}

/// An election timeout is drawn from 300 to 600 ms; two of them and the fence. The short form runs beside other tests.
#[test]
fn killing_the_leader_again_and_again_harms_no_timestamp() {
    let (duration, gap) = length(("8s", "5s"), ("60s", "1500ms"));
    stress(&["killer-loop", "--duration", duration, "--clients", "32", "--batch", "4", "--max-gap", gap]);
}

#[test]
fn neither_faults_nor_clocks_nor_pauses_harm_a_timestamp() {
    for (seed, scenario) in ["steady", "burst", "fence-faults", "clock-jumps", "partition"].iter().enumerate()
    {
        for round in 0..length(1, 4) {
            let seed = (10 * round + seed).to_string();
            stress(&[scenario, "--duration", length("5s", "20s"), "--seed", &seed]);
        }
    }
}

#[test]
fn a_violation_is_found() {
    let done = run(&["stress", "inject-violation", "--duration", "6s"]);
    let err = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{}{err}", text(&done.stdout));
    assert!(err.contains("a timestamp is wrong: "), "{err}");
}

#[test]
fn a_cluster_in_one_command() {
    let done = run(&["local", "--duration", "6s", "--kill-every", "2s"]);
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{out}{}", text(&done.stderr));
    assert!(out.contains("the leader") && out.contains(" of term 2") | out.contains(" of term 3"), "{out}");
}

#[test]
fn mistakes_are_told() {
    for (arguments, code, what) in [
        (&["get"][..], 2, "which nodes?"),
        (&["--nodes", "1=a:1", "get", "0"], 1, "a batch has 1 to 65536 timestamps"),
        (&["--nodes", "1=127.0.0.1:1", "--timeout", "100ms", "get"], 1, "no connection"),
        (&["--nodes", "2=a:1", "serve", "--id", "1", "--data", "/nowhere"], 2, "none of --nodes"),
    ] {
        let done = run(arguments);
        let err = text(&done.stderr);
        assert!(done.status.code() == Some(code) && err.contains(what), "{arguments:?}: {err}");
    }
}
