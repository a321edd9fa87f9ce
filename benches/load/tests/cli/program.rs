//! Runs the program.

use std::process::{Command, Output};

use serde_json::Value;

/// Figures of so short a time mean nothing, but they are there.
const SHORT: [&str; 6] = ["--duration", "60ms", "--warm-up", "20ms", "--rounds", "1"];

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gorums-bench"))
}

pub(crate) fn output(args: &[&str]) -> Output {
    command().args(args).output().expect("the program starts")
}

/// What it prints, measuring for a short time.
pub(crate) fn measure(args: &[&str]) -> String {
    let output = output(&[args, &SHORT].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    assert_eq!(errors, "", "{args:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The rows that it prints as JSON.
pub(crate) fn rows(args: &[&str]) -> Vec<Value> {
    let text = measure(&[args, &["--json"]].concat());
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert!(document["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0));
    document["rows"].as_array().expect("rows").clone()
}

/// What it says when it refuses to run.
pub(crate) fn refusal(args: &[&str]) -> String {
    let output = output(args);
    assert!(!output.status.success(), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
    String::from_utf8(output.stderr).expect("text")
}
