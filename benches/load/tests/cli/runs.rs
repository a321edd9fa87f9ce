//! Each call type and contender does what it is asked to, and the counts add up.

use std::collections::HashSet;

use serde_json::Value;

use crate::program::{measure, output, rows};

fn number(row: &Value, path: &[&str]) -> f64 {
    let value = path.iter().fold(row, |value, name| &value[name]);
    value.as_f64().unwrap_or_else(|| panic!("{path:?} in {row}"))
}

fn assert_measured(row: &Value) {
    assert!(number(row, &["sample", "calls"]) > 0.0, "{row}");
    assert_eq!(number(row, &["sample", "errors"]), 0.0, "{row}");
    assert_eq!(number(row, &["rounds"]), 1.0);
    let quantiles = row["sample"]["latency"]["quantiles"].as_array().unwrap();
    assert!(quantiles.is_sorted_by_key(|quantile| quantile["us"].as_f64()), "{quantiles:?}");
    let [p50, p99, max] = ["p50", "p99", "max"].map(|name| number(row, &["sample", "latency", name]));
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max * 1.01, "{p50} {p99} {max}");
}

#[test]
fn every_call_type_of_gorums() {
    let rows = rows(&["run", "--calls", "", "--in-flight", "4", "--payload", "100", "--reply", "200"]);
    let calls: HashSet<_> = rows.iter().map(|row| row["setup"]["call"].as_str().unwrap()).collect();
    assert_eq!((rows.len(), calls.len()), (13, 13));
    rows.iter().for_each(assert_measured);
}

#[test]
fn every_contender_and_what_it_can_do() {
    let rows = rows(&["run", "--contenders", "all", "--calls", "rpc|quorum|queued", "--in-flight", "4"]);
    let of = |name| rows.iter().filter(|row| row["setup"]["contender"] == name).count();
    assert_eq!(["gorums", "tonic", "tarpc", "raw-tcp"].map(of), [7, 5, 5, 7]);
    rows.iter().for_each(assert_measured);
}

#[test]
fn runtimes_clients_and_local_nodes() {
    for options in [["--workers", "0", "--clients", "1"], ["--workers", "1", "--clients", "3"]] {
        let rows = rows(&[&["run", "--local-node", "--calls", "quorum-all"][..], &options].concat());
        rows.iter().for_each(assert_measured);
    }
}

#[test]
fn calls_at_a_rate_are_as_many_as_the_rate_says() {
    let rows = rows(&["run", "--rate", "1000", "--contenders", "gorums,raw-tcp"]);
    for row in &rows {
        assert_measured(row);
        // 60 ms: those that end shortly after the end of the time may count or not.
        let calls = number(row, &["sample", "calls"]);
        assert!((1.0..=61.0).contains(&calls), "{calls}");
        assert_eq!(number(row, &["setup", "rate"]), 1_000.0);
    }
}

#[test]
fn a_node_that_never_reads() {
    let rows = rows(&["black-hole", "--contenders", "all", "--in-flight", "4"]);
    let scenarios: Vec<_> = rows.iter().map(|row| row["setup"]["scenario"].as_str().unwrap()).collect();
    assert_eq!(scenarios, [["calls"; 4], ["black-hole"; 4]].concat());
    for row in rows.iter().skip(4) {
        assert_eq!(row["sample"]["seconds"].as_array().unwrap().len(), 1, "{row}");
    }
    rows.iter().for_each(assert_measured);
}

#[test]
fn idle_connections_and_new_ones() {
    for row in rows(&["idle", "--contenders", "all", "--nodes", "20"]) {
        assert!(number(&row, &["sample", "kib_per_node"]) > 0.0, "{row}");
    }
    rows(&["connect", "--contenders", "all"]).iter().for_each(assert_measured);
}

#[test]
fn the_table_says_once_what_is_the_same_in_all_rows() {
    let args = ["run", "--contenders", "gorums,raw-tcp", "--calls", "majority|all"];
    let table = measure(&args);
    assert!(table.starts_with("nodes 3, payload 16 B, in flight 64, workers "), "{table}");
    let head = table.lines().nth(2).unwrap();
    assert!(head.trim().starts_with("contender  call "), "{table}");
    assert_eq!(table.lines().count(), 7, "{table}");
    let markdown = measure(&[&args[..], &["--markdown"]].concat());
    assert!(markdown.lines().nth(3).unwrap().starts_with("|---|---|--:|--:|"), "{markdown}");
}

#[test]
fn the_list_names_everything() {
    let output = output(&["list"]);
    let list = String::from_utf8(output.stdout).unwrap();
    assert_eq!(list.lines().count(), 13);
    assert!(list.contains(
        "multicast-queued   a one-way message to all nodes, until it was queued (gorums, raw-tcp)"
    ));
}
