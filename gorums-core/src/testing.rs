//! Tools to test protocols that are built on gorums, and gorums itself, under faults. Feature `testing`.
//!
//! A [`Proxy`] stands between a configuration and a node on real sockets and misbehaves on demand: it holds
//! traffic back without closing anything, as a network that drops packets does; it stops reading, delays, or
//! resets. [`Network`] is an in-memory network with the same faults, for tests with a paused clock. [`MockNodes`] are
//! fake nodes for unit tests of protocols: they answer as a test tells them, in the order it says. With the feature
//! `turmoil`, nodes also run on the simulated network of that crate.

mod cluster;
mod fault;
mod mock;
mod network;
mod proxy;
#[cfg(feature = "turmoil")]
mod turmoil;

pub use self::cluster::Cluster;
pub use self::fault::{Direction, Faults, Traffic};
pub use self::mock::{Held, HeldStream, MockMethod, MockNodes, MockOneWay, MockStream};
pub use self::network::{Listener, Network};
pub use self::proxy::Proxy;
#[cfg(feature = "turmoil")]
pub use self::turmoil::{TurmoilConnector, TurmoilIncoming};
