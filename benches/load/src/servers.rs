//! The servers of one measurement: some that are started for it, or some that run already.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::contender::{Contender, Counts, Kind};
use crate::measurement::Measurement;
use crate::setup::Scenario;
use crate::statistics::{ServerUsage, UsageReader};

/// The servers.
pub(crate) struct Servers {
    /// Of all but the node that is in this process.
    pub(crate) addresses: Vec<String>,
    /// What is counted at the node that is in this process.
    pub(crate) local: Option<Arc<Counts>>,
    /// What is counted at those that were started here, and that read what they get.
    counts: Vec<Arc<Counts>>,
    statistics: Option<UsageReader>,
}

impl Servers {
    /// Starts servers, unless there are some.
    pub(crate) async fn start<C: Contender>(measurement: &Measurement) -> Result<Self> {
        let setup = &measurement.setup;
        let remotes = &measurement.environment.remotes;
        let local = setup.local_node.then(Arc::<Counts>::default);
        let others = setup.nodes - usize::from(setup.local_node);
        if !remotes.is_empty() {
            let addresses = remotes[..others].to_vec();
            let statistics = match setup.contender {
                Kind::Gorums => Some(UsageReader::connect(&addresses).await?),
                _ => None,
            };
            return Ok(Self { addresses, local, counts: Vec::new(), statistics });
        }
        let mut servers = Self { addresses: Vec::new(), counts: Vec::new(), statistics: None, local };
        servers.counts.extend(servers.local.clone());
        for index in 0..others {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
            servers.addresses.push(listener.local_addr()?.to_string());
            if setup.scenario == Scenario::BlackHole && index + 1 == others {
                tokio::spawn(accept_only(listener));
            } else {
                let counts = Arc::<Counts>::default();
                servers.counts.push(counts.clone());
                tokio::spawn(C::serve(listener, counts));
            }
        }
        Ok(servers)
    }

    /// What servers in other processes say that they have used.
    pub(crate) async fn usage(&self) -> Result<Vec<ServerUsage>> {
        match &self.statistics {
            Some(statistics) => statistics.fetch().await,
            None => Ok(Vec::new()),
        }
    }

    /// How many requests each server has got, in this process.
    pub(crate) fn requests(&self) -> Vec<u64> {
        self.counts.iter().map(|counts| counts.requests()).collect()
    }
}

/// A node that looks alive and never reads.
async fn accept_only(listener: TcpListener) {
    let mut open = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        open.push(stream);
    }
}
