//! This project.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use gorums::{
    Configuration, Incoming, Overflow, QueueLimits, Replies, Server, ServerContext, Status, Updates,
};
use tokio::net::TcpListener;

use super::{Connect, Contender, Counts, Job, check};
use crate::call_type::CallType;
use crate::message::{Reply, Request};
use crate::statistics::{Resources, StatisticsServer};

/// What is measured: every call type.
#[gorums::service(package = "bench")]
pub(crate) trait Load {
    async fn echo(&self, ctx: &ServerContext, request: Request) -> Result<Reply, Status>;

    #[quorumcall]
    async fn ask(&self, ctx: &ServerContext, request: Request) -> Result<Reply, Status>;

    #[quorumcall(stream)]
    async fn watch(
        &self,
        ctx: &ServerContext,
        request: Request,
        updates: Updates<Reply>,
    ) -> Result<(), Status>;

    #[unicast]
    async fn tell(&self, ctx: &ServerContext, request: Request);

    #[multicast]
    async fn spread(&self, ctx: &ServerContext, request: Request);
}

/// One node.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) Arc<Counts>);

impl Load for Peer {
    async fn echo(&self, _: &ServerContext, request: Request) -> Result<Reply, Status> {
        self.0.request();
        Ok(request.reply())
    }

    async fn ask(&self, _: &ServerContext, request: Request) -> Result<Reply, Status> {
        self.0.request();
        Ok(request.reply())
    }

    async fn watch(
        &self,
        _: &ServerContext,
        request: Request,
        mut updates: Updates<Reply>,
    ) -> Result<(), Status> {
        self.0.request();
        let times = request.updates;
        let reply = request.reply();
        for _ in 0..times {
            updates.send(reply.clone()).await?;
        }
        Ok(())
    }

    async fn tell(&self, _: &ServerContext, _: Request) {
        self.0.request();
    }

    async fn spread(&self, _: &ServerContext, _: Request) {
        self.0.request();
    }
}

/// A configuration of all nodes.
pub(crate) struct Gorums(Configuration);

impl Contender for Gorums {
    async fn serve(listener: TcpListener, counts: Arc<Counts>) -> Result<()> {
        let incoming = futures_util::stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await;
            let incoming =
                accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| Incoming::from(stream)));
            Some((incoming, listener))
        });
        let server = Server::builder()
            .add_service(LoadServer::new(Peer(counts.clone())))
            .add_service(StatisticsServer::new(Resources(counts)));
        Ok(server.serve_with_incoming(incoming).await?)
    }

    async fn connect(connect: &Connect) -> Result<Self> {
        let default = QueueLimits::default();
        let limits = QueueLimits {
            messages: connect.queue.messages.unwrap_or(default.messages),
            bytes: connect.queue.bytes.unwrap_or(default.bytes),
        };
        let mut builder = Configuration::builder().queue_limits(limits);
        if let Some(counts) = &connect.local {
            let services = Server::builder().add_service(LoadServer::new(Peer(counts.clone())));
            builder = builder.local_node(1, services);
        }
        builder = builder.nodes(&connect.addresses);
        let configuration = if connect.lazy { builder.connect_lazy() } else { builder.connect().await };
        Ok(Self(configuration?))
    }

    fn call<'a>(&'a self, job: &'a Job) -> impl Future<Output = Result<()>> + Send + 'a {
        // An asynchronous call is under way before anybody waits for it.
        let sent = (job.call == CallType::Async).then(|| self.0.ask(job.request.clone()).send());
        async move {
            match sent {
                Some(replies) => check(&replies.threshold(job.needed).await?.payload, job),
                None => self.wait(job).await,
            }
        }
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

impl Gorums {
    async fn wait(&self, job: &Job) -> Result<()> {
        let request = job.request.clone();
        let all = &self.0;
        let reply = match job.call {
            CallType::Rpc | CallType::Local => self.first_node()?.echo(request).await?,
            CallType::QuorumFirst => all.ask(request).first().await?,
            CallType::QuorumMajority => all.ask(request).majority().await?,
            CallType::QuorumAll => all.ask(request).all().await?,
            CallType::QuorumThreshold | CallType::Async => all.ask(request).threshold(job.needed).await?,
            CallType::Correctable => all.ask(request).correctable(job.needed).done().await?.clone(),
            CallType::Streaming => return read_all(all.watch(request).send(), job).await,
            CallType::Unicast => {
                return Ok(self.first_node()?.tell(request).overflow(Overflow::Wait).await?);
            }
            CallType::UnicastQueued => {
                return Ok(self.first_node()?.tell(request).overflow(Overflow::Wait).queued().await?);
            }
            CallType::Multicast => return Ok(all.spread(request).overflow(Overflow::Wait).await?),
            CallType::MulticastQueued => {
                return Ok(all.spread(request).overflow(Overflow::Wait).queued().await?);
            }
        };
        check(&reply.payload, job)
    }

    fn first_node(&self) -> Result<gorums::Node> {
        self.0.nodes().first().cloned().context("there is no node")
    }
}

/// Reads all replies of a streaming call.
async fn read_all(mut replies: Replies<Reply>, job: &Job) -> Result<()> {
    let expected = replies.size() * job.request.updates as usize;
    let mut got = 0;
    while let Some(reply) = replies.next().await {
        check(&reply.result.map_err(|error| anyhow!(error))?.payload, job)?;
        got += 1;
    }
    if got != expected {
        bail!("{got} replies came and not {expected}");
    }
    Ok(())
}
