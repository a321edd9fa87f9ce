//! What is shown of a configuration: a row for each node, with its latest latencies as bars.

use std::time::Duration;

use gorums::{ConfigurationStats, NodeReport, NodeState};
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Row, Table};

use crate::history::History;

/// Values that are kept for the bars.
const KEPT: usize = 120;
const COLUMNS: [(&str, Constraint); 9] = [
    ("node", Constraint::Length(4)),
    ("address", Constraint::Min(14)),
    ("state", Constraint::Length(11)),
    ("latency", Constraint::Length(8)),
    ("", Constraint::Length(24)),
    ("queue", Constraint::Length(12)),
    ("dropped", Constraint::Length(8)),
    ("dials", Constraint::Length(5)),
    ("last error", Constraint::Fill(2)),
];

/// A configuration over time.
#[derive(Debug)]
pub(crate) struct View {
    latest: Option<ConfigurationStats>,
    histories: Vec<History>,
}

impl View {
    /// A view of so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self { latest: None, histories: (0..nodes).map(|_| History::new(KEPT)).collect() }
    }

    /// Takes in how the nodes are now.
    pub(crate) fn look(&mut self, stats: &ConfigurationStats) {
        for (history, node) in self.histories.iter_mut().zip(&stats.nodes) {
            history.push(latency(node).filter(|_| node.state == NodeState::Connected));
        }
        self.latest = Some(stats.clone());
    }

    /// Draws what was seen last.
    pub(crate) fn draw(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(stats) = &self.latest else { return };
        // All nodes have one scale, so that a slow one is seen as such.
        let longest = self.histories.iter().map(History::longest).max().unwrap_or_default();
        let rows = stats.nodes.iter().zip(&self.histories).map(|(node, history)| row(node, history, longest));
        let header = Row::new(COLUMNS.map(|(name, _)| name)).style(Modifier::BOLD);
        let table = Table::new(rows, COLUMNS.map(|(_, width)| width)).header(header);
        frame.render_widget(
            table.block(Block::bordered().title(title(stats)).title_bottom(" q to quit ")),
            area,
        );
    }
}

fn title(stats: &ConfigurationStats) -> Line<'static> {
    let connected = stats.nodes.iter().filter(|node| node.state == NodeState::Connected).count();
    let style = if connected == stats.nodes.len() { Color::Green } else { Color::Red };
    Line::from(vec![
        Span::raw(" gorums "),
        Span::styled(format!("{connected} of {} nodes connected", stats.nodes.len()), style),
        Span::raw(format!(", {} calls in flight ", stats.pending)),
    ])
}

/// That of calls, if there were any; else that of pings.
fn latency(node: &NodeReport) -> Option<Duration> {
    node.stats.latency.or(node.stats.ping)
}

fn row<'a>(node: &NodeReport, history: &History, longest: Duration) -> Row<'a> {
    let (state, color) = match node.state {
        NodeState::Connected => ("connected", Color::Green),
        NodeState::Unreachable => ("unreachable", Color::Red),
        NodeState::Closed => ("closed", Color::DarkGray),
        _ => ("idle", Color::Yellow),
    };
    let queue = node.stats.queue;
    let waiting = if queue.queued == 0 {
        "-".to_owned()
    } else {
        format!("{} ({})", queue.queued, bytes(queue.queued_bytes))
    };
    let worry = |bad: bool| if bad { Style::from(Color::Red) } else { Style::new() };
    Row::new([
        Cell::from(node.id.to_string()),
        Cell::from(node.address.clone()),
        Cell::from(state).style(color),
        Cell::from(latency(node).map_or_else(|| "-".to_owned(), time)),
        Cell::from(history.bars(24, longest)).style(Color::Cyan),
        Cell::from(waiting).style(worry(queue.queued > 0)),
        Cell::from(queue.dropped.to_string()).style(worry(queue.dropped > 0)),
        Cell::from(node.stats.connections.to_string()),
        Cell::from(node.last_error.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)),
    ])
}

fn time(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 1.0 { format!("{:.0} µs", millis * 1e3) } else { format!("{millis:.1} ms") }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod picture;

#[cfg(test)]
mod tests {
    use gorums::Configuration;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    /// What is on a screen of this size.
    fn drawn(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame, frame.area())).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        (0..height).map(row).collect()
    }

    fn stats(configuration: &Configuration) -> ConfigurationStats {
        let mut stats = configuration.stats();
        stats.pending = 7;
        stats.nodes[0].state = NodeState::Connected;
        stats.nodes[0].stats.ping = Some(Duration::from_micros(80));
        stats.nodes[0].stats.latency = Some(Duration::from_micros(120));
        stats.nodes[1].state = NodeState::Unreachable;
        stats.nodes[1].stats.queue.queued = 17;
        stats.nodes[1].stats.queue.queued_bytes = 2_120;
        stats.nodes[1].stats.queue.dropped = 3;
        stats.nodes[1].last_error = Some(gorums::NodeErrorKind::ConnectionLost);
        stats
    }

    #[tokio::test]
    async fn a_row_for_each_node() {
        let configuration =
            Configuration::builder().nodes(["10.0.0.1:80", "10.0.0.2:80"]).connect_lazy().unwrap();
        let mut view = View::new(2);
        for _ in 0..3 {
            view.look(&stats(&configuration));
        }
        let screen = drawn(&view, 160, 6);
        assert!(screen[0].contains("gorums 1 of 2 nodes connected, 7 calls in flight"), "{screen:#?}");
        for text in ["1    10.0.0.1:80", "connected", "120 µs", "███ "] {
            assert!(screen[2].contains(text), "{text}: {screen:#?}");
        }
        for text in ["2    10.0.0.2:80", "unreachable", "17 (2 KiB)", " 3 ", "the connection broke after"] {
            assert!(screen[3].contains(text), "{text}: {screen:#?}");
        }
        configuration.close().await;
    }

    /// Whatever the terminal is, it is drawn.
    #[tokio::test]
    async fn small_screens_and_many_nodes() {
        let addresses = (1..=100).map(|node| format!("10.0.0.{node}:80"));
        let configuration = Configuration::builder().nodes(addresses).connect_lazy().unwrap();
        let mut view = View::new(100);
        for (width, height) in [(1, 1), (10, 3), (80, 24), (300, 200)] {
            drawn(&view, width, height);
            view.look(&configuration.stats());
            drawn(&view, width, height);
        }
        configuration.close().await;
    }
}
