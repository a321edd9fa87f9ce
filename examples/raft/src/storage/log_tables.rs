//! The log on disk.

use std::io;
use std::ops::Range;

use prost::Message;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::types::{Entry, LogId, Vote};
use crate::{convert, proto};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

const NODE: &str = "node";
const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";

/// The tables of the log. Every method waits for the disk.
#[derive(Debug)]
pub(crate) struct LogTables {
    database: Database,
    /// Whether what has to be on disk is waited for.
    synced: bool,
}

impl LogTables {
    pub(crate) fn open(database: Database, synced: bool) -> io::Result<Self> {
        let tables = Self { database, synced };
        tables.write(true, |transaction| {
            transaction.open_table(LOG).map_err(io::Error::other)?;
            transaction.open_table(META).map(drop).map_err(io::Error::other)
        })?;
        Ok(tables)
    }

    /// Makes sure that this is the log of no other node.
    pub(crate) fn claim(&self, node: u32) -> io::Result<()> {
        match self.meta(NODE)? {
            Some(id) if id == node.to_be_bytes() => Ok(()),
            Some(id) => {
                let other = id.try_into().map_or(0, u32::from_be_bytes);
                Err(io::Error::other(format!("this is the data of node {other}, not of node {node}")))
            }
            None => self.put_meta(true, NODE, &node.to_be_bytes()),
        }
    }

    /// The first and the last entry there are, and up to where they were purged.
    pub(crate) fn bounds(&self) -> io::Result<(Option<LogId>, Option<LogId>)> {
        let purged: Option<LogId> = self.message::<proto::LogId>(PURGED)?.map(Into::into);
        let read = self.database.begin_read().map_err(io::Error::other)?;
        let log = read.open_table(LOG).map_err(io::Error::other)?;
        let last = match log.last().map_err(io::Error::other)? {
            Some((_, entry)) => Some(decode(entry.value())?.log_id),
            None => None,
        };
        Ok((last.max(purged), purged))
    }

    /// Appends entries and waits until they are on disk.
    pub(crate) fn append(&self, entries: &[(u64, Vec<u8>)]) -> io::Result<()> {
        self.write(true, |transaction| {
            let mut log = transaction.open_table(LOG).map_err(io::Error::other)?;
            for (index, entry) in entries {
                log.insert(index, entry.as_slice()).map_err(io::Error::other)?;
            }
            Ok(())
        })
    }

    pub(crate) fn entries(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let read = self.database.begin_read().map_err(io::Error::other)?;
        let log = read.open_table(LOG).map_err(io::Error::other)?;
        let rows = log.range(range).map_err(io::Error::other)?;
        rows.map(|row| decode(row.map_err(io::Error::other)?.1.value())).collect()
    }

    /// Removes the entries from this index on.
    pub(crate) fn truncate(&self, first: u64) -> io::Result<()> {
        self.write(true, |transaction| {
            let mut log = transaction.open_table(LOG).map_err(io::Error::other)?;
            log.retain_in(first.., |_, _| false).map_err(io::Error::other)
        })
    }

    /// Removes the entries up to one. It need not be on disk at once: they may come back after a crash.
    pub(crate) fn purge(&self, upto: LogId) -> io::Result<()> {
        self.write(false, |transaction| {
            let mut log = transaction.open_table(LOG).map_err(io::Error::other)?;
            log.retain_in(..=upto.index(), |_, _| false).map_err(io::Error::other)?;
            put(transaction, PURGED, &proto::LogId::from(&upto).encode_to_vec())
        })
    }

    pub(crate) fn vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.message::<proto::Ballot>(VOTE)?.map(Into::into))
    }

    pub(crate) fn save_vote(&self, vote: &Vote) -> io::Result<()> {
        self.put_meta(true, VOTE, &proto::Ballot::from(vote).encode_to_vec())
    }

    pub(crate) fn committed(&self) -> io::Result<Option<LogId>> {
        Ok(self.message::<proto::LogId>(COMMITTED)?.map(Into::into))
    }

    /// Notes what is known to be committed. It reaches the disk with the next append.
    pub(crate) fn save_committed(&self, committed: &LogId) -> io::Result<()> {
        self.put_meta(false, COMMITTED, &proto::LogId::from(committed).encode_to_vec())
    }

    fn message<M: Message + Default>(&self, key: &str) -> io::Result<Option<M>> {
        self.meta(key)?.map(|bytes| M::decode(bytes.as_slice()).map_err(io::Error::other)).transpose()
    }

    fn meta(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        let read = self.database.begin_read().map_err(io::Error::other)?;
        let meta = read.open_table(META).map_err(io::Error::other)?;
        let value = meta.get(key).map_err(io::Error::other)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn put_meta(&self, durable: bool, key: &str, value: &[u8]) -> io::Result<()> {
        self.write(durable, |transaction| put(transaction, key, value))
    }

    fn write(&self, durable: bool, work: impl FnOnce(&WriteTransaction) -> io::Result<()>) -> io::Result<()> {
        let mut transaction = self.database.begin_write().map_err(io::Error::other)?;
        if !(durable && self.synced) {
            transaction.set_durability(Durability::None).map_err(io::Error::other)?;
        }
        work(&transaction)?;
        transaction.commit().map_err(io::Error::other)
    }
}

fn put(transaction: &WriteTransaction, key: &str, value: &[u8]) -> io::Result<()> {
    let mut meta = transaction.open_table(META).map_err(io::Error::other)?;
    meta.insert(key, value).map(drop).map_err(io::Error::other)
}

fn decode(entry: &[u8]) -> io::Result<Entry> {
    let entry = proto::Entry::decode(entry).map_err(io::Error::other)?;
    convert::entry(entry).map_err(io::Error::other)
}
