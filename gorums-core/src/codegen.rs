//! What generated code may name. Not meant to be used by hand, and not covered by semantic versioning.

pub use tonic::Status;

pub use crate::call::{Multicast, QuorumCall, Rpc, StreamingCall, Unicast};
#[cfg(feature = "postcard")]
pub use crate::codec::postcard;
pub use crate::configuration::{NodeTarget, QuorumTarget};
pub use crate::method::{CallType, Method};
pub use crate::server::context::ServerContext;
pub use crate::server::handler::{Methods, Service};
pub use crate::server::replier::Updates;
#[cfg(feature = "testing")]
pub use crate::testing::{MockMethod, MockNodes, MockOneWay, MockStream};
