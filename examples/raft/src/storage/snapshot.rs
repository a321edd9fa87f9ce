//! Snapshots: views of the state that are read while they are sent, and stages on which they are received.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// What was received from another one, and is on the stage: the number of the transfer.
    Staged(u64),
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
/// first one of another transfer takes their place, unless they are complete and wait to be installed. Everything is decided
/// by the jobs of the worker, which run one after the other: chunks of two transfers do not mix.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    database: Arc<Database>,
    worker: Worker,
    staged: Arc<Mutex<Staged>>,
}

/// What is on the stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Staged {
    #[default]
    Nothing,
    /// The chunks of a transfer before this one.
    Part { transfer: u64, next: u64 },
    /// All chunks of a transfer.
    Whole { transfer: u64 },
}

/// Keeps a whole snapshot on the stage until the engine has installed it or does not want it.
#[derive(Debug)]
pub(crate) struct Kept {
    stage: Stage,
    transfer: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut staged = self.stage.staged();
        if *staged == (Staged::Whole { transfer: self.transfer }) {
            *staged = Staged::Nothing;
        }
    }
}

impl Stage {
    pub(crate) fn new(database: Arc<Database>, worker: Worker) -> Self {
        Self { database, worker, staged: Arc::default() }
    }

    fn staged(&self) -> MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a chunk on the stage; the first one clears it before. One that is there already is left as it is. False if it is
    /// not the one that comes next.
    pub(crate) async fn put(&self, transfer: u64, sequence: u64, records: Vec<Record>) -> io::Result<bool> {
        let this = self.clone();
        let put = move || {
            match *this.staged() {
                Staged::Whole { .. } => return Ok(false),
                Staged::Part { transfer: known, next } if sequence > 0 && known == transfer => {
                    if next == sequence + 1 {
                        return Ok(true);
                    }
                    if next != sequence {
                        return Ok(false);
                    }
                }
                Staged::Nothing | Staged::Part { .. } if sequence > 0 => return Ok(false),
                Staged::Nothing | Staged::Part { .. } => {}
            }
            *this.staged() = Staged::Nothing;
            if sequence == 0 {
                clear(&this.database)?;
            }
            put(&this.database, &records)?;
            *this.staged() = Staged::Part { transfer, next: sequence + 1 };
            Ok(true)
        };
        self.worker.run(put).await
    }

    /// Keeps a snapshot whose chunks are all there. `None` if they are not, any more.
    pub(crate) fn keep(&self, transfer: u64) -> Option<Kept> {
        let mut staged = self.staged();
        match *staged {
            Staged::Part { transfer: known, .. } if known == transfer => {
                *staged = Staged::Whole { transfer };
                Some(Kept { stage: self.clone(), transfer })
            }
            _ => None,
        }
    }

    /// Puts what is on the stage in place of the state, on disk when this returns. To be called by a job of the worker.
    pub(crate) fn install(&self, transfer: u64, meta: &SnapshotMeta) -> io::Result<()> {
        let staged = *self.staged();
        if staged != (Staged::Whole { transfer }) {
            return Err(io::Error::other("the snapshot is not there any more"));
        }
        install(&self.database, meta)?;
        *self.staged() = Staged::Nothing;
        Ok(())
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

fn install(database: &Database, meta: &SnapshotMeta) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use redb::ReadableDatabase;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::storage::state_tables::STORE;
    use crate::types::{StoredMembership, log_id};

    fn record(key: &'static str) -> Vec<Record> {
        vec![Record { table: 0, key: key.into(), value: "v".into() }]
    }

    #[tokio::test]
    async fn chunks_of_two_transfers_do_not_mix() {
        let database = Arc::new(Database::builder().create_with_backend(InMemoryBackend::new()).unwrap());
        state_tables::create(&database).unwrap();
        let stage = Stage::new(database.clone(), Worker::inline());
        assert!(!stage.put(7, 1, record("early")).await.unwrap(), "the first one is missing");
        for (transfer, sequence, key, taken) in [
            (7, 0, "a", true),
            (7, 1, "b", true),
            (8, 0, "x", true),
            (7, 2, "c", false),
            (8, 1, "y", true),
            (8, 1, "again", true),
            (8, 3, "z", false),
        ] {
            assert_eq!(
                stage.put(transfer, sequence, record(key)).await.unwrap(),
                taken,
                "{transfer}: {sequence}"
            );
        }
        let meta =
            SnapshotMeta { last_log_id: Some(log_id(1, 9)), last_membership: StoredMembership::default() };
        assert!(stage.keep(7).is_none());
        assert!(stage.install(8, &meta).is_err(), "nobody has said that it is whole");
        let kept = stage.keep(8).unwrap();
        assert!(!stage.put(9, 0, record("q")).await.unwrap(), "it is kept until it is installed");
        stage.install(8, &meta).unwrap();
        drop(kept);
        let read = database.begin_read().unwrap();
        let rows = read.open_table(STORE).unwrap();
        let keys: Vec<_> =
            rows.range::<&[u8]>(..).unwrap().map(|row| row.unwrap().0.value().to_vec()).collect();
        assert_eq!(keys, [b"x".to_vec(), b"y".to_vec()]);
        assert_eq!(state_tables::meta(&read).unwrap().last_log_id, meta.last_log_id);
        assert!(!stage.put(8, 2, record("late")).await.unwrap());
        assert!(stage.put(9, 0, record("q")).await.unwrap());
        drop(stage.keep(9).unwrap());
        assert!(stage.put(10, 0, record("r")).await.unwrap(), "nobody wanted the other one");
    }
}
