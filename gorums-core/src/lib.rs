//! The runtime of gorums: nodes, configurations, quorum calls, and servers.
//!
//! Applications depend on the crate `gorums`, which re-exports what they need from here together with the
//! macro. Code that is generated for a service names only [`codegen`].
//!
//! How the parts fit together is told in the project's `ARCHITECTURE.md`.

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod call;
mod channel;
mod codec;
#[doc(hidden)]
pub mod codegen;
mod configuration;
mod error;
mod id;
mod method;
#[cfg(all(test, gorums_model))]
mod models;
mod node;
mod observe;
mod parts;
mod payload;
mod pool;
pub mod quorum;
mod router;
mod server;
mod stats;
mod sync;
mod system;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
pub mod wire;

pub use tonic::metadata::{MetadataMap, MetadataValue};
pub use tonic::{Code, Status};

pub use crate::call::tally::Quorum;
pub use crate::call::{
    CallInterceptor, CallOptions, Correctable, Decide, DecideFuture, Decision, Multicast, NodeReply,
    NodeRequest, QuorumCall, QuorumFunction, QuorumFunctionFuture, QuorumFuture, Reach, ReachWith, Replies,
    ReplySet, Retry, Rpc, RpcFuture, Stage, StagedCall, StagedDecideFuture, StagedFunctionFuture,
    StagedFuture, StreamingCall, Unicast,
};
pub use crate::channel::link::Backoff;
pub use crate::channel::queue::{Overflow, Priority, QueueCounts, QueueLimits};
pub use crate::codec::MessageError;
pub use crate::configuration::{
    Configuration, ConfigurationBuilder, Decided, NodeTarget, QuorumConfiguration, QuorumTarget, Undecided,
    id, last_error, latency,
};
pub use crate::error::{
    ConfigError, ErrorClass, NodeError, NodeErrorKind, QuorumError, QuorumErrorKind, ServerError, SystemError,
};
pub use crate::id::{AsNodeId, Initiator, InvalidNodeId, MessageId, NodeId};
pub use crate::method::{CallType, Method};
pub use crate::node::{Node, NodeState};
#[cfg(feature = "metrics")]
pub use crate::observe::metrics::MeasureHandlers;
pub use crate::observe::report::{ConfigurationStats, NodeReport};
pub use crate::observe::trace::{Propagator, TraceHandlers};
pub use crate::router::entry::MailboxOverflow;
pub use crate::server::connect::ConnectRequest;
pub use crate::server::context::{ServerContext, Turn};
#[cfg(feature = "grpc")]
pub use crate::server::grpc::GrpcPeer;
#[cfg(feature = "health")]
pub use crate::server::grpc::Health;
pub use crate::server::handler::{Methods, Service};
pub use crate::server::interceptor::{Interceptor, Next, Reply, ServerCall};
pub use crate::server::replier::Updates;
pub use crate::server::{
    BoundServer, Incoming, Server, ServerBuilder, ServerHandle, ServerStats, TcpIncoming,
};
pub use crate::stats::NodeStats;
pub use crate::system::{BoundSystem, System, SystemBuilder};
#[cfg(feature = "tls")]
pub use crate::transport::tls::{ClientTls, ServerTls, TlsError};
pub use crate::transport::{BoxedIo, Connector, Io, PeerCertificates, TcpConnector};
