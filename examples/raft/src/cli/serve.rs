//! A node as a process.

use std::process::ExitCode;

use gorums::{ConfigurationBuilder, Server};
use raft::program::{http, output, terminate};
use raft::{NoApplication, Node, Options, Storage};

use crate::cli::config::{Connection, Serve};
use crate::cli::failure::Failure;

/// Serves until the process is asked to stop, or the disk fails.
pub(crate) async fn run(options: Serve, connection: Connection) -> Result<ExitCode, Failure> {
    let requested = terminate::requested().map_err(Failure::Runtime)?;
    let usage = |text: &str| Failure::Usage(text.to_owned());
    let id = options.id.ok_or_else(|| usage("which node is this? give --id"))?;
    let data = options.data.as_ref().ok_or_else(|| usage("where is the data to be kept? give --data"))?;
    let member = connection.nodes.iter().find(|(node, _)| *node == id).map(|(_, address)| address);
    let address = options.join.as_ref().or(member);
    let address =
        address.ok_or_else(|| usage("the node is none of --nodes; to be added to a cluster, give --join"))?;
    let tls = connection.tls()?;
    if tls.as_ref().is_some_and(|tls| tls.identity.is_none()) {
        return Err(usage("a node with TLS needs --tls-cert and --tls-key"));
    }
    let connect: Box<dyn Fn(ConfigurationBuilder) -> ConfigurationBuilder + Send + Sync> = match &tls {
        Some(tls) => Box::new(tls.connector()?),
        None => Box::new(|builder| builder),
    };

    let cannot_start = |reason: String| Failure::Start { data: data.clone(), reason };
    let storage = Storage::in_directory(data).map_err(|error| cannot_start(error.to_string()))?;
    let node = Node::start(node_options(id, address, &options, &connection), storage, connect, NoApplication)
        .await
        .map_err(|error| cannot_start(error.to_string()))?;
    let mut server = node.add_services(Server::builder(), tls.is_some());
    if let Some(tls) = &tls {
        server = tls.accept(server)?;
    }
    let bound = server.bind(options.listen.as_ref().unwrap_or(address)).await?;
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
        tokio::spawn(http::serve(listener, node.clone(), http::Extras::default()));
    }
    if options.join.is_none() {
        node.initialize(connection.nodes.into_iter().collect()).await?;
    }

    let failure = tokio::select! {
        () = requested => None,
        () = terminate::stdin_closed(), if options.until_stdin_closes => None,
        reason = node.failed() => Some(raft::Error::Stopped(reason)),
    };
    handle.shutdown().await;
    // It was shut down, which is no failure.
    let _ = serving.await;
    node.shutdown().await;
    failure.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

fn node_options(id: u32, address: &str, serve: &Serve, connection: &Connection) -> Options {
    let mut options = Options::new(id, address);
    let set = |field: &mut std::time::Duration, value: Option<std::time::Duration>| {
        *field = value.unwrap_or(*field);
    };
    set(&mut options.heartbeat_interval, serve.heartbeat);
    set(&mut options.election_timeout, serve.election_timeout);
    set(&mut options.call_timeout, connection.timeout);
    options.max_calls = serve.max_calls.unwrap_or(options.max_calls);
    options.compact_every = serve.compact_every.unwrap_or(options.compact_every);
    options.keep_entries = options.keep_entries.min(options.compact_every);
    options
}
