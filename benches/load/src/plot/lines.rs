//! Lines: how a figure changes along an axis, for each contender and call type.

use super::canvas::colour_of;
use super::chart::{Chart, Line, Scale};
use super::{label, scale};
use crate::args::Axis;
use crate::plan::Row;
use crate::sample::Sample;
use anyhow::Result;

/// What is drawn over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Rate,
    Cpu,
    Median,
    Tail,
}

impl Figure {
    pub(crate) const ALL: [Self; 4] = [Self::Rate, Self::Cpu, Self::Median, Self::Tail];

    /// The name of its file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Cpu => "cpu",
            Self::Median => "p50",
            Self::Tail => "p99",
        }
    }

    /// What it is, in words.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Rate => "Calls a second",
            Self::Cpu => "CPU time of a call, client and servers together",
            Self::Median => "Latency, median",
            Self::Tail => "Latency, 99th percentile",
        }
    }

    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Rate => sample.calls_per_s,
            Self::Cpu => sample.cpu_us_per_call(),
            Self::Median => sample.latency.p50,
            Self::Tail => sample.latency.p99,
        }
    }

    fn display(self, value: f64) -> String {
        if self == Self::Rate { scale::count(value) } else { scale::time(value) }
    }
}

/// A figure over an axis whose values are drawn at equal distances, with a logarithmic scale upwards.
pub(crate) fn sweep(figure: Figure, axis: Axis, rows: &[Row]) -> Result<String> {
    let mut values: Vec<usize> = rows.iter().map(|row| axis.of(&row.setup)).collect();
    values.sort_unstable();
    values.dedup();
    let last = values.len().saturating_sub(1) as f64;
    let ticks =
        values.iter().enumerate().map(|(index, value)| (index as f64, axis.display(*value))).collect();
    let lines = lines(figure, axis, &values, rows);
    let points = lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let chart = Chart {
        title: figure.title(),
        x_title: axis.title(),
        x: Scale { from: -0.15, to: last + 0.15, ticks },
        y: Scale::logarithmic(points, |value| figure.display(value)),
        lines,
    };
    chart.svg()
}

fn lines(figure: Figure, axis: Axis, values: &[usize], rows: &[Row]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let Ok(index) = values.binary_search(&axis.of(&row.setup)) else { continue };
        let (label, point) = (label(row, rows), (index as f64, figure.of(&row.sample)));
        if point.1 <= 0.0 {
            continue;
        }
        match lines.iter_mut().find(|line| line.label == label) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                label,
                colour: colour_of(row, rows, lines.len()),
                points: vec![point],
                has_dots: true,
            }),
        }
    }
    lines
}
