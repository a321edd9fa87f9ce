//! Plots of what was measured, as SVG.

mod bars;
mod canvas;
mod chart;
mod distribution;
mod lines;
mod scale;

use std::path::Path;

use anyhow::{Context, Result};

pub(crate) use self::bars::comparison;
pub(crate) use self::distribution::distribution;
pub(crate) use self::lines::{Figure, sweep};
use crate::args::Axis;
use crate::contender::Kind;
use crate::plan::Row;

/// Draws what rows have to show in a directory: along the axis of a sweep, or side by side.
pub(crate) fn draw(rows: &[Row], axis: Option<Axis>, baseline: Kind, directory: &Path) -> Result<()> {
    let Some(axis) = axis else {
        save(directory, "comparison", &comparison(rows, baseline)?)?;
        return save(directory, "latency", &distribution("Latency", rows)?);
    };
    for figure in Figure::ALL {
        save(directory, figure.name(), &sweep(figure, axis, rows)?)?;
    }
    Ok(())
}

/// Writes a plot in a directory, which is made if it is not there.
pub(crate) fn save(directory: &Path, name: &str, svg: &str) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let file = directory.join(name).with_extension("svg");
    std::fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))
}

/// What a row is called beside others: what tells it apart from them.
fn label(row: &Row, rows: &[Row]) -> String {
    let setup = &row.setup;
    let mut parts = Vec::new();
    let varies = |differs: &dyn Fn(&Row) -> bool| rows.iter().any(differs);
    if varies(&|other| other.setup.contender != setup.contender) {
        parts.push(setup.contender.to_string());
    }
    if varies(&|other| other.setup.call != setup.call) {
        parts.push(setup.call.to_string());
    }
    if varies(&|other| other.setup.rate != setup.rate) {
        parts.push(setup.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate}/s")));
    }
    if parts.is_empty() { setup.contender.to_string() } else { parts.join(", ") }
}
