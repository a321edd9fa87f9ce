//! Which measurements are made, in which order, and what comes out.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::contender::Kind;
use crate::measurement::Measurement;
use crate::output::Progress;
use crate::sample::{Sample, median};
use crate::setup::{Environment, Setup, Timing};

/// Cells, each of which is measured in rounds in which the contenders take turns.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The contender in them stands for all.
    pub(crate) cells: Vec<Setup>,
    pub(crate) contenders: Vec<Kind>,
    pub(crate) baseline: Kind,
    pub(crate) timing: Timing,
    pub(crate) rounds: usize,
    pub(crate) environment: Environment,
}

/// The medians of one contender in one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) setup: Setup,
    pub(crate) sample: Sample,
    /// The rounds that did not fail.
    pub(crate) rounds: usize,
}

impl Plan {
    /// Measures everything. What fails is told and left out.
    ///
    /// # Errors
    ///
    /// Everything has failed.
    pub(crate) fn run(&self, progress: &Progress) -> Result<Vec<Row>> {
        let cells = self.cells.iter().map(|cell| self.contending(cell));
        let rows: Vec<Row> = cells.flat_map(|setups| self.rounds(&setups, progress)).collect();
        if rows.is_empty() {
            bail!("every measurement has failed");
        }
        Ok(rows)
    }

    /// How many measurements are made.
    pub(crate) fn measurements(&self) -> usize {
        self.cells.iter().map(|cell| self.contending(cell).len()).sum::<usize>() * self.rounds
    }

    /// The cell, once for each contender that can do it.
    fn contending(&self, cell: &Setup) -> Vec<Setup> {
        let able = self.contenders.iter().filter(|contender| contender.can_do(cell));
        able.map(|&contender| Setup { contender, ..cell.clone() }).collect()
    }

    fn rounds(&self, setups: &[Setup], progress: &Progress) -> Vec<Row> {
        let mut samples = vec![Vec::new(); setups.len()];
        for _ in 0..self.rounds {
            for (setup, samples) in setups.iter().zip(&mut samples) {
                progress.now(setup);
                match self.measure(setup) {
                    Ok(sample) => samples.push(sample),
                    Err(error) => progress.note(&format!("{setup}: {error:#}")),
                }
                progress.step();
            }
        }
        let row = |(setup, samples): (&Setup, Vec<Sample>)| {
            let sample = median(&samples)?;
            if let Some(error) = &sample.error {
                progress.note(&format!("{setup}: {} errors, the first: {error}", sample.errors));
            }
            Some(Row { setup: setup.clone(), sample, rounds: samples.len() })
        };
        setups.iter().zip(samples).filter_map(row).collect()
    }

    fn measure(&self, setup: &Setup) -> Result<Sample> {
        let (timing, environment) = (self.timing, self.environment.clone());
        Measurement { setup: setup.clone(), timing, environment }.run()
    }
}
