//! One option that takes several values.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::load::LoadArgs;
use super::values::{bytes, display_bytes, positive};
use crate::plan::Plan;
use crate::setup::{Scenario, Setup};

/// Options of a sweep.
#[derive(Args, Clone, Debug)]
pub(crate) struct SweepArgs {
    /// The option that varies
    #[arg(long, value_enum)]
    pub(crate) axis: Axis,
    /// Its values, as in `1,4,16,64` [default: some that are usual for it]
    #[arg(long, value_delimiter = ',', value_name = "VALUES")]
    pub(crate) values: Vec<String>,
}

/// What can vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Axis {
    /// --nodes
    Nodes,
    /// --payload
    Payload,
    /// --in-flight
    InFlight,
    /// --clients
    Clients,
    /// --rate
    Rate,
    /// --workers
    Workers,
}

impl Axis {
    /// What is written at the axis of a plot.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Payload => "payload",
            Self::InFlight => "calls in flight",
            Self::Clients => "clients, each with connections of its own",
            Self::Rate => "calls started in a second",
            Self::Workers => "worker threads",
        }
    }

    /// The value that a measurement has.
    pub(crate) fn of(self, setup: &Setup) -> usize {
        match self {
            Self::Nodes => setup.nodes,
            Self::Payload => setup.request_bytes,
            Self::InFlight => setup.in_flight,
            Self::Clients => setup.clients,
            Self::Rate => setup.rate.unwrap_or(0) as usize,
            Self::Workers => setup.workers,
        }
    }

    /// A value, for people.
    pub(crate) fn display(self, value: usize) -> String {
        if self == Self::Payload { display_bytes(value) } else { value.to_string() }
    }

    pub(crate) fn defaults(self) -> &'static [&'static str] {
        match self {
            Self::Nodes => &["1", "3", "5", "9", "25", "100"],
            Self::Payload => &["16", "256", "1k", "4k", "16k", "64k"],
            Self::InFlight => &["1", "4", "16", "64", "256"],
            Self::Clients => &["1", "4", "16", "64"],
            Self::Rate => &["1000", "5000", "20000"],
            Self::Workers => &["0", "1", "2"],
        }
    }

    fn set(self, load: &mut LoadArgs, value: &str) -> Result<(), String> {
        match self {
            Self::Nodes => load.nodes = Some(positive(value)?),
            Self::Payload => load.payload = bytes(value)?,
            Self::InFlight => load.in_flight = Some(positive(value)?),
            Self::Clients => load.clients = positive(value)?,
            Self::Rate => load.rate = Some(positive(value)?),
            Self::Workers => load.workers = Some(value.parse().map_err(|_| "a number is needed".to_owned())?),
        }
        Ok(())
    }
}

impl SweepArgs {
    /// The measurements for every value.
    pub(crate) fn plan(&self, load: &LoadArgs) -> Result<Plan> {
        let defaults = || self.axis.defaults().iter().copied().map(str::to_owned).collect();
        let values = if self.values.is_empty() { defaults() } else { self.values.clone() };
        let mut whole: Option<Plan> = None;
        for value in values {
            let mut load = load.clone();
            if let Err(reason) = self.axis.set(&mut load, &value) {
                bail!("--values has `{value}`: {reason}");
            }
            let plan = load.plan(Scenario::Calls).with_context(|| format!("--values has `{value}`"))?;
            match &mut whole {
                Some(whole) => whole.cells.extend(plan.cells),
                None => whole = Some(plan),
            }
        }
        whole.context("--values is empty: give some, as in `--values 1,4,16`")
    }
}
