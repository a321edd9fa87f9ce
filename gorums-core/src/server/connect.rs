//! Hooks that decide who may connect.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::id::NodeId;
use crate::server::registry::Claim;
use crate::transport::PeerCertificates;

/// Who wants to open a stream to a server, for [`ServerBuilder::on_connect`](crate::ServerBuilder::on_connect).
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) metadata: MetadataMap,
    pub(crate) claim: Claim,
    pub(crate) certificates: Option<PeerCertificates>,
    #[cfg(feature = "grpc")]
    pub(crate) grpc_path: Option<Arc<str>>,
}

impl ConnectRequest {
    /// The client's network address; `None` for transports without.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The metadata that the client gives for the connection.
    pub fn metadata(&self) -> &MetadataMap {
        &self.metadata
    }

    /// The node that the client says it is. With mutual TLS, its certificate names it if it is a member; without, nothing
    /// vouches for this.
    pub fn claimed_id(&self) -> Option<NodeId> {
        match self.claim {
            Claim::Peer(id) => Some(id),
            Claim::Plain | Claim::Anonymous => None,
        }
    }

    /// The certificates that the client has shown; `None` without mutual TLS.
    pub fn peer_certificates(&self) -> Option<&PeerCertificates> {
        self.certificates.as_ref()
    }

    /// The path of the call, as `/grpc.health.v1.Health/Check`, if it is one of an ordinary
    /// [gRPC service](crate::ServerBuilder::add_grpc_service); `None` for a node stream.
    #[cfg(feature = "grpc")]
    pub fn grpc_path(&self) -> Option<&str> {
        self.grpc_path.as_deref()
    }
}

type Hook = Arc<dyn Fn(ConnectRequest) -> BoxFuture<'static, Result<(), Status>> + Send + Sync>;

/// The hooks of a server, in the order in which they are asked.
#[derive(Clone, Default)]
pub(crate) struct Hooks(Vec<Hook>);

impl Hooks {
    pub(crate) fn add<Fut>(&mut self, hook: impl Fn(ConnectRequest) -> Fut + Send + Sync + 'static)
    where
        Fut: Future<Output = Result<(), Status>> + Send + 'static,
    {
        self.0.push(Arc::new(move |request| hook(request).boxed()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks one hook after the other; the first that refuses, panics or takes too long decides.
    pub(crate) async fn ask(&self, request: ConnectRequest, limit: Duration) -> Result<(), Status> {
        let asking = AssertUnwindSafe(async {
            for hook in &self.0 {
                hook(request.clone()).await?;
            }
            Ok::<(), Status>(())
        });
        match timeout(limit, asking.catch_unwind()).await {
            Ok(Ok(Err(status))) if status.code() == Code::Ok => {
                Err(Status::permission_denied(status.message()))
            }
            Ok(Ok(decision)) => decision,
            Ok(Err(panic)) => {
                tracing::error!(reason = text(&*panic), "connect hook panicked");
                Err(Status::internal("the connect hook of the server panicked"))
            }
            Err(_) => Err(Status::unavailable(format!("the connect hook of the server took over {limit:?}"))),
        }
    }
}

pub(super) fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.len()).finish()
    }
}
