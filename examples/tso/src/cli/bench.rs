//! What timestamps cost.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use gorums::{Configuration, Server};
use raft::Storage;
use raft::program::output::{notice, result};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tso::proto::{TimestampsRequest, TsoNodeClient};
use tso::{Client, Options, TsoNode};

use crate::cli::args::{BenchOptions, Connection};
use crate::cli::failure::Failure;
use crate::cli::local::leader;

const SECOND: Duration = Duration::from_secs(1);
/// Single calls and calls that do nothing take turns, in so many rounds.
const ROUNDS: u32 = 5;

/// Measures, and tells.
pub(crate) async fn run(options: &BenchOptions, connection: &Connection) -> Result<ExitCode, Failure> {
    let (client, cluster) = if options.in_process {
        let cluster = join_all((1..=3).map(start)).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let nodes: Vec<_> = cluster.iter().map(|(id, address, _)| (*id, address.clone())).collect();
        for (_, _, node) in &cluster {
            node.raft().initialize(nodes.iter().cloned().collect()).await?;
        }
        (Client::builder().nodes(nodes).timeout(10 * SECOND).build()?, cluster)
    } else {
        (connection.client()?, Vec::new())
    };
    client.get().await?;
    throughput(&client, options).await?;
    latency(&client, options.duration, connection).await?;
    client.close().await;
    for (_, _, node) in cluster {
        node.shutdown().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// A node in this process, on a port of its own.
async fn start(id: u32) -> Result<(u32, String, TsoNode), Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(Failure::Runtime)?;
    let address = listener.local_addr().map_err(Failure::Runtime)?.to_string();
    let storage = Storage::in_memory().map_err(Failure::Runtime)?;
    let raft = raft::Options::new(id, address.clone());
    let node = TsoNode::start(raft, storage, |builder| builder, Options::default(), None).await?;
    let accepted = futures_util::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    tokio::spawn(node.add_services(Server::builder(), false, false).on(accepted).serve());
    Ok((id, address, node))
}

#[allow(clippy::cast_precision_loss)] // No run is so long.
async fn throughput(client: &Client, options: &BenchOptions) -> Result<(), Failure> {
    let (end, granted) = (Instant::now() + options.duration, Arc::<AtomicU64>::default());
    let (begun, used) = (Instant::now(), processor_time());
    let mut callers = JoinSet::new();
    for _ in 0..options.callers {
        let (client, granted, batch) = (client.clone(), granted.clone(), options.batch);
        callers.spawn(async move {
            while Instant::now() < end {
                granted.fetch_add(client.get_batch(batch).await?.iter().count() as u64, Relaxed);
            }
            Ok::<_, tso::Error>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.map_err(|error| Failure::Runtime(error.into()))??;
    }
    let (seconds, granted) = (begun.elapsed().as_secs_f64(), granted.load(Relaxed) as f64);
    let cpu = processor_time().zip(used).map_or(String::new(), |(after, before)| {
        format!(", {:.3} us of CPU each, in this process", (after - before) * 1e6 / granted)
    });
    result(&format!(
        "{} callers of {}: {:.0} timestamps/s{cpu}",
        options.callers,
        options.batch,
        granted / seconds
    ));
    Ok(())
}

/// One call at a time: timestamps, and calls that do nothing, to the same node.
async fn latency(client: &Client, duration: Duration, connection: &Connection) -> Result<(), Failure> {
    let nobody = || Failure::Call(tso::Error::NotServing { leader: None });
    let leader = leader(client).await.ok_or_else(nobody)?;
    let address = client.nodes().into_iter().find(|(id, _)| *id == leader).ok_or_else(nobody)?.1;
    let mut bare = Configuration::builder().node(leader, address);
    if let Some(tls) = connection.tls()? {
        bare = tls.connect(bare)?;
    }
    let bare = bare.connect().await?;
    let node = bare.nodes()[0].clone();
    let (mut stamps, mut pings) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let end = Instant::now() + duration / ROUNDS / 2;
        while Instant::now() < end {
            let begun = Instant::now();
            client.get().await?;
            stamps.push(begun.elapsed());
        }
        let end = Instant::now() + duration / ROUNDS / 2;
        while Instant::now() < end {
            let begun = Instant::now();
            let ping = node.ping(TimestampsRequest { count: 1 }).await;
            if let Err(error) = ping {
                notice(&format!("a bare call failed: {error}"));
            }
            pings.push(begun.elapsed());
        }
    }
    bare.close().await;
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (stamp, ping) = (median(&mut stamps), median(&mut pings));
    result(&format!(
        "one at a time: median {:.1} us; a call that does nothing {:.1} us; ratio {:.2}",
        stamp.as_secs_f64() * 1e6,
        ping.as_secs_f64() * 1e6,
        stamp.as_secs_f64() / ping.as_secs_f64()
    ));
    Ok(())
}

/// The seconds of processor time that this process has used, where the system tells.
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may have spaces: the 12th and 13th fields, in hundredths of a second.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}
