//! Changes as they happen.

use std::time::Duration;

use bytes::Bytes;
use gorums::{Configuration, Replies};
use tokio::time::timeout;

use crate::error::Error;
use crate::proto::{KvClient, WatchEvent, WatchRequest};

/// The changes under a prefix, in order and without gaps, until it fails or is dropped.
#[derive(Debug)]
pub struct Watch {
    replies: Replies<WatchEvent>,
    revision: u64,
}

/// A change of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedChange {
    /// The revision of the store that it made.
    pub revision: u64,
    /// The key.
    pub key: Bytes,
    /// Its new value; `None` if it was deleted.
    pub value: Option<Bytes>,
}

impl Watch {
    pub(crate) async fn begin(node: Configuration, prefix: Bytes, patience: Duration) -> Result<Self, Error> {
        let mut replies = node.watch(WatchRequest { prefix }).no_timeout().send();
        let Ok(first) = timeout(patience, next(&mut replies)).await else { return Err(Error::Unconfirmed) };
        Ok(Self { revision: first?.revision, replies })
    }

    /// The revision after which the changes begin.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Waits for the next change.
    ///
    /// # Errors
    ///
    /// [`Error::Lagged`] if changes were missed, and others when the node goes away. Nothing comes after an error: read
    /// again, and watch again.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn next(&mut self) -> Result<WatchedChange, Error> {
        loop {
            let WatchEvent { revision, key, value } = next(&mut self.replies).await?;
            if let Some(key) = key {
                return Ok(WatchedChange { revision, key, value });
            }
        }
    }
}

async fn next(replies: &mut Replies<WatchEvent>) -> Result<WatchEvent, Error> {
    match replies.next().await {
        Some(reply) => reply.result.map_err(Error::of_call),
        None => Err(Error::Lagged),
    }
}
