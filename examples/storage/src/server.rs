//! A server process.

use std::future::pending;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::StreamExt;
use gorums::{Configuration, Server, ServerError, System};
use tokio::net::TcpListener;

use crate::args::ServerOptions;
use crate::failure::Failure;
use crate::logging::Logs;
use crate::members::Members;
use crate::tls::Tls;
use crate::{interceptors, local, output, terminate};

/// Serves until the process is asked to stop.
pub(crate) async fn run(options: ServerOptions) -> Result<ExitCode, Failure> {
    Logs::start(options.log_level);
    // Before anybody can know that the server is there, and stop it.
    let requested = terminate::requested().map_err(Failure::Runtime)?;
    let listener = listen(&options.listen).await?;
    let address = listener.local_addr().map_err(Failure::Runtime)?;

    let own = own_address(&options, address)?;
    let server = interceptors::add(Server::builder(), &options.interceptors);
    let configuration = Configuration::builder().timeout(options.timeout);
    let bound = Members::new(&own, options.peers)
        .system()
        .server(Tls::accept(options.tls.as_ref(), server)?)
        .configuration(Tls::connect(options.tls.as_ref(), configuration)?)
        .on_listener(listener)?;
    let system = local::serve(bound);
    // The line by which others know that the server takes calls, and where.
    output::result(&format!("listening on {address}"));
    let orphaned =
        async { if options.until_stdin_closes { terminate::stdin_closed().await } else { pending().await } };
    tokio::select! {
        () = requested => {}
        () = orphaned => {}
        () = report_peers(&system) => {}
    }
    tracing::info!("stopping");
    system.stop().await?;
    Ok(ExitCode::SUCCESS)
}

async fn listen(address: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| ServerError::Bind { address: address.to_owned(), source: Arc::new(error) }.into())
}

/// Tells which members of the cluster are connected, whenever that changes.
async fn report_peers(system: &System) {
    let (size, mut changes) = (system.configuration().len(), system.peer_changes());
    while let Some(peers) = changes.next().await {
        if size > 1 {
            let ids: Vec<_> = peers.node_ids().map(|id| id.to_string()).collect();
            tracing::info!(
                "node {}: {} of {size} nodes are connected: {}",
                system.id(),
                ids.len(),
                ids.join(", ")
            );
        }
    }
    pending::<()>().await;
}

/// The address by which the peers know this server.
fn own_address(options: &ServerOptions, bound: SocketAddr) -> Result<String, Failure> {
    if let Some(address) = &options.advertise {
        return Ok(address.clone());
    }
    // As it was written, so that it can be found among the peers.
    let own = if options.listen.ends_with(":0") { bound.to_string() } else { options.listen.clone() };
    if bound.ip().is_unspecified() && !options.peers.is_empty() && !options.peers.contains(&own) {
        return Err(Failure::Usage(format!(
            "the peers cannot know this server as {own}: give the address that they use with --advertise"
        )));
    }
    Ok(own)
}
