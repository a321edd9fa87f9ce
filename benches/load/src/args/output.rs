//! Where the figures go.

use std::path::PathBuf;

use clap::Args;

/// Options of the output.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write JSON to this file, or print it in place of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,
    /// Write CSV to this file, or print it in place of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", conflicts_with = "json")]
    pub(crate) csv: Option<PathBuf>,
    /// Print the table as Markdown
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub(crate) markdown: bool,
    /// Draw plots as SVG in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) svg: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
