//! A node as a process.

use std::process::ExitCode;

use gorums::{ConfigurationBuilder, Server};
use raft::Storage;
use raft::program::{http, output, terminate};
use tso::{Defect, Options, Phase, TsoNode};

use crate::cli::args::{Connection, Serve};
use crate::cli::failure::Failure;

/// Serves until the process is asked to stop, or the disk fails.
pub(crate) async fn run(options: Serve, connection: Connection) -> Result<ExitCode, Failure> {
    let requested = terminate::requested().map_err(Failure::Runtime)?;
    let member = connection.nodes.iter().find(|(node, _)| *node == options.id);
    let address = member.map(|(_, address)| address.clone());
    let address = address.ok_or_else(|| Failure::Usage("the node is none of --nodes".into()))?;
    let tls = connection.tls()?;
    if tls.as_ref().is_some_and(|tls| tls.identity.is_none()) {
        return Err(Failure::Usage("a node with TLS needs --tls-cert and --tls-key".into()));
    }
    let connect: Box<dyn Fn(ConfigurationBuilder) -> ConfigurationBuilder + Send + Sync> = match &tls {
        Some(tls) => Box::new(tls.connector()?),
        None => Box::new(|builder| builder),
    };
    let cannot_start = |reason: String| Failure::Start { data: options.data.clone(), reason };
    let storage = Storage::in_directory(&options.data).map_err(|error| cannot_start(error.to_string()))?;
    let mut raft = raft::Options::new(options.id, address.clone());
    raft.heartbeat_interval = options.heartbeat;
    raft.election_timeout = options.election_timeout;
    let how = Options { window_ahead: options.window_ahead, ..Options::default() };
    let defect = options.below_the_floor.then_some(Defect::BelowTheFloor);
    let node = TsoNode::start(raft, storage, connect, how, defect).await;
    let node = node.map_err(|error| cannot_start(error.to_string()))?;

    let mut server = node.add_services(Server::builder(), tls.is_some(), options.allow_faults);
    if let Some(tls) = &tls {
        server = tls.accept(server)?;
    }
    let bound = server.bind(options.listen.as_ref().unwrap_or(&address)).await?;
    let handle = bound.handle();
    let http = match &options.http {
        Some(address) => {
            let failed = |error| Failure::Http { address: address.clone(), error };
            Some(http::listen(address).await.map_err(failed)?)
        }
        None => None,
    };
    output::result(&format!("listening on {}", bound.local_addr()));
    let serving = tokio::spawn(bound.serve());
    if let Some(listener) = http {
        let (oracle, phase) = (node.clone(), node.phase());
        let extras = http::Extras {
            metrics: Box::new(move || oracle.metrics()),
            serving: Box::new(move || matches!(*phase.borrow(), Phase::Serving { .. })),
        };
        tokio::spawn(http::serve(listener, node.raft().clone(), extras));
    }
    node.raft().initialize(connection.nodes.into_iter().collect()).await?;

    let failure = tokio::select! {
        () = requested => None,
        () = terminate::stdin_closed(), if options.until_stdin_closes => None,
        reason = node.raft().failed() => Some(raft::Error::Stopped(reason)),
    };
    handle.shutdown().await;
    // It was shut down, which is no failure.
    let _ = serving.await;
    node.shutdown().await;
    failure.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}
