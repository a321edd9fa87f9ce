//! What a node is told when it is started.

use std::time::Duration;

use crate::types::Id;

/// The options of a node. The defaults suit nodes in one data centre.
#[derive(Clone, Debug)]
pub struct Options {
    /// The id of this node, from 1 to 2^20 - 1.
    pub id: Id,
    /// The address by which the other nodes know this one, as `host:port`.
    pub address: String,
    /// How often the leader tells the others that it leads; 100 ms.
    pub heartbeat_interval: Duration,
    /// How long a follower waits for the leader before it stands for election: between this and twice this. Also the time
    /// within which a leader has to be confirmed by a quorum. 1 s.
    pub election_timeout: Duration,
    /// How long a call of a client may take that has no deadline; 5 s.
    pub call_timeout: Duration,
    /// Calls of clients in progress at once, at least 1; more are refused as `Overloaded`. 4,096.
    pub max_calls: usize,
    /// Entries after which the log is cut, up to what is in the state; 10,000.
    pub compact_every: u64,
    /// Entries that are kept for followers that are behind, when the log is cut; 2,000.
    pub keep_entries: u64,
    /// The size of the chunks that a snapshot is sent in, in bytes; 256 KiB.
    pub snapshot_chunk: usize,
    /// How long the receiver may take for one chunk, and for putting the snapshot in place after the last; 10 s.
    pub snapshot_timeout: Duration,
    /// What election timeouts are drawn from; by default another one in each process.
    pub seed: u64,
    pub(crate) defect: Option<Defect>,
}

impl Options {
    /// The defaults, for the node with this id and address.
    pub fn new(id: Id, address: impl Into<String>) -> Self {
        Self {
            id,
            address: address.into(),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_secs(5),
            max_calls: 4096,
            compact_every: 10_000,
            keep_entries: 2_000,
            snapshot_chunk: 256 << 10,
            snapshot_timeout: Duration::from_secs(10),
            seed: rand::random(),
            defect: None,
        }
    }

    /// Breaks the node on purpose.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_defect(mut self, defect: Defect) -> Self {
        self.defect = Some(defect);
        self
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

/// A defect to order: what tests break to show that they would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Messages to the peers are sent one after the other, each after the answer to the one before.
    SerialSends,
    /// Heartbeats, entries and snapshots share one connection to each peer.
    SharedConnection,
    /// The leader answers linearizable reads without asking anybody.
    ReadsWithoutReadIndex,
    /// Entries are acknowledged before they are on disk.
    UnsyncedLog,
}
