//! The replicated state machine, as the engine uses it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt};
use openraft::RaftSnapshotBuilder;
use openraft::storage::{EntryResponder, RaftStateMachine};
use redb::{Database, ReadableDatabase};

use crate::proto::command;
use crate::storage::application::{Application, ApplicationState};
use crate::storage::reader::{Feed, StateReader, Updated};
use crate::storage::snapshot::{SnapshotData, Stage, View};
use crate::storage::state_tables::{self, StateTables};
use crate::storage::worker::Worker;
use crate::types::{Applied, Entry, LogId, Payload, Snapshot, SnapshotMeta, StoredMembership, Types};

/// Entries that are applied in one transaction.
const APPLIED_AT_ONCE: usize = 256;
/// Entries that are applied before the state is synced.
const SYNCED_EVERY: u64 = 1024;

/// The state of a node.
#[derive(Clone)]
pub(crate) struct StateMachine {
    database: Arc<Database>,
    worker: Worker,
    stage: Stage,
    feed: Feed,
    application: Arc<dyn Application>,
    /// What the state is of; changed by the jobs of the worker alone.
    meta: Arc<Mutex<SnapshotMeta>>,
}

impl StateMachine {
    pub(crate) fn open(
        database: Database,
        worker: Worker,
        application: Arc<dyn Application>,
    ) -> io::Result<Self> {
        state_tables::create(&database)?;
        let read = database.begin_read().map_err(io::Error::other)?;
        let meta = state_tables::meta(&read)?;
        let feed = Feed::new(meta.last_log_id.map_or(0, |id| id.index()));
        drop(read);
        let (database, meta) = (Arc::new(database), Arc::new(Mutex::new(meta)));
        let stage = Stage::new(database.clone(), worker.clone());
        Ok(Self { database, worker, stage, feed, application, meta })
    }

    pub(crate) fn reader(&self) -> StateReader {
        StateReader::new(self.database.clone(), self.feed.clone())
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.clone()
    }

    fn meta(&self) -> SnapshotMeta {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_meta(&self, meta: SnapshotMeta) {
        *self.meta.lock().unwrap_or_else(PoisonError::into_inner) = meta;
    }

    /// Applies entries in one transaction, and gives what each of them did.
    fn apply_entries(&self, entries: Vec<Entry>) -> io::Result<Vec<Applied>> {
        let Some(last) = entries.last().map(|entry| entry.log_id.index()) else { return Ok(Vec::new()) };
        let before = self.meta();
        let first = before.last_log_id.map_or(0, |id| id.index() + 1);
        let durable = first / SYNCED_EVERY != (last + 1) / SYNCED_EVERY;
        let (applied, changes, meta) = state_tables::write(&self.database, durable, |transaction| {
            let mut tables = StateTables::open(transaction)?;
            let (mut applied, mut changes, mut meta) =
                (Vec::with_capacity(entries.len()), Vec::new(), before);
            for Entry { log_id, payload } in entries {
                let mut membership = None;
                applied.push(match payload {
                    Payload::Blank => Applied::Nothing,
                    Payload::Membership(new) => {
                        membership = Some(StoredMembership::new(Some(log_id), new));
                        Applied::Nothing
                    }
                    Payload::Normal(command) => match command.kind {
                        Some(command::Kind::Batch(batch)) => {
                            let execute = |operation| tables.execute(log_id.index(), operation, &mut changes);
                            let outcomes: io::Result<_> = batch.operations.into_iter().map(execute).collect();
                            Applied::Batch(outcomes?)
                        }
                        Some(command::Kind::Application(command)) => {
                            let mut state = ApplicationState::new(&mut tables.application);
                            Applied::Application(self.application.apply(&mut state, command)?)
                        }
                        None => Applied::Nothing,
                    },
                });
                meta = state_tables::after(meta, log_id, membership);
            }
            drop(tables);
            state_tables::put_meta(transaction, &meta)?;
            Ok((applied, changes, meta))
        })?;
        self.set_meta(meta);
        let changes = (!changes.is_empty()).then(|| Updated::Changes(changes.into()));
        self.feed.publish(last, changes);
        Ok(applied)
    }

    fn view(&self) -> io::Result<Arc<View>> {
        let read = self.database.begin_read().map_err(io::Error::other)?;
        Ok(Arc::new(View::new(read, self.worker.clone())?))
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let meta = self.meta();
        Ok((meta.last_log_id, meta.last_membership))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + Send,
    {
        let mut entries = entries.ready_chunks(APPLIED_AT_ONCE);
        while let Some(chunk) = entries.next().await {
            let (entries, responders): (Vec<_>, Vec<_>) =
                chunk.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
            let this = self.clone();
            let applied = self.worker.run(move || this.apply_entries(entries)).await?;
            for (applied, responder) in applied.into_iter().zip(responders) {
                if let Some(responder) = responder {
                    responder.send(applied);
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        let SnapshotData::Staged(transfer) = data else {
            return Err(io::Error::other("a view of the own state needs not be installed"));
        };
        let (this, meta) = (self.clone(), meta.clone());
        let install = move || {
            this.stage.install(transfer, &meta)?;
            let applied = meta.last_log_id.map_or(0, |id| id.index());
            this.set_meta(meta);
            this.feed.publish(applied, Some(Updated::Replaced));
            Ok(())
        };
        self.worker.run(install).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let view = self.view()?;
        let meta = view.meta().clone();
        Ok(meta.last_log_id.is_some().then(|| Snapshot { meta, snapshot: SnapshotData::View(view) }))
    }
}

impl RaftSnapshotBuilder<Types> for StateMachine {
    type SnapshotData = SnapshotData;

    /// Syncs the state. Entries up to it may then leave the log.
    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let this = self.clone();
        let view = self.worker.run(move || {
            state_tables::write(&this.database, true, |transaction| {
                state_tables::put_meta(transaction, &this.meta())
            })?;
            this.view()
        });
        let view = view.await?;
        Ok(Snapshot { meta: view.meta().clone(), snapshot: SnapshotData::View(view) })
    }
}

impl fmt::Debug for StateMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateMachine").field("meta", &self.meta()).finish_non_exhaustive()
    }
}
