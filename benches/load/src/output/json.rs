//! Figures as JSON.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::plan::Row;

/// All that was measured, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

pub(super) fn json(rows: &[Row]) -> Result<String> {
    let document = Document { machine: Machine::this(), rows: rows.to_vec() };
    Ok(serde_json::to_string_pretty(&document)?)
}
