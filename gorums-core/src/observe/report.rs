//! A snapshot of a configuration, for people: what is connected, how fast it is, what waits and what was lost.

use std::fmt;
use std::time::Duration;

use crate::configuration::Configuration;
use crate::error::NodeErrorKind;
use crate::id::NodeId;
use crate::node::{Node, NodeState};
use crate::stats::NodeStats;

/// A configuration as it was at the moment of asking. It prints as a table:
///
/// ```text
/// node  address         state        latency   ping      owed  queued  bytes  sent    dropped  failed  late  connections  last error
/// 1     10.0.0.1:8080   connected    120 µs    80.0 µs   3     0       0      120034  0        0       2     1            -
/// 2     10.0.0.2:8080   unreachable  3.10 ms   1.20 ms   0     17      2120   80212   12       40      0     3            no connection, ..
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfigurationStats {
    /// The nodes, in the order of the configuration.
    pub nodes: Vec<NodeReport>,
    /// Calls in flight on this configuration and those it shares nodes with.
    pub pending: usize,
}

/// One node of a [`ConfigurationStats`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeReport {
    /// The node.
    pub id: NodeId,
    /// Its address, as it was given.
    pub address: String,
    /// How it stands with the connection.
    pub state: NodeState,
    /// Its counters.
    pub stats: NodeStats,
    /// What last went wrong with a call or the connection; `None` if nothing has.
    pub last_error: Option<NodeErrorKind>,
}

impl Configuration {
    /// A snapshot of all nodes, which prints as a table. Looks at every call in flight once.
    pub fn stats(&self) -> ConfigurationStats {
        let owed = self.pool().pending().owed_by_node();
        let report = |node: &Node| NodeReport::of(node, owed.get(&node.channel().ordinal()).copied());
        ConfigurationStats { nodes: self.iter().map(report).collect(), pending: self.pending() }
    }
}

impl NodeReport {
    fn of(node: &Node, owed: Option<usize>) -> Self {
        Self {
            id: node.id(),
            address: node.address().to_owned(),
            state: node.state(),
            stats: node.channel().stats_owing(owed.unwrap_or(0)),
            last_error: node.last_error(),
        }
    }

    fn row(&self) -> [String; COLUMNS.len()] {
        let NodeStats { queue, pending, late_replies, connections, latency, ping } = self.stats;
        let state = match self.state {
            NodeState::Idle => "idle",
            NodeState::Connected => "connected",
            NodeState::Unreachable => "unreachable",
            NodeState::Closed => "closed",
        };
        [
            self.id.to_string(),
            self.address.clone(),
            state.to_owned(),
            time(latency),
            time(ping),
            pending.to_string(),
            queue.queued.to_string(),
            queue.queued_bytes.to_string(),
            queue.sent.to_string(),
            queue.dropped.to_string(),
            queue.failed.to_string(),
            late_replies.to_string(),
            connections.to_string(),
            self.last_error.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        ]
    }
}

const COLUMNS: [&str; 14] = [
    "node",
    "address",
    "state",
    "latency",
    "ping",
    "owed",
    "queued",
    "bytes",
    "sent",
    "dropped",
    "failed",
    "late",
    "connections",
    "last error",
];

/// A duration with three digits.
fn time(duration: Option<Duration>) -> String {
    let Some(duration) = duration else { return "-".to_owned() };
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..1e3 => (micros, "µs"),
        1e3..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

impl fmt::Display for ConfigurationStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = std::iter::once(COLUMNS.map(str::to_owned))
            .chain(self.nodes.iter().map(NodeReport::row))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..COLUMNS.len()).map(width).collect();
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let (last, others) = row.split_last().unwrap_or_else(|| unreachable!("there are columns"));
            for (cell, width) in others.iter().zip(&widths) {
                write!(f, "{cell:width$}  ")?;
            }
            f.write_str(last)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let shown: Vec<_> = [950, 1_234, 45_678, 987_654, 12_345_678, 4_000_000_000]
            .map(|nanos| time(Some(Duration::from_nanos(nanos))))
            .into();
        assert_eq!(shown, ["0.95 µs", "1.23 µs", "45.7 µs", "988 µs", "12.3 ms", "4.00 s"]);
        assert_eq!(time(None), "-");
    }

    #[tokio::test]
    async fn a_row_for_each_node_in_aligned_columns() {
        let nodes = Node::detached(12);
        let shown = nodes.stats().to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 13);
        assert!(lines[0].starts_with("node  address   state"), "{shown}");
        assert!(lines[12].starts_with("12    node12:1  idle "), "{shown}");
        let state = lines[0].find("state").unwrap();
        assert!(lines[1..].iter().all(|line| line[state..].starts_with("idle")), "{shown}");
    }
}
