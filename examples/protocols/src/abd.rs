//! An atomic register on nodes of which a minority may crash, for many writers and readers.
//!
//! After "Sharing Memory Robustly in Message-Passing Systems" (Attiya, Bar-Noy, Dolev, JACM 1995); for many writers as in
//! "Robust Emulation of Shared Memory Using Dynamic Quorum-Acknowledged Broadcasts" (Lynch, Shvartsman, FTCS 1997).

use std::sync::{Arc, Mutex};

use gorums::quorum::newest;
use gorums::{Configuration, QuorumError, ServerContext, Status};

use crate::lock;

/// When a value was written. Two writers never take the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Timestamp {
    /// One more than that of the write before.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Who wrote.
    #[prost(uint32, tag = "2")]
    pub writer: u32,
}

/// A value with its timestamp.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tagged {
    /// When it was written.
    #[prost(message, required, tag = "1")]
    pub timestamp: Timestamp,
    /// What was written.
    #[prost(uint64, tag = "2")]
    pub value: u64,
}

/// A copy of the register.
#[gorums::service(package = "protocols.abd")]
pub trait Register {
    /// Gives what the node has.
    #[quorumcall(idempotent)]
    async fn query(&self, ctx: &ServerContext, request: ()) -> Result<Tagged, Status>;

    /// Takes a value that is newer than what the node has.
    #[quorumcall(idempotent)]
    async fn store(&self, ctx: &ServerContext, request: Tagged) -> Result<(), Status>;
}

/// A node. What it holds has to outlast its process.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    held: Arc<Mutex<Tagged>>,
}

impl Register for Replica {
    async fn query(&self, _: &ServerContext, (): ()) -> Result<Tagged, Status> {
        Ok(lock(&self.held).clone())
    }

    async fn store(&self, _: &ServerContext, new: Tagged) -> Result<(), Status> {
        let mut held = lock(&self.held);
        if new.timestamp > held.timestamp {
            *held = new;
        }
        Ok(())
    }
}

/// Reads and writes the register.
#[derive(Debug)]
pub struct Client {
    /// Different from that of every other client.
    id: u32,
    nodes: Configuration,
    /// The highest number that it has used. A write that failed may still be read, so that its timestamp is never taken
    /// again for another value.
    highest: u64,
}

impl Client {
    /// A client with an id that no other has, nor this one had before it was started again.
    pub fn new(id: u32, nodes: Configuration) -> Self {
        Self { id, nodes, highest: 0 }
    }

    /// Writes a value. Gives its timestamp.
    ///
    /// # Errors
    ///
    /// A majority did not answer in time. The value may be read later all the same, or never.
    pub async fn write(&mut self, value: u64) -> Result<Timestamp, QuorumError> {
        let newest = self.nodes.query(()).decide(newest(|held: &Tagged| held.timestamp)).await?;
        self.highest = self.highest.max(newest.value.timestamp.number) + 1;
        let timestamp = Timestamp { number: self.highest, writer: self.id };
        self.nodes.store(Tagged { timestamp, value }).majority().await?;
        Ok(timestamp)
    }

    /// Reads the value. What one reader has got, or a writer has written, no later reader misses: a value that not yet a
    /// majority holds is written back first.
    ///
    /// # Errors
    ///
    /// A majority did not answer in time.
    pub async fn read(&self) -> Result<Tagged, QuorumError> {
        let newest = self.nodes.query(()).decide(newest(|held: &Tagged| held.timestamp)).await?;
        newest.write_back(|held| self.nodes.store(held).majority()).await
    }
}
