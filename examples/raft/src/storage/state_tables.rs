//! The tables of the state.

use std::io;

use prost::Message;
use redb::{Database, Durability, Table, TableDefinition, TableError, WriteTransaction};

use crate::proto;
use crate::types::{LogId, SnapshotMeta, StoredMembership};

/// All tables have bytes as keys and values, so that a snapshot can carry them without knowing what is in them.
pub(crate) type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;
pub(crate) type RowsOf<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Values, each after its revision (8 bytes).
pub(crate) const STORE: Rows = TableDefinition::new("store");
/// Sessions by their client (8 bytes).
pub(crate) const SESSIONS: Rows = TableDefinition::new("sessions");
/// The clients by the index at which they last used their session (8 bytes each).
pub(crate) const SESSIONS_BY_USE: Rows = TableDefinition::new("sessions_by_use");
pub(crate) const APPLICATION: Rows = TableDefinition::new("application");
/// Numbers by their names.
pub(crate) const COUNTERS: Rows = TableDefinition::new("counters");

/// The tables that a snapshot consists of, by their numbers in it; and beside each the one in which it is received.
pub(crate) const TABLES: [(Rows, Rows); 5] = [
    (STORE, TableDefinition::new("staged_store")),
    (SESSIONS, TableDefinition::new("staged_sessions")),
    (SESSIONS_BY_USE, TableDefinition::new("staged_sessions_by_use")),
    (APPLICATION, TableDefinition::new("staged_application")),
    (COUNTERS, TableDefinition::new("staged_counters")),
];

/// What was applied last, and the membership then.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const APPLIED: &str = "applied";

/// The tables in one transaction.
pub(crate) struct StateTables<'t> {
    pub(crate) store: RowsOf<'t>,
    pub(crate) sessions: RowsOf<'t>,
    pub(crate) sessions_by_use: RowsOf<'t>,
    pub(crate) application: RowsOf<'t>,
    pub(crate) counters: RowsOf<'t>,
}

impl<'t> StateTables<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> io::Result<Self> {
        let open = |table| transaction.open_table(table).map_err(io::Error::other);
        Ok(Self {
            store: open(STORE)?,
            sessions: open(SESSIONS)?,
            sessions_by_use: open(SESSIONS_BY_USE)?,
            application: open(APPLICATION)?,
            counters: open(COUNTERS)?,
        })
    }
}

/// Changes the state in one transaction, which is on disk when this returns if `durable` says so.
pub(crate) fn write<T>(
    database: &Database,
    durable: bool,
    work: impl FnOnce(&WriteTransaction) -> io::Result<T>,
) -> io::Result<T> {
    let mut transaction = database.begin_write().map_err(io::Error::other)?;
    if !durable {
        transaction.set_durability(Durability::None).map_err(io::Error::other)?;
    }
    let result = work(&transaction)?;
    transaction.commit().map_err(io::Error::other)?;
    Ok(result)
}

/// Makes all tables, if they are not there.
pub(crate) fn create(database: &Database) -> io::Result<()> {
    write(database, true, |transaction| {
        drop(StateTables::open(transaction)?);
        transaction.open_table(META).map(drop).map_err(io::Error::other)
    })
}

/// What the state is of, as a transaction sees it.
pub(crate) fn meta(read: &redb::ReadTransaction) -> io::Result<SnapshotMeta> {
    let table = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(empty()),
        Err(error) => return Err(io::Error::other(error)),
    };
    let Some(meta) = table.get(APPLIED).map_err(io::Error::other)? else { return Ok(empty()) };
    let meta = proto::SnapshotMeta::decode(meta.value()).map_err(io::Error::other)?;
    meta.try_into().map_err(io::Error::other)
}

fn empty() -> SnapshotMeta {
    SnapshotMeta { last_log_id: None, last_membership: StoredMembership::default() }
}

/// Notes what the state is of.
pub(crate) fn put_meta(transaction: &WriteTransaction, meta: &SnapshotMeta) -> io::Result<()> {
    let mut table = transaction.open_table(META).map_err(io::Error::other)?;
    let meta = proto::SnapshotMeta::from(meta).encode_to_vec();
    table.insert(APPLIED, meta.as_slice()).map(drop).map_err(io::Error::other)
}

/// The meta data after another entry was applied.
pub(crate) fn after(
    mut meta: SnapshotMeta,
    entry: LogId,
    membership: Option<StoredMembership>,
) -> SnapshotMeta {
    meta.last_log_id = Some(entry);
    if let Some(membership) = membership {
        meta.last_membership = membership;
    }
    meta
}
