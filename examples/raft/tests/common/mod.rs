//! What the tests share.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::time::Duration;

use raft::Node;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// Whether the tests run for their full length: `GORUMS_SOAK` is set.
pub fn is_soak() -> bool {
    std::env::var_os("GORUMS_SOAK").is_some()
}

/// The short or the full length of something.
pub fn length<T>(short: T, full: T) -> T {
    if is_soak() { full } else { short }
}

/// Keeps tests that measure from running beside others of the same file.
pub async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

/// Prints the figures of a test.
pub fn report(what: &str, figures: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{what}: {figures}");
}

/// A metric of a node, by its name in the text and with its labels.
pub fn metric(node: &Node, name: &str) -> u64 {
    let text = node.metrics().unwrap();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// The duration that so many of a hundred are not longer than.
pub fn percentile(durations: &mut [Duration], part: usize) -> Duration {
    durations.sort_unstable();
    durations[(durations.len() - 1) * part / 100]
}
