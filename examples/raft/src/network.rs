//! The messages between the nodes, over gorums.
//!
//! Each peer is called over four connections of their own, the [lanes](Lane): heartbeats and votes; entries; snapshots; and
//! calls that are forwarded. Bulk on one lane waits for its own connection and delays no other: not in a queue, not in the
//! windows of HTTP/2, not in the buffers of the kernel. Within a lane, gorums keeps the order.
//!
//! Every call has a deadline: that of the engine, so that no task of the engine ever waits for a peer that hangs. Its soft
//! limit is the deadline of the rpc, which travels with it; its hard limit ends whatever is left. Appends with entries wait
//! for the disk of the peer: the engine derives their limits from the heartbeat interval, as if they did not, which is why
//! they get at least the election timeout.

mod client;
mod factory;
mod inbound;
mod peers;

pub(crate) use self::factory::Network;
pub(crate) use self::inbound::{PeerService, in_turn};
pub(crate) use self::peers::{Connect, Lane, Peers};
