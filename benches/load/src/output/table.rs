//! Figures as a table.

use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, Table};

use crate::args::display_bytes;
use crate::contender::Kind;
use crate::plan::Row;
use crate::sample::Sample;
use crate::setup::{Scenario, Setup};

/// How a table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Terminal,
    Markdown,
}

/// One column: what is above it, and what is in it for each row.
struct Column<'a> {
    head: &'static str,
    cell: Box<dyn Fn(&Row) -> String + 'a>,
}

/// A table of all rows. What is the same in all of them is said above it; a column `×` compares the one before it with the
/// baseline in the same cell.
pub(crate) fn table(rows: &[Row], baseline: Kind, style: Style) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let (varying, same): (Vec<_>, Vec<_>) = describing()
        .into_iter()
        .partition(|column| rows.iter().any(|row| (column.cell)(row) != (column.cell)(first)));
    let same: Vec<_> = same
        .iter()
        .map(|column| (column.head, (column.cell)(first)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(head, value)| format!("{head} {value}"))
        .collect();
    let mut columns = varying;
    columns.extend(figures(rows, baseline));

    let mut table = Table::new();
    table.load_preset(if style == Style::Markdown { ASCII_MARKDOWN } else { NOTHING });
    table.set_header(columns.iter().map(|column| column.head));
    for row in rows {
        table.add_row(columns.iter().map(|column| (column.cell)(row)));
    }
    let is_text = |head: &str| matches!(head, "contender" | "call" | "scenario");
    for (column, described) in table.column_iter_mut().zip(&columns) {
        if !is_text(described.head) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let table = match style {
        Style::Terminal => table.trim_fmt(),
        Style::Markdown => {
            align_right(&table.to_string(), columns.iter().map(|column| !is_text(column.head)))
        }
    };
    if same.is_empty() { table } else { format!("{}\n\n{table}", same.join(", ")) }
}

/// What tells the cells and the contenders apart.
fn describing() -> Vec<Column<'static>> {
    let column =
        |head, cell: fn(&Setup) -> String| Column { head, cell: Box::new(move |row: &Row| cell(&row.setup)) };
    vec![
        column("scenario", |setup| {
            match setup.scenario {
                Scenario::Calls => "",
                Scenario::BlackHole => "a node never reads",
                Scenario::Idle => "idle",
                Scenario::Connect => "connect and call",
            }
            .to_owned()
        }),
        column("contender", |setup| setup.contender.to_string()),
        column("call", |setup| setup.call.to_string()),
        column("nodes", |setup| setup.nodes.to_string()),
        column("payload", |setup| display_bytes(setup.request_bytes)),
        column("reply", |setup| {
            let is_echo = setup.reply_bytes == setup.request_bytes;
            if is_echo { String::new() } else { display_bytes(setup.reply_bytes) }
        }),
        column("in flight", |setup| setup.in_flight.to_string()),
        column("clients", |setup| if setup.clients == 1 { String::new() } else { setup.clients.to_string() }),
        column("rate", |setup| setup.rate.map_or_else(String::new, |rate| format!("{rate}/s"))),
        column("workers", |setup| setup.workers.to_string()),
        column("local node", |setup| if setup.local_node { "yes" } else { "" }.to_owned()),
    ]
}

/// What was measured, as far as it was.
fn figures(rows: &[Row], baseline: Kind) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    let mut figure = |head, digits: usize, compared: bool, value: fn(&Sample) -> f64| {
        if rows.iter().all(|row| value(&row.sample) == 0.0) {
            return;
        }
        columns.push(Column { head, cell: Box::new(move |row: &Row| number(value(&row.sample), digits)) });
        if compared && rows.iter().any(|row| base(rows, row, baseline).is_some()) {
            let ratio = move |row: &Row| {
                base(rows, row, baseline)
                    .map_or_else(String::new, |base| ratio(value(&row.sample), value(&base.sample)))
            };
            columns.push(Column { head: "×", cell: Box::new(ratio) });
        }
    };
    figure("calls/s", 0, true, |s| s.calls_per_s);
    figure("p50 µs", 1, true, |s| s.latency.p50);
    figure("p99 µs", 1, false, |s| s.latency.p99);
    figure("p99.9 µs", 1, false, |s| s.latency.p999);
    figure("CPU µs/call", 2, true, Sample::cpu_us_per_call);
    figure("user", 2, false, |s| s.user_us_per_call);
    figure("system", 2, false, |s| s.system_us_per_call);
    figure("of servers", 2, false, |s| s.cpu_us_per_call() - s.own_cpu_us_per_call());
    figure("allocations/call", 2, true, |s| s.allocations_per_call);
    figure("bytes/call", 0, false, |s| s.allocated_bytes_per_call);
    figure("KiB/node", 1, true, |s| s.kib_per_node);
    figure("MiB", 1, false, |s| s.resident_kib / 1024.0);
    figure("not started", 0, false, |s| s.missed as f64);
    figure("errors", 0, false, |s| s.errors as f64);
    if rows.iter().any(|row| !row.sample.seconds.is_empty()) {
        let seconds = |row: &Row, figure: fn(&crate::sample::Second) -> u64| {
            let figures: Vec<_> =
                row.sample.seconds.iter().map(|second| figure(second).to_string()).collect();
            figures.join(" ")
        };
        let calls = move |row: &Row| seconds(row, |second| second.calls / 1_000);
        columns.push(Column { head: "1,000 calls in each second", cell: Box::new(calls) });
        let memory = move |row: &Row| seconds(row, |second| second.resident_kib / 1_024);
        columns.push(Column { head: "MiB after it", cell: Box::new(memory) });
    }
    columns
}

/// The row of the baseline in the same cell.
fn base<'a>(rows: &'a [Row], row: &Row, baseline: Kind) -> Option<&'a Row> {
    rows.iter().find(|other| other.setup.contender == baseline && other.setup.is_same_cell(&row.setup))
}

fn ratio(value: f64, base: f64) -> String {
    match value / base {
        ratio if !ratio.is_finite() => String::new(),
        ratio if ratio >= 10.0 => number(ratio, 0),
        ratio => number(ratio, 2),
    }
}

/// A number with commas between thousands.
fn number(value: f64, digits: usize) -> String {
    let digits = if value.abs() >= 1_000.0 { 0 } else { digits };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// Says in the second line of a Markdown table which columns are aligned to the right.
fn align_right(markdown: &str, right: impl Iterator<Item = bool>) -> String {
    let rule: String = right.map(|right| if right { "--:|" } else { "---|" }).collect();
    let mut lines: Vec<_> = markdown.lines().map(|line| line.trim_end().to_owned()).collect();
    if let Some(line) = lines.get_mut(1) {
        *line = format!("|{rule}");
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let shown = [(0.0, 2), (12.345, 1), (999.9, 1), (1_234.5, 1), (1_234_567.0, 0), (-1_234.0, 0)];
        let shown = shown.map(|(value, digits)| number(value, digits));
        assert_eq!(shown, ["0.00", "12.3", "999.9", "1,234", "1,234,567", "-1,234"]);
        assert_eq!([ratio(1.0, 0.0), ratio(3.0, 2.0), ratio(99.0, 2.0)], ["", "1.50", "50"]);
    }
}
