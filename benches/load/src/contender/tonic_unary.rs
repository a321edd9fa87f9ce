//! What most people do today: a generated unary client for each node.

use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint, server::TcpIncoming};

use super::{Connect, Contender, Counts, Job, enough};
use crate::message::{Reply, Request};

/// What `build.rs` generated.
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bench.Peer.rs"));
}

use generated::peer_client::PeerClient;
use generated::peer_server::{Peer, PeerServer};

const RESETS: usize = 1 << 20;

/// One client for each node.
pub(crate) struct Tonic(Vec<PeerClient<Channel>>);

struct Echo(Arc<Counts>);

#[tonic::async_trait]
impl Peer for Echo {
    async fn echo(&self, request: tonic::Request<Request>) -> Result<tonic::Response<Reply>, tonic::Status> {
        self.0.request();
        Ok(tonic::Response::new(request.into_inner().reply()))
    }
}

impl Contender for Tonic {
    async fn serve(listener: TcpListener, counts: Arc<Counts>) -> Result<()> {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        // The calls that a quorum call does not wait for are reset, and many of these look like an attack.
        let mut server =
            tonic::transport::Server::builder().http2_max_pending_accept_reset_streams(Some(RESETS));
        let server = server.add_service(PeerServer::new(Echo(counts)));
        Ok(server.serve_with_incoming(incoming).await?)
    }

    async fn connect(connect: &Connect) -> Result<Self> {
        let channels = stream::iter(connect.addresses.clone()).then(|address| async move {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
            anyhow::Ok(if connect.lazy { endpoint.connect_lazy() } else { endpoint.connect().await? })
        });
        let channels: Vec<_> = channels.collect().await;
        let clients = channels.into_iter().map(|channel| Ok(PeerClient::new(channel?)));
        Ok(Self(clients.collect::<Result<_>>()?))
    }

    async fn call(&self, job: &Job) -> Result<()> {
        let nodes = if job.call.is_to_one() { &self.0[..1] } else { &self.0[..] };
        let calls = nodes.iter().map(|client| {
            let (mut client, request) = (client.clone(), job.request.clone());
            async move { client.echo(request).await.map(|reply| reply.into_inner().payload) }
        });
        enough(job.needed, calls, job).await
    }
}
