//! What the program says: figures to stdout or files, all else to stderr.

mod csv;
mod json;
mod progress;
mod table;

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};

pub(crate) use self::progress::Progress;
pub(crate) use self::table::{Style, table};
use crate::args::{Axis, OutputArgs};
use crate::contender::Kind;
use crate::plan::Row;
use crate::plot;

/// Writes figures where the options say, and draws them, over the axis that varied if one did.
pub(crate) fn emit(rows: &[Row], axis: Option<Axis>, baseline: Kind, output: &OutputArgs) -> Result<()> {
    if let Some(file) = &output.json {
        write(file, &json::json(rows)?)?;
    }
    if let Some(file) = &output.csv {
        write(file, &csv::csv(rows)?)?;
    }
    if let Some(directory) = &output.svg {
        plot::draw(rows, axis, baseline, directory)?;
    }
    let is_taken = [&output.json, &output.csv].into_iter().flatten().any(|file| file == Path::new("-"));
    if !is_taken {
        let style = if output.markdown { Style::Markdown } else { Style::Terminal };
        print(&table(rows, baseline, style))?;
    }
    Ok(())
}

/// Writes a line, or several, to stdout. That nobody reads any more is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// Writes a line to stderr.
pub(crate) fn notice(line: &str) {
    // There is no other place to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn write(file: &Path, text: &str) -> Result<()> {
    if file == Path::new("-") {
        return print(text);
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
