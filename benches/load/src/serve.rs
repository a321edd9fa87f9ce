//! Servers for other processes to call.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal;
use tokio::task::JoinSet;

use crate::contender::{Contender, Counts, Gorums, Kind, RawTcp, Tarpc, Tonic};
use crate::output;

/// Serves on all addresses until it is interrupted.
pub(crate) fn serve(addresses: &[String], contender: Kind, workers: Option<usize>) -> Result<()> {
    let mut builder = match workers {
        Some(0) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if let Some(workers @ 1..) = workers {
        builder.worker_threads(workers);
    }
    let runtime = builder.enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        match contender {
            Kind::Gorums => serve_as::<Gorums>(addresses).await,
            Kind::Tonic => serve_as::<Tonic>(addresses).await,
            Kind::Tarpc => serve_as::<Tarpc>(addresses).await,
            Kind::RawTcp => serve_as::<RawTcp>(addresses).await,
        }
    })
}

async fn serve_as<C: Contender>(addresses: &[String]) -> Result<()> {
    let mut servers = JoinSet::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen on `{address}`"))?;
        // With port 0, the port that was chosen.
        output::print(&format!("serving on {}", listener.local_addr()?))?;
        servers.spawn(C::serve(listener, Arc::<Counts>::default()));
    }
    tokio::select! {
        interrupted = signal::ctrl_c() => interrupted.context("cannot wait for an interrupt"),
        ended = servers.join_next() => match ended {
            Some(ended) => ended?.context("a server has ended"),
            None => bail!("there is nothing to serve"),
        },
    }
}
