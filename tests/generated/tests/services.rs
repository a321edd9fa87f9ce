//! Services of many files and packages, with messages of each other and of Google, on one server.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use generated::own::acme::ids::{Id, Kind};
use generated::own::acme::storage::v1::{self, Entry, entry::Part};
use generated::own::acme::storage::v1::{
    Audit, AuditClient, AuditServer, More, MoreClient, MoreServer, Storage, StorageClient, StorageNodeClient,
    StorageServer,
};
use generated::own::acme::{Admin, AdminClient, AdminMethods, AdminNodeClient, AdminServer};
use gorums::testing::Cluster;
use gorums::{NodeId, Server, ServerContext, Status, Updates};
use prost_types::value::Kind as ValueKind;
use prost_types::{Any, Duration, Struct, Timestamp, Value};

fn whole(number: u64) -> Entry {
    let part = |byte| Part { data: vec![byte] };
    let value = Value { kind: Some(ValueKind::NumberValue(0.5)) };
    Entry {
        id: Some(Id { number }),
        kind: Kind::Good as i32,
        parts: vec![part(1), part(2)],
        named: HashMap::from([("k".to_owned(), part(3))]),
        time: Some(Timestamp { seconds: -1, nanos: 1 }),
        any: Some(Any { type_url: "t".to_owned(), value: vec![7] }),
        structure: Some(Struct { fields: BTreeMap::from([("f".to_owned(), value)]) }),
        text: Some(String::new()),
        number: Some(0),
        age: Some(Duration { seconds: 3, nanos: 0 }),
    }
}

#[derive(Clone, Default)]
struct All {
    told: Arc<Mutex<Vec<String>>>,
}

impl All {
    fn tell(&self, what: impl std::fmt::Debug) {
        self.told.lock().unwrap().push(format!("{what:?}"));
    }
}

impl Storage for All {
    async fn read(&self, _: &ServerContext, id: Id) -> Result<Entry, Status> {
        Ok(whole(id.number))
    }
    async fn touch(&self, _: &ServerContext, time: Timestamp) -> Result<(), Status> {
        self.tell(time.seconds);
        Ok(())
    }
    async fn tell(&self, _: &ServerContext, part: Part) {
        self.tell(part.data);
    }
    async fn tell_all(&self, _: &ServerContext, any: Any) {
        self.tell(any.type_url);
    }
    async fn read_all(&self, _: &ServerContext, id: Id) -> Result<Entry, Status> {
        Ok(whole(id.number))
    }
    async fn parts(&self, _: &ServerContext, entry: Entry, mut updates: Updates<Part>) -> Result<(), Status> {
        for part in entry.parts {
            updates.send(part).await?;
        }
        Ok(())
    }
    async fn wrapped(&self, _: &ServerContext, number: u64) -> Result<String, Status> {
        Ok(number.to_string())
    }
    async fn structured(&self, _: &ServerContext, structure: Struct) -> Result<Value, Status> {
        structure.fields.into_values().next().ok_or_else(|| Status::not_found("it is empty"))
    }
}

impl Audit for All {
    async fn read(&self, _: &ServerContext, id: Id) -> Result<Id, Status> {
        Ok(Id { number: id.number + 1 })
    }
}

impl More for All {
    async fn again(&self, _: &ServerContext, entry: Entry) -> Result<Entry, Status> {
        Ok(entry)
    }
}

impl Admin for All {
    async fn find(&self, _: &ServerContext, id: Id) -> Result<Entry, Status> {
        Ok(whole(id.number * 10))
    }
    async fn storage(&self, _: &ServerContext, part: Part) -> Result<Id, Status> {
        Ok(Id { number: part.data.len() as u64 })
    }
}

#[tokio::test(start_paused = true)]
#[allow(deprecated, reason = "one method is, to see that it is")]
async fn four_services_on_one_server() {
    let all: Vec<_> = (0..3).map(|_| All::default()).collect();
    let nodes = all.clone();
    let server = move |id: NodeId| {
        let all = &nodes[id.get() as usize - 1];
        Server::builder()
            .add_service(StorageServer::new(all.clone()))
            .add_service(AuditServer::new(all.clone()))
            .add_service(MoreServer::new(all.clone()))
            .add_service(AdminServer::new(all.clone()))
    };
    let mut cluster = Cluster::in_memory(3, server).await;
    let configuration = cluster.configuration();
    let id = Id { number: 5 };
    assert_eq!(configuration.read_all(id).all().await.unwrap(), whole(5));
    assert_eq!(configuration.again(whole(6)).all().await.unwrap(), whole(6));
    assert_eq!(configuration.find(id).all().await.unwrap(), whole(50));
    assert_eq!(AuditClient::read(&configuration, id).all().await.unwrap(), Id { number: 6 });
    assert_eq!(configuration.wrapped(0).all().await.unwrap(), "0");
    let structure = whole(1).structure.unwrap();
    let value = configuration.structured(structure).all().await.unwrap();
    assert_eq!(value.kind, Some(ValueKind::NumberValue(0.5)));
    let parts: Vec<_> =
        configuration.parts(whole(1)).send().map(|reply| reply.result.unwrap()).collect().await;
    assert_eq!(parts.len(), 6);

    configuration.tell_all(Any { type_url: "any".to_owned(), value: Vec::new() }).await.unwrap();
    for node in configuration.nodes() {
        assert_eq!(node.read(id).await.unwrap(), whole(5));
        assert_eq!(node.storage(Part { data: vec![0; 4] }).await.unwrap(), Id { number: 4 });
        node.tell(Part { data: vec![9] }).await.unwrap();
        // In order: what was told before has come.
        node.touch(Timestamp { seconds: 3, nanos: 0 }).await.unwrap();
    }
    for all in &all {
        assert_eq!(*all.told.lock().unwrap(), ["\"any\"", "[9]", "3"]);
    }
    drop(configuration);
    cluster.finish().await;
}

#[test]
fn names_on_the_wire_have_their_packages() {
    assert_eq!(AdminMethods::FIND.name(), "acme.Admin.Find");
    assert_eq!(v1::MoreMethods::AGAIN.name(), "acme.storage.v1.More.Again");
    assert_eq!(v1::StorageMethods::READ.name(), "acme.storage.v1.Storage.Read");
}
