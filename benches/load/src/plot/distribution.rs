//! How latencies are distributed: the part of the calls against the time within which they ended.

use anyhow::Result;

use super::canvas::colour_of;
use super::chart::{Chart, Line, Scale};
use super::{label, scale};
use crate::plan::Row;

/// The latencies of all rows. To the right, each step is a tenth of the calls before: 90 %, 99 %, 99.9 %.
pub(crate) fn distribution(title: &str, rows: &[Row]) -> Result<String> {
    let rows: Vec<Row> =
        rows.iter().filter(|row| !row.sample.latency.quantiles.is_empty()).cloned().collect();
    let all = || rows.iter().flat_map(|row| &row.sample.latency.quantiles);
    let furthest = all().map(|quantile| nines(quantile.part)).fold(1.0, f64::max);
    let line = |(index, row): (usize, &Row)| Line {
        label: label(row, &rows),
        colour: colour_of(row, &rows, index),
        points: row
            .sample
            .latency
            .quantiles
            .iter()
            .map(|quantile| (nines(quantile.part), quantile.us))
            .collect(),
        has_dots: false,
    };
    let chart = Chart {
        title,
        x_title: "part of the calls that took at most so long",
        x: Scale { from: 0.0, to: furthest, ticks: ticks(furthest) },
        y: Scale::logarithmic(all().map(|quantile| quantile.us), scale::time),
        lines: rows.iter().enumerate().map(line).collect(),
    };
    chart.svg()
}

/// 1 for 90 %, 2 for 99 %, and so on.
fn nines(part: f64) -> f64 {
    -(1.0 - part).log10()
}

/// 50, 90, 99 % and so on.
fn ticks(furthest: f64) -> Vec<(f64, String)> {
    let whole = (1..=furthest as i32).map(f64::from);
    let all = [nines(0.5)].into_iter().chain(whole);
    all.map(|nines| (nines, percent(1.0 - 10_f64.powf(-nines)))).collect()
}

fn percent(part: f64) -> String {
    let text = format!("{:.4}", part * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_shown_as_percents() {
        assert_eq!(
            [0.0, 0.5, 0.9, 0.999, 0.999_99].map(percent),
            ["0 %", "50 %", "90 %", "99.9 %", "99.999 %"]
        );
        assert_eq!(ticks(3.2).len(), 4);
    }
}
