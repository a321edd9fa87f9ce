//! `raft local`.

use crate::cluster::{program, run};

#[test]
fn three_nodes_and_a_prompt_in_one_command() {
    let commands = [
        "put greeting 'hello world'",
        "cas greeting --expect 'hello world' hi",
        "get greeting --consistency lease",
        "status",
        "kill 1",
        "get greeting",
        "cas greeting --expect other",
        "start 1",
        "delete greeting",
        "get greeting",
    ];
    let run = run(["local"].into_iter().chain(commands.iter().flat_map(|command| ["-e", command])));
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let lines: Vec<_> = run.out.lines().collect();
    assert_eq!(lines[..3], ["ok, revision 1", "ok, revision 2", "hi (revision 2)"]);
    for heading in ["node  address", "leader", "follower", "node  votes  reachable  last seen"] {
        assert!(run.out.contains(heading), "{run:?}");
    }
    let last = &lines[lines.len() - 4..];
    assert_eq!(last, ["hi (revision 2)", "not swapped: the value is hi", "deleted", "no value"]);
}

#[test]
fn mistakes_are_told_and_nothing_is_left_behind() {
    let run = run(["local", "--size", "1", "-e", "get", "-e", "kill 7", "-e", "put 'a", "-e", "put a b"]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), "ok, revision 1\n"), "{run:?}");
    for expected in ["<KEY>", "there is no node 7", "a quote is not closed"] {
        assert!(run.err.contains(expected), "{run:?}");
    }
}

#[test]
fn the_prompt_ends_with_its_input() {
    let child = program().arg("local").stdin(std::process::Stdio::null()).output().unwrap();
    assert!(child.status.success(), "{child:?}");
    let out = String::from_utf8(child.stdout).unwrap();
    assert!(out.contains("node 3  127.0.0.1:") && out.contains("`help` lists the commands"), "{out}");
}
