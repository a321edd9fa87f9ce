//! How results and failures look.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use gorums::{Configuration, Node, NodeError, NodeErrorKind, NodeId, QuorumError, QuorumErrorKind};

use crate::client::run::CallFailure;
use crate::output;
use crate::proto::ReadResponse;
use crate::quorum::{majority, reason};

pub(crate) const TITLE: Style = Style::new().bold().underline();
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();

/// What a read gave.
pub(crate) fn reply(key: &str, reply: &ReadResponse) -> String {
    let key = printable(key);
    if reply.ok { format!("{key} = {}", printable(&reply.value)) } else { format!("{key} was not found") }
}

/// The level of a correctable read.
pub(crate) fn level(level: usize, last: usize) -> String {
    format!("{FAINT}(level {level} of {last}){FAINT:#}")
}

/// The nodes of a cluster: a table on a terminal, else a line with tabs for each.
///
/// `unreachable` says of some why they were not connected at first.
pub(crate) fn nodes(configuration: &Configuration, unreachable: &[NodeError]) -> String {
    let first_error = |node: &Node| unreachable.iter().find(|error| error.node() == node.id());
    let rows = configuration.iter().enumerate().map(|(index, node)| row(index, node, first_error(node)));
    let rows: Vec<_> = rows.collect();
    if output::is_terminal() {
        return table(&rows);
    }
    rows.iter().map(|row| row.join("\t")).collect::<Vec<_>>().join("\n")
}

const COLUMNS: usize = 7;
const HEADINGS: [&str; COLUMNS] = ["index", "id", "address", "state", "latency", "pending", "last error"];
const STATE: usize = 3;
const CONNECTED: &str = "connected";

fn row(index: usize, node: &Node, first_error: Option<&NodeError>) -> [String; COLUMNS] {
    let last_error = node.last_error().or_else(|| first_error.map(|error| error.kind().clone()));
    [
        index.to_string(),
        node.id().to_string(),
        node.address().to_owned(),
        if node.is_connected() { CONNECTED } else { "down" }.to_owned(),
        node.latency().map_or_else(|| "-".to_owned(), duration),
        node.pending().to_string(),
        last_error.map_or_else(|| "-".to_owned(), |kind| in_short(&kind)),
    ]
}

fn table(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(HEADINGS[column].len())
    };
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    let mut table = String::new();
    for (heading, width) in HEADINGS.iter().zip(&widths) {
        let space = width - heading.len();
        let _ = write!(table, "{TITLE}{heading}{TITLE:#}{:space$}  ", "");
    }
    for row in rows {
        table.truncate(table.trim_end().len());
        table.push('\n');
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let style = match column {
                STATE if cell == CONNECTED => GOOD,
                STATE => BAD,
                _ => Style::new(),
            };
            let _ = write!(table, "{style}{cell:<width$}{style:#}  ");
        }
    }
    table.truncate(table.trim_end().len());
    table
}

fn duration(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

/// An error in a word or two, for the table.
fn in_short(kind: &NodeErrorKind) -> String {
    let text = match kind {
        NodeErrorKind::Status(status) => return format!("answered {:?}", status.code()),
        NodeErrorKind::Unavailable => "no connection",
        NodeErrorKind::ConnectionLost => "connection lost",
        NodeErrorKind::DeadlineExceeded => "no reply in time",
        NodeErrorKind::Cancelled => "cancelled",
        NodeErrorKind::QueueFull => "queue full",
        NodeErrorKind::Encode => "bad request",
        NodeErrorKind::Decode => "bad reply",
        NodeErrorKind::Closed => "closed",
        NodeErrorKind::Skipped => "skipped",
        NodeErrorKind::Filtered => "filtered out",
        other => return other.to_string(),
    };
    text.to_owned()
}

/// Why a call failed: what was needed, and a line for each node that did not do its part.
pub(crate) fn failure(failure: &CallFailure, configuration: &Configuration) -> String {
    match failure {
        CallFailure::Quorum(error) => quorum_error(error, configuration),
        CallFailure::Node(error) => node_error(error, configuration),
        CallFailure::Outdated { key, newer: None } => {
            format!("{} was not updated: the node has a newer value, timestamp too old", printable(key))
        }
        CallFailure::Outdated { key, newer: Some(newer) } => {
            let nodes: Vec<_> = newer.iter().map(|&node| place(node, configuration)).collect();
            let (key, nodes) = (printable(key), nodes.join(", "));
            format!("{key} was not updated on a majority: timestamp too old, newer values on {nodes}")
        }
        CallFailure::ServersElsewhere => {
            "the servers do not run in this process: their own output has their logs".to_owned()
        }
        CallFailure::Interrupted => "interrupted".to_owned(),
    }
}

fn quorum_error(error: &QuorumError, configuration: &Configuration) -> String {
    let (replies, size) = (error.replies(), error.size());
    let needed = if error.needed() > 0 { error.needed() } else { majority(size) };
    let in_time = if is_late(error) { " in time" } else { "" };
    let outcome = match error.kind() {
        QuorumErrorKind::SendFailure => format!("sent to {replies} of {size} nodes, not to all"),
        _ => format!("no quorum{in_time}: {replies} of {size} nodes answered, {needed} are needed"),
    };
    let lines = error.nodes().iter().map(|error| node_error(error, configuration));
    lines.fold(outcome, |text, line| text + "\n  " + &line)
}

/// Whether more time might have helped.
fn is_late(error: &QuorumError) -> bool {
    error.nodes().iter().any(|error| matches!(error.kind(), NodeErrorKind::DeadlineExceeded))
}

fn node_error(error: &NodeError, configuration: &Configuration) -> String {
    let place = place(error.node(), configuration);
    // A node that passes on what it heard from others has a line for each.
    let reason = reason(error);
    let lines: Vec<_> = reason.lines().map(printable).collect();
    format!("{place} ({}): {}", error.address(), lines.join("\n    "))
}

/// A node as the user names it in commands.
fn place(node: NodeId, configuration: &Configuration) -> String {
    match configuration.node_ids().position(|id| id == node) {
        Some(index) => format!("node {index}"),
        None => format!("node with id {node}"),
    }
}

/// Text from elsewhere, without what could play tricks on a terminal.
fn printable(text: &str) -> Cow<'_, str> {
    if !output::is_terminal() || !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}
