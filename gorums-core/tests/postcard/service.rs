//! A service of plain serde types, by hand, and messages that are not what they should be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use gorums_core::{CallType, Method, Methods, ServerContext, Service, Status, Updates};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A message of what prost cannot have: a variant with a value, a map with optional values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub key: String,
    pub number: u64,
    pub kind: Kind,
    pub tags: BTreeMap<u8, Option<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    #[default]
    Plain,
    Named(String),
}

pub fn entry(key: &str) -> Entry {
    Entry { key: key.to_owned(), ..Entry::default() }
}

/// A message that behaves as it is told when it is encoded.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// It is encoded as this.
    Fine(u32),
    Fails,
    Panics,
    /// It is longer each time.
    Grows(Arc<AtomicU32>),
}

impl Serialize for Wrong {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fine(number) => serializer.serialize_u32(*number),
            Self::Fails => serializer.collect_seq((0..3).filter(|number| *number > 0)),
            Self::Panics => panic!("a message that panics"),
            Self::Grows(times) => serializer.serialize_u32(5 << (7 * times.fetch_add(1, Ordering::Relaxed))),
        }
    }
}

impl<'de> Deserialize<'de> for Wrong {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1001 => Err(serde::de::Error::custom("not this number")),
            number => Ok(Self::Fine(number)),
        }
    }
}

pub static ECHO: Method<Entry, Entry> = Method::postcard("test.Tests.Echo", CallType::QuorumCall);
pub static RPC: Method<Entry, Entry> = Method::postcard("test.Tests.Rpc", CallType::Rpc);
pub static TELL: Method<Entry, ()> = Method::postcard("test.Tests.Tell", CallType::Unicast);
pub static NOTE: Method<Entry, ()> = Method::postcard("test.Tests.Note", CallType::Multicast);
pub static WATCH: Method<Entry, Entry> = Method::postcard("test.Tests.Watch", CallType::StreamingQuorumCall);
/// Replies as the number says: 1 fails, 2 panics, and any other is the reply itself.
pub static WRONG: Method<Wrong, Wrong> = Method::postcard("test.Tests.Wrong", CallType::QuorumCall);
/// The same as a stream, of twice the reply.
pub static WRONGS: Method<Wrong, Wrong> =
    Method::postcard("test.Tests.Wrongs", CallType::StreamingQuorumCall);
pub static WRONG_NOTE: Method<Wrong, ()> = Method::postcard("test.Tests.WrongNote", CallType::Multicast);

/// The same methods, called with what is too long or too short for them.
pub static LONG: Method<(u32, u32), Wrong> = Method::postcard("test.Tests.Wrong", CallType::QuorumCall);
pub static SHORT: Method<(), Wrong> = Method::postcard("test.Tests.Wrong", CallType::QuorumCall);
pub static LONG_REPLY: Method<Wrong, (u32, u32)> = Method::postcard("test.Tests.Wrong", CallType::QuorumCall);
pub static SHORT_REPLY: Method<Wrong, ()> = Method::postcard("test.Tests.Wrong", CallType::QuorumCall);

#[derive(Clone, Default)]
pub struct Tests {
    pub told: Arc<Mutex<Vec<Entry>>>,
    pub noted: Arc<Mutex<Vec<u32>>>,
}

impl Service for Tests {
    const NAME: &'static str = "test.Tests";

    fn register(self, methods: &mut Methods) {
        let service = Arc::new(self);
        methods.two_way(&ECHO, &service, |_, _, entry| async move { Ok(entry) });
        methods.two_way(&RPC, &service, |_, _, entry| async move { Ok(entry) });
        let tell = |service: Arc<Self>, _: ServerContext, entry| async move {
            service.told.lock().unwrap().push(entry);
        };
        methods.one_way(&TELL, &service, tell);
        methods.one_way(&NOTE, &service, tell);
        methods.streaming(&WATCH, &service, |_, _, entry, mut updates: Updates<Entry>| async move {
            for number in 0..3 {
                updates.send(Entry { number, ..entry.clone() }).await?;
            }
            Ok(())
        });
        methods.two_way(&WRONG, &service, |_, _, request| async move { Ok(answer(&request)) });
        methods.streaming(&WRONGS, &service, |_, _, request, mut updates: Updates<Wrong>| async move {
            updates.send(Wrong::Fine(7)).await?;
            updates.send(answer(&request)).await?;
            Err(Status::data_loss("it went on"))
        });
        methods.one_way(&WRONG_NOTE, &service, |service: Arc<Self>, _, request| async move {
            if let Wrong::Fine(number) = request {
                service.noted.lock().unwrap().push(number);
            }
        });
    }
}

fn answer(request: &Wrong) -> Wrong {
    match request {
        Wrong::Fine(1) => Wrong::Fails,
        Wrong::Fine(2) => Wrong::Panics,
        other => other.clone(),
    }
}
