//! One server process for each address.

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use gorums::Configuration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::ClusterOptions;
use crate::failure::Failure;
use crate::tls::Tls;
use crate::{output, terminate};

/// How long a server may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the servers, and stops them when the process is asked to stop.
pub(crate) async fn run(options: ClusterOptions) -> Result<ExitCode, Failure> {
    // Finds bad addresses before anything is started.
    drop(Configuration::builder().nodes(&options.addresses).connect_lazy()?);
    let requested = terminate::requested().map_err(Failure::Runtime)?;
    let servers = start(&options).await?;
    announce(&servers, &options.addresses);

    let mut running = JoinSet::new();
    let mut lifelines = Vec::new();
    for Server { address, mut child, lifeline, .. } in servers {
        lifelines.push(lifeline);
        running.spawn(async move { (address, child.wait().await) });
    }
    let mut requested = std::pin::pin!(requested);
    loop {
        tokio::select! {
            () = &mut requested => break,
            ended = running.join_next() => match ended {
                Some(Ok((address, status))) => report_end(&address, status),
                Some(Err(_)) => {}
                None => return Err(Failure::NoServersLeft),
            }
        }
    }
    output::notice("stopping the servers");
    drop(lifelines);
    // What has not ended by then is killed, with its handle.
    let _ = timeout(PATIENCE, running.join_all()).await;
    Ok(ExitCode::SUCCESS)
}

/// A server process.
struct Server {
    address: String,
    child: Child,
    /// The process ends when this does.
    lifeline: Option<ChildStdin>,
}

/// Starts all servers and waits until each takes calls. If one does not, the others are killed.
async fn start(options: &ClusterOptions) -> Result<Vec<Server>, Failure> {
    let mut starting = JoinSet::new();
    for (index, address) in options.addresses.iter().enumerate() {
        let (address, arguments) = (address.clone(), arguments(address, options));
        starting.spawn(async move { start_one(address, arguments).await.map(|server| (index, server)) });
    }
    let mut servers = Vec::with_capacity(options.addresses.len());
    while let Some(started) = starting.join_next().await {
        match started {
            Ok(started) => servers.push(started?),
            Err(error) => return Err(Failure::Runtime(error.into())),
        }
    }
    servers.sort_by_key(|(index, _)| *index);
    Ok(servers.into_iter().map(|(_, server)| server).collect())
}

fn arguments(address: &str, options: &ClusterOptions) -> Vec<OsString> {
    let timeout = format!("{}ms", options.timeout.as_millis());
    let peers = options.addresses.join(",");
    let mut arguments: Vec<OsString> = ["--until-stdin-closes", "--listen", address, "--peers", &peers]
        .into_iter()
        .chain(["--timeout", &timeout])
        .map(OsString::from)
        .collect();
    if !options.interceptors.is_empty() {
        let names = options.interceptors.iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
        arguments.extend(["--interceptors".into(), names.join(",").into()]);
    }
    arguments.extend(options.tls.iter().flat_map(Tls::arguments));
    arguments.extend((0..options.verbose).map(|_| "--verbose".into()));
    arguments.extend((0..options.quiet).map(|_| "--quiet".into()));
    arguments
}

async fn start_one(address: String, arguments: Vec<OsString>) -> Result<Server, Failure> {
    let failed = |reason: String| Failure::Spawn { address: address.clone(), reason };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let lifeline = child.stdin.take();
    let mut said = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
    let ready = async {
        match &mut said {
            Some(lines) => matches!(lines.next_line().await, Ok(Some(_))),
            None => false,
        }
    };
    match timeout(PATIENCE, ready).await {
        Ok(true) => Ok(Server { address, child, lifeline }),
        Ok(false) => {
            let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
            Err(failed(status.to_string()))
        }
        Err(_) => Err(failed(format!("it was not ready after {PATIENCE:?}"))),
    }
}

fn announce(servers: &[Server], addresses: &[String]) {
    output::result(&format!("{} servers are up:", servers.len()));
    for (index, Server { address, child, .. }) in servers.iter().enumerate() {
        let pid = child.id().map_or_else(|| "gone".to_owned(), |pid| pid.to_string());
        output::result(&format!("  node {}  {address}  pid {pid}", index + 1));
    }
    let program = std::env::args().next().unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned());
    output::result(&format!("Talk to them with:\n  {program} --connect {}", addresses.join(",")));
    output::result("Ctrl-C stops them.");
}

fn report_end(address: &str, status: std::io::Result<ExitStatus>) {
    match status {
        Ok(status) => output::notice(&format!("the server at {address} has ended: {status}")),
        Err(error) => output::notice(&format!("the server at {address} is lost: {error}")),
    }
}
