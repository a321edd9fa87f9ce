//! Whatever is wrong with the options, the program says what to do.

use crate::program::refusal;

fn assert_says(args: &[&str], expected: &str) {
    let said = refusal(args);
    assert!(said.contains(expected), "{args:?}: {said}");
}

#[test]
fn names_that_are_not_there_are_told_with_those_that_are() {
    assert_says(
        &["run", "--calls", "quorums"],
        "no call type matches `quorums`: they are rpc, quorum-first,",
    );
    assert_says(&["run", "--calls", "("], "unclosed group");
    let contenders = "there is no contender `grpc`: they are gorums, tonic, tarpc, raw-tcp, or `all` of them";
    assert_says(&["run", "--contenders", "grpc"], contenders);
    assert_says(&["run", "--contenders", "tonic,tonic"], "--contenders names tonic twice");
    assert_says(
        &["sweep", "--axis", "size"],
        "[possible values: nodes, payload, in-flight, clients, rate, workers]",
    );
}

#[test]
fn numbers_are_checked_before_anything_runs() {
    assert_says(&["run", "--nodes", "0"], "at least 1 is needed");
    assert_says(&["run", "--in-flight", "many"], "a number from 1 up is needed");
    assert_says(&["run", "--payload", "1g"], "a number of bytes, or of KiB as in `16k`");
    assert_says(&["run", "--payload", "5m"], "messages are limited to 4 MiB");
    assert_says(&["run", "--duration", "soon"], "--duration");
    assert_says(&["run", "--duration", "0s"], "--duration has to be longer than 0");
    assert_says(
        &["sweep", "--axis", "nodes", "--values", "3,x"],
        "--values has `x`: a number from 1 up is needed",
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    let quorum = "a quorum of 4 needs as many nodes: there are 3, see --nodes";
    assert_says(&["run", "--quorum-size", "4"], quorum);
    assert_says(&["sweep", "--axis", "nodes", "--values", "5,3", "--quorum-size", "4"], "--values has `3`");
    assert_says(&["run", "--calls", "multicast$", "--contenders", "tonic,tarpc"], "no contender can do this");
    assert_says(&["run", "--local-node", "--contenders", "raw-tcp"], "no contender can do this");
    assert_says(&["black-hole", "--calls", "quorum-all"], "of which one never replies");
    assert_says(&["black-hole", "--nodes", "1"], "give at least 2 --nodes");
    assert_says(&["run", "--json", "--csv"], "cannot be used with");
}

#[test]
fn remote_servers_have_to_be_enough_and_of_one_kind() {
    let one = ["run", "--remotes", "127.0.0.1:1"];
    let more = "3 nodes need 2 more --remotes: start them with `gorums-bench serve`";
    assert_says(&[&one[..], &["--nodes", "3"]].concat(), more);
    assert_says(&[&one[..], &["--contenders", "all"]].concat(), "servers at --remotes are of one contender");
    assert_says(&["idle", "--remotes", "127.0.0.1:1"], "servers of this process");
    assert_says(&["serve", "nowhere"], "cannot listen on `nowhere`");
    // Nobody listens there.
    assert_says(&[&one[..], &["--rounds", "1"]].concat(), "every measurement has failed");
}
