//! What the engine gets its clients from: one for each peer and purpose.

use std::sync::Arc;
use std::time::Duration;

use openraft::RaftNetworkFactory;
use tokio::sync::Semaphore;

use crate::network::client::PeerClient;
use crate::network::peers::{Lane, Peers};
use crate::options::{Defect, Options};
use crate::proto::Member;
use crate::types::{Id, Types};

/// Makes the clients of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    peers: Arc<Peers>,
    /// The least limit of an append with entries.
    append_timeout: Duration,
    snapshot_chunk: usize,
    /// With the defect of serial sends, who holds this may send.
    turn: Option<Arc<Semaphore>>,
    /// With the defect of a shared connection, the lane of everything.
    shared: Option<Lane>,
}

impl Network {
    pub(crate) fn new(peers: Arc<Peers>, options: &Options) -> Self {
        Self {
            peers,
            append_timeout: options.election_timeout,
            snapshot_chunk: options.snapshot_chunk,
            turn: options.has(Defect::SerialSends).then(|| Arc::new(Semaphore::new(1))),
            shared: options.has(Defect::SharedConnection).then_some(Lane::Log),
        }
    }

    fn client(&self, target: Id, member: &Member, lane: Lane) -> PeerClient {
        PeerClient {
            target,
            node: self.peers.node(target, member, self.shared.unwrap_or(lane)),
            control: self.peers.node(target, member, self.shared.unwrap_or(Lane::Control)),
            append_timeout: self.append_timeout,
            snapshot_chunk: self.snapshot_chunk,
            turn: self.turn.clone(),
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: Id, member: &Member) -> PeerClient {
        self.client(target, member, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: Id, member: &Member) -> PeerClient {
        self.client(target, member, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: Id, member: &Member) -> PeerClient {
        self.client(target, member, Lane::Bulk)
    }
}
