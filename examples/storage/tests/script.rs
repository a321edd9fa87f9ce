//! Commands on four servers in the process: from `-e` and from stdin.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::process::Stdio;

use common::{Process, program, run, script};

#[test]
fn every_call_type() {
    let run = run(&[
        "-e",
        "qc write foo 'bar baz'; qc read foo; qc cread foo; qc nread foo; qc read nothing",
        "-e",
        "rpc 2 write r s; rpc 2 read r; ucast 1 u v; rpc 1 read u; mcast m n; cfg 1:3 read m\ncfg 0,3 write c d",
        "-e",
        r#"qc nwrite a "b \"c\""; qc read a; cfg 0,3 read c"#,
    ]);
    let expected = "Write OK\nfoo = bar baz\nfoo = bar baz (level 1 of 3)\nfoo = bar baz (level 2 of 3)\n\
                    foo = bar baz (level 3 of 3)\nfoo = bar baz\nnothing was not found\n\
                    Write OK\nr = s\nUnicast OK: sent to node 1\nu = v\nMulticast OK: sent to 4 nodes\nm = n\n\
                    Write OK\nNested write OK\na = b \"c\"\nc = d\n";
    assert_eq!((run.out.as_str(), run.err.as_str(), run.code), (expected, "", Some(0)));
}

#[test]
fn what_one_node_has_is_not_what_a_majority_has() {
    let run = run(&["-e", "rpc 0 write k v; cfg 1: read k; cfg 0 read k; cfg :1 cread k"]);
    assert_eq!(run.out, "Write OK\nk was not found\nk = v\nk = v (level 1 of 1)\n");
    assert_eq!(run.code, Some(0));
}

#[test]
fn nodes_are_listed_in_columns_for_programs() {
    let run = run(&["-e", "nodes"]);
    let rows: Vec<Vec<_>> = run.out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 4, "{run:?}");
    for (index, row) in rows.iter().enumerate() {
        let (number, id) = (index.to_string(), (index + 1).to_string());
        assert_eq!([row[0], row[1], row[3], row[5], row[6]], [&number, &id, "connected", "0", "-"]);
        assert!(row[2].starts_with("127.0.0.1:"));
    }
}

#[test]
fn a_mistake_is_told_and_does_not_stop_the_rest() {
    let run = run(&["-e", "qc raed k; frobnicate; rpc 7 read k; qc write k; qc write k v"]);
    assert_eq!((run.out.as_str(), run.code), ("Write OK\n", Some(1)));
    for expected in [
        "error: `qc raed k`: there is no operation `raed`; did you mean `read`?\nusage: qc <operation>\n",
        "error: `frobnicate`: there is no command `frobnicate`; `help` lists all commands\n",
        "error: `rpc 7 read k`: there is no node 7, only nodes 0 to 3\n",
        "error: `qc write k`: `write` needs a value\nusage: qc write <key> <value>\n",
    ] {
        assert!(run.err.contains(expected), "{}", run.err);
    }
}

#[test]
fn lines_of_stdin() {
    let run = script(
        b"# a comment; qc bad\n\nqc write k 'a;b'; qc read k\nqc bad\n\"open\nqc read \xff\nexit\nqc read k\n",
    );
    assert_eq!((run.out.as_str(), run.code), ("Write OK\nk = a;b\n", Some(1)));
    for expected in [
        "error: line 4: `qc bad`: there is no operation `bad`",
        "error: line 5: `\\\"open`: the closing \" is missing\n",
        "error: line 6: `qc read \u{fffd}`: this is not UTF-8\n",
    ] {
        assert!(run.err.contains(expected), "{}", run.err);
    }
    let run = script(b"qc write k v\nquit\nbad");
    assert_eq!((run.out.as_str(), run.err.as_str(), run.code), ("Write OK\n", "", Some(0)));
    assert_eq!(script(b"").code, Some(0));
}

#[test]
fn an_answer_comes_before_the_next_line() {
    let mut process = Process::start(&[]);
    let mut stdin = process.child.stdin.take().unwrap();
    for line in ["Write OK", "k = v"] {
        let command: &[u8] = if line == "Write OK" { b"qc write k v\n" } else { b"qc read k\n" };
        std::io::Write::write_all(&mut stdin, command).unwrap();
        assert_eq!(process.line(), line);
    }
    drop(stdin);
    assert!(process.wait().success());
}

#[test]
fn the_log_tells_what_servers_do() {
    let run =
        run(&["-e", "rpc 0 read a; log on; rpc 0 write k 'v\u{1b}'; rpc 0 read k; log off; rpc 1 read k"]);
    assert_eq!(run.err, " INFO node 1: Write 'k' = 'v\\u{1b}'\n INFO node 1: Read 'k'\n");
    assert_eq!(run.code, Some(0));
}

#[test]
fn nobody_reads_the_results() {
    let mut child =
        program().args(["-e", "nodes; nodes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(1), ""));
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in [
        &["--connect", "a:1", "--listen", "b:1"][..],
        &["--peers", "a:1"],
        &["--frobnicate"],
        &["--timeout", "soon"],
        &["--connect", "nowhere", "-e", "nodes"],
        &["--connect", "a:1,a:1", "-e", "nodes"],
        &["--connect", "a:0", "-e", "nodes"],
        &["--cluster", "127.0.0.1:1,127.0.0.1:1"],
        &["--listen", "0.0.0.0:0", "--peers", "127.0.0.1:1"],
        &["--listen", "127.0.0.1:0", "--peers", "nonsense"],
    ] {
        let run = run(arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{arguments:?}: {run:?}");
        assert!(run.err.starts_with("error: "), "{run:?}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("Examples:"));
}
