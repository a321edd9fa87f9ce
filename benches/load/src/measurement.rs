//! One measurement: a contender in one cell, once.

mod caller;
mod calls;
mod connections;
mod marks;
#[cfg(test)]
mod tests;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::contender::{Connect, Contender, Gorums, Job, Kind, RawTcp, Tarpc, Tonic};
use crate::message::Request;
use crate::sample::Sample;
use crate::servers::Servers;
use crate::setup::{Environment, QueueOptions, Scenario, Setup, Timing};

/// All that a measurement needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) setup: Setup,
    pub(crate) timing: Timing,
    pub(crate) environment: Environment,
}

/// How long tasks may take to end once the figures are known.
const SHUTDOWN: Duration = Duration::from_millis(200);
/// What a queue of gorums holds by default.
const MESSAGES: usize = 256;
const BYTES: usize = 1 << 20;
/// What the router over TCP has by default.
const ENOUGH: usize = 1_024;
/// What goes around a payload, at most.
const OVERHEAD: usize = 128;
/// The hidden command that [`Measurement::run_apart`] gives to another process.
pub(crate) const COMMAND: &str = "measure";

impl Measurement {
    /// Measures, in a process of its own where memory is of interest: what earlier measurements have left with the
    /// allocator would hide what this one takes.
    pub(crate) fn run(&self) -> Result<Sample> {
        match self.setup.scenario {
            Scenario::Calls | Scenario::Connect => self.run_here(),
            Scenario::BlackHole | Scenario::Idle => self.run_apart(),
        }
    }

    /// Measures in this process.
    pub(crate) fn run_here(&self) -> Result<Sample> {
        match self.setup.contender {
            Kind::Gorums => self.run_as::<Gorums>(),
            Kind::Tonic => self.run_as::<Tonic>(),
            Kind::Tarpc => self.run_as::<Tarpc>(),
            Kind::RawTcp => self.run_as::<RawTcp>(),
        }
    }

    fn run_apart(&self) -> Result<Sample> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let output = Command::new(program)
            .args([COMMAND, &serde_json::to_string(self)?])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start another process of this program")?;
        ensure!(output.status.success(), "the process that measures has failed");
        serde_json::from_slice(&output.stdout).context("the process that measures has said something else")
    }

    fn run_as<C: Contender>(&self) -> Result<Sample> {
        let runtime = self.runtime().context("cannot start a runtime")?;
        let measurement = self.clone();
        // In a task, so that the main thread is idle if there are worker threads.
        let measuring = runtime.spawn(async move { measurement.measure::<C>().await });
        let sample = runtime.block_on(measuring)?;
        runtime.shutdown_timeout(SHUTDOWN);
        sample
    }

    fn runtime(&self) -> std::io::Result<Runtime> {
        match self.setup.workers {
            0 => Builder::new_current_thread().enable_all().build(),
            workers => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
        }
    }

    async fn measure<C: Contender>(&self) -> Result<Sample> {
        match self.setup.scenario {
            Scenario::Calls | Scenario::BlackHole => self.calls::<C>().await,
            Scenario::Idle => self.idle::<C>().await,
            Scenario::Connect => self.connects::<C>().await,
        }
    }

    fn job(&self) -> Job {
        let Setup { call, needed, request_bytes, reply_bytes, updates, .. } = self.setup;
        let payload = vec![7; request_bytes].into();
        let request = Request { reply_bytes: reply_bytes as u32, updates: updates as u32, payload };
        Job { call, needed, request }
    }

    /// Queues with room for all calls in flight, unless something else is asked for: a call that fails because the queue
    /// is full is no figure.
    fn queue(&self) -> QueueOptions {
        let given = self.environment.queue;
        let Setup { in_flight, request_bytes, .. } = self.setup;
        QueueOptions {
            messages: given.messages.or((in_flight > MESSAGES).then_some(in_flight.max(ENOUGH))),
            bytes: given
                .bytes
                .or(Some(in_flight * (request_bytes + OVERHEAD)).filter(|bytes| *bytes > BYTES)),
            ..given
        }
    }

    async fn client<C: Contender>(&self, servers: &Servers) -> Result<Arc<C>> {
        let connect = Connect {
            addresses: servers.addresses.clone(),
            queue: self.queue(),
            local: servers.local.clone(),
            lazy: self.setup.scenario == Scenario::BlackHole,
        };
        Ok(Arc::new(C::connect(&connect).await.context("cannot connect")?))
    }
}
