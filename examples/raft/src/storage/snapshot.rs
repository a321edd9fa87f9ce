//! Snapshots: views of the state that are read while they are sent, and stages on which they are received.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadTransaction};

use crate::proto::Record;
use crate::storage::state_tables::{self, TABLES};
use crate::storage::worker::Worker;
use crate::types::SnapshotMeta;

/// The data of a snapshot, on its way out or in.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotData {
    /// The state of this node at some time.
    View(Arc<View>),
    /// What was received from another one, and is on the stage.
    Staged,
}

/// The state as it was when the view was made.
pub(crate) struct View {
    transaction: ReadTransaction,
    meta: SnapshotMeta,
    worker: Worker,
}

/// How far a view was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    table: usize,
    /// The last key that was read.
    key: Option<Bytes>,
}

impl View {
    pub(crate) fn new(transaction: ReadTransaction, worker: Worker) -> io::Result<Self> {
        let meta = state_tables::meta(&transaction)?;
        Ok(Self { transaction, meta, worker })
    }

    pub(crate) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The next rows, of about this many bytes, and where to go on; `None` when these are the last.
    pub(crate) async fn chunk(
        self: &Arc<Self>,
        position: Position,
        bytes: usize,
    ) -> io::Result<(Vec<Record>, Option<Position>)> {
        let view = self.clone();
        self.worker.run(move || view.read(position, bytes)).await
    }

    fn read(&self, mut position: Position, limit: usize) -> io::Result<(Vec<Record>, Option<Position>)> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some((table, _)) = TABLES.get(position.table) {
            let rows = self.transaction.open_table(*table).map_err(io::Error::other)?;
            let after = position.key.as_deref().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            let range = rows.range::<&[u8]>((after, std::ops::Bound::Unbounded)).map_err(io::Error::other)?;
            for row in range {
                let (key, value) = row.map_err(io::Error::other)?;
                let (key, value) = (key.value(), value.value());
                if bytes + key.len() + value.len() > limit && !records.is_empty() {
                    return Ok((records, Some(position)));
                }
                bytes += key.len() + value.len();
                let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                position.key = Some(key.clone());
                records.push(Record { table: position.table as u32, key, value });
            }
            position = Position { table: position.table + 1, key: None };
        }
        Ok((records, None))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// Where the chunks of a snapshot are put until all are there. The chunks of one transfer come one after the other; the
/// first one of another transfer takes its place.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    database: Arc<Database>,
    worker: Worker,
}

impl Stage {
    pub(crate) fn new(database: Arc<Database>, worker: Worker) -> Self {
        Self { database, worker }
    }

    /// Empties the stage.
    pub(crate) async fn clear(&self) -> io::Result<()> {
        let database = self.database.clone();
        self.worker.run(move || clear(&database)).await
    }

    /// Puts rows on the stage.
    pub(crate) async fn put(&self, records: Vec<Record>) -> io::Result<()> {
        let database = self.database.clone();
        self.worker.run(move || put(&database, &records)).await
    }
}

fn clear(database: &Database) -> io::Result<()> {
    state_tables::write(database, false, |transaction| {
        for (_, staged) in TABLES {
            transaction.delete_table(staged).map_err(io::Error::other)?;
        }
        Ok(())
    })
}

fn put(database: &Database, records: &[Record]) -> io::Result<()> {
    state_tables::write(database, false, |transaction| {
        for of_one_table in records.chunk_by(|a, b| a.table == b.table) {
            let number = of_one_table[0].table as usize;
            let (_, staged) = TABLES.get(number).ok_or_else(|| io::Error::other("there is no such table"))?;
            let mut table = transaction.open_table(*staged).map_err(io::Error::other)?;
            for record in of_one_table {
                table.insert(&record.key[..], &record.value[..]).map_err(io::Error::other)?;
            }
        }
        Ok(())
    })
}

/// Puts what is on the stage in place of the state, on disk when this returns.
pub(crate) fn install(database: &Database, meta: &SnapshotMeta) -> io::Result<()> {
    state_tables::write(database, true, |transaction| {
        for (table, staged) in TABLES {
            // A table without rows was not staged.
            drop(transaction.open_table(staged).map_err(io::Error::other)?);
            transaction.delete_table(table).map_err(io::Error::other)?;
            transaction.rename_table(staged, table).map_err(io::Error::other)?;
        }
        state_tables::put_meta(transaction, meta)
    })
}
