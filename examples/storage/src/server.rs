//! A server process.

use std::future::pending;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use gorums::Server;

use crate::args::ServerOptions;
use crate::failure::Failure;
use crate::logging::Logs;
use crate::members::Members;
use crate::proto::StorageServer;
use crate::service::Replica;
use crate::{output, terminate};

/// Serves until the process is asked to stop.
pub(crate) async fn run(options: ServerOptions) -> Result<ExitCode, Failure> {
    Logs::start(options.log_level);
    // Before anybody can know that the server is there, and stop it.
    let requested = terminate::requested().map_err(Failure::Runtime)?;
    let replica = Arc::new(Replica::default());
    let service = StorageServer::from_arc(replica.clone());
    let server = Server::builder().add_service(service).bind(options.listen.as_str()).await?;
    let address = server.local_addr();

    let own = own_address(&options, address)?;
    Members::new(&own, options.peers).introduce_to(&replica, options.timeout)?;
    // The line by which others know that the server takes calls, and where.
    output::result(&format!("listening on {address}"));
    let orphaned =
        async { if options.until_stdin_closes { terminate::stdin_closed().await } else { pending().await } };
    let stop = async {
        tokio::select! {
            () = requested => {}
            () = orphaned => {}
        }
        tracing::info!("stopping");
    };
    server.serve_with_shutdown(stop).await?;
    Ok(ExitCode::SUCCESS)
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
