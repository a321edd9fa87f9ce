//! The report.

use std::path::PathBuf;

use clap::Args;

/// Options of the report.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReportArgs {
    /// Measure as little as possible, to see whether all of it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these sections, by name
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Where the plots, the tables and the figures as JSON go
    #[arg(long, value_name = "DIRECTORY", default_value = "docs/performance")]
    pub(crate) out: PathBuf,
    /// The page whose tables are replaced, between `<!-- figures: NAME -->` and `<!-- end -->`. Tables for which it has no
    /// place become files of their own
    #[arg(long, value_name = "FILE", default_value = "docs/performance.md")]
    pub(crate) page: PathBuf,
    /// Measure nothing, and use the figures that an earlier report has left in its directory
    #[arg(long)]
    pub(crate) redraw: bool,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
