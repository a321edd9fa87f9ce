//! tarpc over TCP with bincode: a client for each node.

use std::sync::Arc;

use anyhow::Result;
use futures_util::StreamExt;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::{Framed, LengthDelimitedCodec};
use tarpc::{client, context, serde_transport};
use tokio::net::{TcpListener, TcpStream};

use super::{Connect, Contender, Counts, Job, enough};
use crate::message::{MAX_REPLY, Reply, Request};

#[tarpc::service]
trait Node {
    async fn echo(request: Request) -> Reply;
}

#[derive(Clone)]
struct Echo(Arc<Counts>);

impl Node for Echo {
    async fn echo(self, _: context::Context, request: Request) -> Reply {
        self.0.request();
        request.reply()
    }
}

/// One client for each node.
pub(crate) struct Tarpc(Vec<NodeClient>);

impl Contender for Tarpc {
    async fn serve(listener: TcpListener, counts: Arc<Counts>) -> Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            let transport = serde_transport::new(framed(stream), Bincode::default());
            let requests = BaseChannel::with_defaults(transport).execute(Echo(counts.clone()).serve());
            tokio::spawn(requests.for_each(async |handler| {
                tokio::spawn(handler);
            }));
        }
    }

    async fn connect(connect: &Connect) -> Result<Self> {
        let mut clients = Vec::new();
        for address in &connect.addresses {
            let transport =
                serde_transport::new(framed(TcpStream::connect(address).await?), Bincode::default());
            clients.push(NodeClient::new(client::Config::default(), transport).spawn());
        }
        Ok(Self(clients))
    }

    async fn call(&self, job: &Job) -> Result<()> {
        let nodes = if job.call.is_to_one() { &self.0[..1] } else { &self.0[..] };
        let calls = nodes.iter().map(|client| async {
            let reply = client.echo(context::current(), job.request.clone()).await;
            reply.map(|reply| reply.payload)
        });
        enough(job.needed, calls, job).await
    }
}

fn framed(stream: TcpStream) -> Framed<TcpStream, LengthDelimitedCodec> {
    // Without it the connection still works, only slower.
    let _ = stream.set_nodelay(true);
    let codec = LengthDelimitedCodec::builder().max_frame_length(2 * MAX_REPLY).new_codec();
    Framed::new(stream, codec)
}
