//! Connections that do nothing, and connections that are made again and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};

use super::Measurement;
use super::marks::Marks;
use crate::contender::Contender;
use crate::recorder::Recorder;
use crate::sample::{Latency, Sample};
use crate::servers::Servers;
use crate::usage::Usage;

/// So that a machine does not run out of ports.
const MOST_CONNECTS: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(2);

impl Measurement {
    /// How much memory connections take that were used once. What a process needs that has any is left out.
    pub(super) async fn idle<C: Contender>(&self) -> Result<Sample> {
        let _some = self.connected::<C>().await?;
        let before = Usage::resident_kib();
        let mut clients = Vec::new();
        for _ in 0..self.setup.clients {
            clients.push(self.connected::<C>().await?);
        }
        sleep(self.timing.duration).await;
        let resident_kib = Usage::resident_kib();
        let nodes = self.setup.nodes * self.setup.clients;
        Ok(Sample {
            resident_kib: resident_kib as f64,
            kib_per_node: resident_kib.saturating_sub(before) as f64 / nodes as f64,
            ..Sample::default()
        })
    }

    /// A client that has called servers of its own once.
    async fn connected<C: Contender>(&self) -> Result<Arc<C>> {
        let servers = Servers::start::<C>(self).await?;
        let client = self.client::<C>(&servers).await?;
        client.call(&self.job()).await.context("the first call fails")?;
        Ok(client)
    }

    /// How long it takes to connect and to get a reply from every node, one client after the other.
    pub(super) async fn connects<C: Contender>(&self) -> Result<Sample> {
        let servers = Servers::start::<C>(self).await?;
        let (recorder, job) = (Recorder::new(), self.job());
        let mut before = Marks::take(&servers).await?;
        let mut start = Instant::now();
        let mut warm = false;
        while recorder.done() < MOST_CONNECTS && (!warm || start.elapsed() < self.timing.duration) {
            if !warm && start.elapsed() >= self.timing.warm_up {
                (before, start, warm) = (Marks::take(&servers).await?, Instant::now(), true);
            }
            let connecting = Instant::now();
            let client = self.client::<C>(&servers).await?;
            client.call(&job).await.context("the first call fails")?;
            if warm {
                recorder.succeeded(0, connecting.elapsed());
            }
            let _ = timeout(PATIENCE, client.close()).await;
        }
        let mut sample = Marks::take(&servers).await?.since(&before, &self.setup, recorder.done());
        sample.latency = Latency::of(&recorder.latencies());
        Ok(sample)
    }
}
