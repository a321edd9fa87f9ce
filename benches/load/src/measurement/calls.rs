//! Callers that call for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::Measurement;
use super::caller::{Caller, Window};
use super::marks::Marks;
use crate::contender::Contender;
use crate::pace::Pacer;
use crate::recorder::{Phase, Recorder};
use crate::sample::{Latency, Sample, Second};
use crate::servers::Servers;
use crate::setup::Scenario;
use crate::usage::Usage;

/// How long the first call may take, and the calls that are open at the end.
const PATIENCE: Duration = Duration::from_secs(2);

impl Measurement {
    pub(super) async fn calls<C: Contender>(&self) -> Result<Sample> {
        let servers = Servers::start::<C>(self).await?;
        let mut clients = Vec::new();
        for _ in 0..self.setup.clients {
            clients.push(self.client::<C>(&servers).await?);
        }
        if self.setup.scenario == Scenario::Calls {
            self.try_once(&*clients[0]).await?;
        }
        let recorder = Arc::new(Recorder::new());
        let sample = self.with_callers(&servers, &clients, &recorder).await?;
        for client in &clients {
            let _ = timeout(PATIENCE, client.close()).await;
        }
        Ok(sample)
    }

    /// What fails always is to fail here, and not only to be counted.
    async fn try_once<C: Contender>(&self, client: &C) -> Result<()> {
        let job = self.job();
        let result = timeout(PATIENCE, client.call(&job)).await;
        result
            .unwrap_or_else(|_| Err(anyhow!("it takes longer than {PATIENCE:?}")))
            .context("the first call fails")
    }

    async fn with_callers<C: Contender>(
        &self,
        servers: &Servers,
        clients: &[Arc<C>],
        recorder: &Arc<Recorder>,
    ) -> Result<Sample> {
        let pacer = self.setup.rate.map(Pacer::start);
        let from = Instant::now() + self.timing.warm_up;
        let window = Window { from, until: from + self.timing.duration };
        let mut callers = JoinSet::new();
        let job = Arc::new(self.job());
        for index in 0..self.setup.callers() {
            let client = clients[index % clients.len()].clone();
            let caller = Caller { client, job: job.clone(), recorder: recorder.clone(), index };
            match &pacer {
                Some(pacer) => callers.spawn(caller.call_at_pace(pacer.pace(), window)),
                None if self.setup.pipeline > 1 => callers.spawn(caller.call_ahead(self.setup.pipeline)),
                None => callers.spawn(caller.call_all_the_time()),
            };
        }
        sleep_until(window.from.into()).await;
        let before = Marks::take(servers).await?;
        recorder.enter(Phase::Measure);
        let seconds = self.watch(recorder).await;
        let (done, after) = (recorder.done(), Marks::take(servers).await?);
        recorder.enter(Phase::Stop);
        if let Some(pacer) = &pacer {
            pacer.pace().stop();
        }
        // Calls that hang are given up.
        let _ = timeout(PATIENCE, async { while callers.join_next().await.is_some() {} }).await;
        callers.shutdown().await;
        let mut sample = after.since(&before, &self.setup, done);
        if let Some(pacer) = &pacer {
            for intended in pacer.pace().missed(window.until) {
                recorder.latency(0, intended.elapsed());
                sample.missed += 1;
            }
        }
        sample.errors = recorder.errors();
        sample.error = recorder.first_error();
        sample.latency = Latency::of(&recorder.latencies());
        sample.seconds = seconds;
        Ok(sample)
    }

    /// Waits until the time is over. With a node that does not read, what happens in each second is of interest.
    async fn watch(&self, recorder: &Recorder) -> Vec<Second> {
        let mut seconds = Vec::new();
        if self.setup.scenario != Scenario::BlackHole {
            sleep(self.timing.duration).await;
            return seconds;
        }
        let (start, mut before) = (Instant::now(), 0);
        while start.elapsed() < self.timing.duration {
            sleep(Duration::from_secs(1).min(self.timing.duration)).await;
            let done = recorder.done();
            seconds.push(Second { calls: done - before, resident_kib: Usage::resident_kib() });
            before = done;
        }
        seconds
    }
}
