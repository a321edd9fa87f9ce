//! The values that one server has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost_types::Timestamp;

use crate::proto::{ReadResponse, WriteRequest, WriteResponse};

/// Values by key, each with the time of its write.
#[derive(Debug, Default)]
pub(crate) struct Store {
    values: Mutex<HashMap<String, Versioned>>,
}

#[derive(Debug)]
struct Versioned {
    value: String,
    version: Version,
}

impl Store {
    /// What there is for a key.
    pub(crate) fn read(&self, key: &str) -> ReadResponse {
        match self.values().get(key) {
            None => ReadResponse::default(),
            Some(Versioned { value, version }) => {
                ReadResponse { ok: true, value: value.clone(), time: Some(version.into_timestamp()) }
            }
        }
    }

    /// Takes a value, unless there is a newer one.
    pub(crate) fn write(&self, request: WriteRequest) -> WriteResponse {
        let version = Version::of(request.time);
        let new = match self.values().entry(request.key) {
            Entry::Occupied(present) if present.get().version > version => false,
            entry => {
                entry.insert_entry(Versioned { value: request.value, version });
                true
            }
        };
        WriteResponse { new }
    }

    fn values(&self) -> MutexGuard<'_, HashMap<String, Versioned>> {
        // The map is whole at every point where a thread could panic.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a value was written: seconds, and nanoseconds from 0 up to a second, since 1970. The newest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(i64, i32);

impl Version {
    /// The version of a message with this time; without one, as in Go, the beginning of 1970.
    pub(crate) fn of(time: Option<Timestamp>) -> Self {
        let mut time = time.unwrap_or_default();
        // A peer may send any nanoseconds.
        time.normalize();
        Self(time.seconds, time.nanos)
    }

    fn into_timestamp(self) -> Timestamp {
        Timestamp { seconds: self.0, nanos: self.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(store: &Store, value: &str, seconds: i64, nanos: i32) -> bool {
        let time = Some(Timestamp { seconds, nanos });
        store.write(WriteRequest { key: "k".into(), value: value.into(), time }).new
    }

    #[test]
    fn the_newest_value_stays() {
        let store = Store::default();
        assert!(!store.read("k").ok);
        assert!(write(&store, "first", 10, 5));
        assert!(!write(&store, "older", 10, 4));
        assert!(!write(&store, "much older", 9, 999_999_999));
        assert_eq!(store.read("k").value, "first");
        assert!(write(&store, "as old", 10, 5));
        assert!(write(&store, "newer", 11, 0));
        let reply = store.read("k");
        assert_eq!((reply.ok, reply.value.as_str()), (true, "newer"));
        assert_eq!(reply.time, Some(Timestamp { seconds: 11, nanos: 0 }));
    }

    #[test]
    fn a_value_without_a_time_is_the_oldest() {
        let store = Store::default();
        assert!(store.write(WriteRequest { key: "k".into(), value: "v".into(), time: None }).new);
        assert!(write(&store, "timed", 0, 1));
        assert!(!store.write(WriteRequest { key: "k".into(), value: "v".into(), time: None }).new);
    }

    #[test]
    fn nonsense_nanoseconds_count_as_what_they_add_up_to() {
        let store = Store::default();
        assert!(write(&store, "two seconds", 0, 2_000_000_000));
        assert!(!write(&store, "one", 1, 999_999_999));
        assert!(write(&store, "the end of time", i64::MAX, i32::MAX));
        assert!(!write(&store, "before time", i64::MIN, i32::MIN));
    }
}
