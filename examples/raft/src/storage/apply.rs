//! What the operations of the store do to the state. Deterministic: every node applies the same ones in the same order.

use std::io;

use bytes::Bytes;
use prost::Message;
use redb::ReadableTable;

use crate::proto::{
    CompareAndSwap, Operation, Outcome, Session, SessionLost, SessionRecord, Written, operation, outcome,
};
use crate::storage::state_tables::StateTables;

/// Sessions that are remembered. When there are more, those that were not used for longest are forgotten.
const MAX_SESSIONS: u64 = 10_000;

const REVISION: &[u8] = b"revision";
const SESSION_COUNT: &[u8] = b"sessions";

/// A change of the store, for those who watch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) key: Bytes,
    /// None: it was deleted.
    pub(crate) value: Option<Bytes>,
}

impl StateTables<'_> {
    /// Executes an operation of the entry with this index, unless its session shows that it was executed before.
    pub(crate) fn execute(
        &mut self,
        index: u64,
        operation: Operation,
        changes: &mut Vec<Change>,
    ) -> io::Result<Outcome> {
        let Some(change) = operation.change else { return Ok(written(Written::default())) };
        let Some(session) = operation.session else { return Ok(written(self.change(change, changes)?)) };
        let record = self.session(session.client)?;
        match record {
            Some(record) if record.sequence == session.sequence => {
                return Ok(written(record.reply.unwrap_or_default()));
            }
            Some(record) if record.sequence > session.sequence => return Ok(lost()),
            // Its earlier operations may have been executed, this one too: nobody knows any more.
            None if session.sequence != 1 => return Ok(lost()),
            _ => {}
        }
        let reply = self.change(change, changes)?;
        self.remember(index, session, record.map(|record| record.used), reply.clone())?;
        Ok(written(reply))
    }

    fn change(&mut self, change: operation::Change, changes: &mut Vec<Change>) -> io::Result<Written> {
        match change {
            operation::Change::Put(put) => {
                let revision = self.set(put.key, Some(put.value), changes)?;
                Ok(Written { revision, done: true, found: None })
            }
            operation::Change::Delete(delete) => {
                if self.value(&delete.key)?.is_none() {
                    return Ok(Written { revision: self.revision()?, done: false, found: None });
                }
                let revision = self.set(delete.key, None, changes)?;
                Ok(Written { revision, done: true, found: None })
            }
            operation::Change::CompareAndSwap(CompareAndSwap { key, expected, value }) => {
                let found = self.value(&key)?;
                if found != expected {
                    return Ok(Written { revision: self.revision()?, done: false, found });
                }
                let revision = self.set(key, value, changes)?;
                Ok(Written { revision, done: true, found: None })
            }
        }
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>, changes: &mut Vec<Change>) -> io::Result<u64> {
        let revision = self.revision()? + 1;
        self.set_counter(REVISION, revision)?;
        match &value {
            Some(value) => {
                let row = [&revision.to_be_bytes()[..], value].concat();
                self.store.insert(&key[..], &row[..]).map_err(io::Error::other)?;
            }
            None => {
                self.store.remove(&key[..]).map_err(io::Error::other)?;
            }
        }
        changes.push(Change { revision, key, value });
        Ok(revision)
    }

    fn value(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let row = self.store.get(key).map_err(io::Error::other)?;
        row.map(|row| split(row.value()).map(|(_, value)| value)).transpose()
    }

    pub(crate) fn revision(&self) -> io::Result<u64> {
        self.counter(REVISION)
    }

    fn counter(&self, name: &[u8]) -> io::Result<u64> {
        let value = self.counters.get(name).map_err(io::Error::other)?;
        value.map_or(Ok(0), |value| number(value.value()))
    }

    fn set_counter(&mut self, name: &[u8], value: u64) -> io::Result<()> {
        self.counters.insert(name, &value.to_be_bytes()[..]).map(drop).map_err(io::Error::other)
    }

    fn session(&self, client: u64) -> io::Result<Option<SessionRecord>> {
        let record = self.sessions.get(&client.to_be_bytes()[..]).map_err(io::Error::other)?;
        record.map(|record| SessionRecord::decode(record.value()).map_err(io::Error::other)).transpose()
    }

    fn remember(
        &mut self,
        index: u64,
        session: Session,
        last_used: Option<u64>,
        reply: Written,
    ) -> io::Result<()> {
        let Session { client, sequence } = session;
        match last_used {
            Some(used) => {
                self.sessions_by_use.remove(&by_use(used, client)[..]).map_err(io::Error::other)?;
            }
            None => self.make_room()?,
        }
        let record = SessionRecord { sequence, used: index, reply: Some(reply) }.encode_to_vec();
        self.sessions.insert(&client.to_be_bytes()[..], &record[..]).map_err(io::Error::other)?;
        self.sessions_by_use.insert(&by_use(index, client)[..], &[][..]).map(drop).map_err(io::Error::other)
    }

    /// Counts a new session, and forgets the one that was not used for longest if there are too many.
    fn make_room(&mut self) -> io::Result<()> {
        let count = self.counter(SESSION_COUNT)?;
        if count < MAX_SESSIONS {
            return self.set_counter(SESSION_COUNT, count + 1);
        }
        let oldest = self.sessions_by_use.pop_first().map_err(io::Error::other)?;
        let client = oldest.map(|(key, _)| key.value()[8..].to_vec());
        if let Some(client) = client {
            self.sessions.remove(&client[..]).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn by_use(used: u64, client: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&used.to_be_bytes());
    key[8..].copy_from_slice(&client.to_be_bytes());
    key
}

fn number(bytes: &[u8]) -> io::Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(io::Error::other)
}

/// A row of the store: the revision, and the value.
pub(crate) fn split(row: &[u8]) -> io::Result<(u64, Bytes)> {
    let (revision, value) =
        row.split_at_checked(8).ok_or_else(|| io::Error::other("a value without a revision"))?;
    Ok((number(revision)?, Bytes::copy_from_slice(value)))
}

fn written(written: Written) -> Outcome {
    Outcome { result: Some(outcome::Result::Written(written)) }
}

fn lost() -> Outcome {
    Outcome { result: Some(outcome::Result::SessionLost(SessionLost {})) }
}

#[cfg(test)]
mod tests {
    use redb::Database;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::proto::{Delete, Put};
    use crate::storage::state_tables;

    /// Executes operations, each in an entry of its own.
    struct Machine {
        database: Database,
        index: u64,
        changes: Vec<Change>,
    }

    impl Machine {
        fn new() -> Self {
            let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
            Self { database, index: 0, changes: Vec::new() }
        }

        fn execute(&mut self, session: Option<(u64, u64)>, change: operation::Change) -> Option<Written> {
            self.index += 1;
            let session = session.map(|(client, sequence)| Session { client, sequence });
            let operation = Operation { session, change: Some(change) };
            let outcome = state_tables::write(&self.database, false, |transaction| {
                StateTables::open(transaction)?.execute(self.index, operation, &mut self.changes)
            });
            match outcome.unwrap().result.unwrap() {
                outcome::Result::Written(written) => Some(written),
                outcome::Result::SessionLost(_) => None,
            }
        }
    }

    fn put(key: &'static str, value: &'static str) -> operation::Change {
        Put { key: key.into(), value: value.into() }.into()
    }

    fn swap(
        key: &'static str,
        expected: Option<&'static str>,
        value: Option<&'static str>,
    ) -> operation::Change {
        let bytes = |text: &'static str| Bytes::from(text);
        CompareAndSwap { key: key.into(), expected: expected.map(bytes), value: value.map(bytes) }.into()
    }

    /// Its session was good, and it took effect.
    #[allow(clippy::unnecessary_wraps)] // As the machine answers.
    fn done(revision: u64) -> Option<Written> {
        Some(Written { revision, done: true, found: None })
    }

    #[test]
    fn each_operation_does_what_it_says() {
        let mut machine = Machine::new();
        let refused = |revision, found: Option<&'static str>| {
            Some(Written { revision, done: false, found: found.map(Bytes::from) })
        };
        assert_eq!(machine.execute(None, Delete { key: "k".into() }.into()), refused(0, None));
        assert_eq!(machine.execute(None, swap("k", Some("a"), Some("b"))), refused(0, None));
        assert_eq!(machine.execute(None, swap("k", None, Some("a"))), done(1));
        assert_eq!(machine.execute(None, swap("k", None, Some("b"))), refused(1, Some("a")));
        assert_eq!(machine.execute(None, swap("k", Some("a"), Some("b"))), done(2));
        assert_eq!(machine.execute(None, swap("k", Some("b"), None)), done(3));
        assert_eq!(machine.execute(None, put("k", "c")), done(4));
        assert_eq!(machine.execute(None, Delete { key: "k".into() }.into()), done(5));
        let values: Vec<_> = machine.changes.iter().map(|change| change.value.as_deref()).collect();
        assert_eq!(values, [Some(&b"a"[..]), Some(b"b"), None, Some(b"c"), None]);
    }

    #[test]
    fn what_is_sent_again_is_executed_once() {
        let mut machine = Machine::new();
        assert_eq!(machine.execute(Some((7, 1)), put("k", "a")), done(1));
        assert_eq!(machine.execute(Some((7, 1)), put("k", "a")), done(1));
        assert_eq!(machine.execute(Some((7, 2)), swap("k", Some("a"), Some("b"))), done(2));
        assert_eq!(machine.execute(Some((7, 2)), swap("k", Some("a"), Some("b"))), done(2));
        assert_eq!(machine.execute(Some((7, 1)), put("k", "late")), None, "an old one");
        assert_eq!(machine.execute(Some((8, 2)), put("k", "forgotten")), None, "not its first one");
        assert_eq!(machine.changes.len(), 2);
    }

    #[test]
    fn sessions_that_are_not_used_are_forgotten() {
        let mut machine = Machine::new();
        machine.execute(Some((1, 1)), put("k", "a"));
        machine.execute(Some((2, 1)), put("k", "b"));
        for client in 10..10 + MAX_SESSIONS - 2 {
            machine.execute(Some((client, 1)), put("k", "c"));
        }
        assert!(machine.execute(Some((1, 2)), put("k", "d")).is_some(), "all are remembered");
        machine.execute(Some((99_999, 1)), put("k", "e"));
        assert_eq!(machine.execute(Some((2, 2)), put("k", "f")), None, "the least recently used one");
        assert!(machine.execute(Some((1, 3)), put("k", "g")).is_some());
    }
}
