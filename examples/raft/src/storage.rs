//! The log and the state, in [redb](https://docs.rs/redb): two databases, so that applying never waits for the disk.
//!
//! What is acknowledged is on disk: the log is synced before the engine is told so. The state is written without waiting
//! for the disk, together with the index up to which it was applied, and synced every thousand entries and with each
//! snapshot; the log is kept from there on, so that what a crash takes from the state is applied again.
//!
//! The state has no copy in snapshots: a snapshot is a read transaction, which redb keeps stable while others write, and
//! is read from when it is sent. The receiver writes the chunks into tables beside its own, and swaps them in one
//! transaction when all are there.

mod application;
mod apply;
mod log_store;
mod log_tables;
mod reader;
mod snapshot;
mod state_machine;
mod state_tables;
mod tail;
mod worker;

use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::{Builder, Database, StorageBackend};

pub use self::application::{Application, ApplicationState, NoApplication};
pub(crate) use self::log_store::LogStore;
use self::log_tables::LogTables;
pub(crate) use self::reader::{StateReader, Updated};
pub(crate) use self::snapshot::{Position, SnapshotData, Stage};
pub(crate) use self::state_machine::StateMachine;
use self::worker::Worker;

/// Pages that each of the two databases keeps in memory.
const CACHE_BYTES: usize = 64 << 20;

/// Where a node keeps its log and its state.
pub struct Storage {
    log: Database,
    state: Database,
    /// Whether reads and writes take place in the calling task, as a simulation needs it, and not in threads.
    inline: bool,
    synced: bool,
}

impl Storage {
    /// Files in a directory, which is made if need be.
    ///
    /// # Errors
    ///
    /// The directory or the files cannot be used, or belong to a process that runs.
    pub fn in_directory(directory: impl AsRef<Path>) -> io::Result<Self> {
        let directory = directory.as_ref();
        std::fs::create_dir_all(directory)?;
        let open = |name| builder().create(directory.join(name)).map_err(io::Error::other);
        let storage =
            Self { log: open("log.redb")?, state: open("state.redb")?, inline: false, synced: true };
        // The names of new files are to survive a crash too.
        #[cfg(unix)]
        std::fs::File::open(directory)?.sync_all()?;
        Ok(storage)
    }

    /// Gone when the node is.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    pub fn in_memory() -> io::Result<Self> {
        Self::on(redb::backends::InMemoryBackend::new(), redb::backends::InMemoryBackend::new())
    }

    /// On disks of another kind, as in a simulation. Reads and writes take place in the tasks that ask for them: no thread
    /// takes part, so that a run can be repeated.
    ///
    /// # Errors
    ///
    /// What is on a disk is not a database.
    pub fn on(log: impl StorageBackend, state: impl StorageBackend) -> io::Result<Self> {
        let log = builder().create_with_backend(log).map_err(io::Error::other)?;
        let state = builder().create_with_backend(state).map_err(io::Error::other)?;
        Ok(Self { log, state, inline: true, synced: true })
    }

    /// Reads and writes in threads of their own, as on disks that take time.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_threads(mut self) -> Self {
        self.inline = false;
        self
    }

    /// Acknowledges before the log is synced: a defect.
    pub(crate) fn unsynced(mut self) -> Self {
        self.synced = false;
        self
    }

    /// Opens both for this node, and no other.
    pub(crate) fn open(
        self,
        node: u32,
        application: Arc<dyn Application>,
    ) -> io::Result<(LogStore, StateMachine)> {
        let tables = LogTables::open(self.log, self.synced)?;
        tables.claim(node)?;
        let log = LogStore::open(tables, self.inline)?;
        let worker = if self.inline { Worker::inline() } else { Worker::thread("state")? };
        Ok((log, StateMachine::open(self.state, worker, application)?))
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("inline", &self.inline).finish_non_exhaustive()
    }
}
