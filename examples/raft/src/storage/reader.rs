//! The applied state, for those who read it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase};
use tokio::sync::{broadcast, watch};

use crate::storage::apply::{Change, split};
use crate::storage::state_tables::{APPLICATION, COUNTERS, STORE};

/// Updates that a watcher may be behind.
const FEED: usize = 1024;

/// What happened to the state.
#[derive(Clone, Debug)]
pub(crate) enum Updated {
    /// The changes of some entries, in order.
    Changes(Arc<[Change]>),
    /// It was replaced by a snapshot: nobody knows the changes.
    Replaced,
}

/// Tells who wants to know what is applied.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    applied: watch::Sender<u64>,
    updates: broadcast::Sender<Updated>,
}

impl Feed {
    pub(crate) fn new(applied: u64) -> Self {
        Self { applied: watch::Sender::new(applied), updates: broadcast::Sender::new(FEED) }
    }

    pub(crate) fn publish(&self, applied: u64, updated: Option<Updated>) {
        if let Some(updated) = updated {
            // Nobody may be watching.
            let _ = self.updates.send(updated);
        }
        self.applied.send_replace(applied);
    }
}

/// Reads the state up to what is applied.
#[derive(Clone, Debug)]
pub(crate) struct StateReader {
    database: Arc<Database>,
    feed: Feed,
}

impl StateReader {
    pub(crate) fn new(database: Arc<Database>, feed: Feed) -> Self {
        Self { database, feed }
    }

    /// The value of a key and the revision at which it was set.
    ///
    /// Reads from the disk what is not in memory, in place: a page or two.
    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<(u64, Bytes)>> {
        let read = self.database.begin_read().map_err(io::Error::other)?;
        let table = read.open_table(STORE).map_err(io::Error::other)?;
        let row = table.get(key).map_err(io::Error::other)?;
        row.map(|row| split(row.value())).transpose()
    }

    /// A value of the application's.
    pub(crate) fn application(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let read = self.database.begin_read().map_err(io::Error::other)?;
        let table = read.open_table(APPLICATION).map_err(io::Error::other)?;
        let value = table.get(key).map_err(io::Error::other)?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    /// The revision of the store.
    pub(crate) fn revision(&self) -> io::Result<u64> {
        let read = self.database.begin_read().map_err(io::Error::other)?;
        let table = read.open_table(COUNTERS).map_err(io::Error::other)?;
        let value = table.get(&b"revision"[..]).map_err(io::Error::other)?;
        let bytes = value.map_or(Ok([0; 8]), |value| value.value().try_into());
        bytes.map(u64::from_be_bytes).map_err(io::Error::other)
    }

    /// Waits until the entry with this index is applied. False if that will not happen any more.
    pub(crate) async fn wait_applied(&self, index: u64) -> bool {
        self.feed.applied.subscribe().wait_for(|applied| *applied >= index).await.is_ok()
    }

    /// The index up to which is applied.
    pub(crate) fn applied(&self) -> u64 {
        *self.feed.applied.borrow()
    }

    /// The changes from now on, and the revision after which they begin.
    pub(crate) fn watch(&self) -> io::Result<(u64, broadcast::Receiver<Updated>)> {
        // In this order, a change may be both in the revision and in the updates, and none is missing.
        let updates = self.feed.updates.subscribe();
        Ok((self.revision()?, updates))
    }
}
