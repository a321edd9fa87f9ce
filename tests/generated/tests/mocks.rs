//! The mocks that are generated of a `.proto` file, for every call type.
#![allow(clippy::unwrap_used, missing_docs)]

use futures_util::StreamExt;
use generated::own::acme::AdminMock;
use generated::own::acme::ids::Id;
use generated::own::acme::storage::v1::entry::Part;
use generated::own::acme::storage::v1::{
    Entry, Storage, StorageClient, StorageMock, StorageNodeClient, StorageServer,
};
use gorums::testing::Cluster;
use gorums::{NodeErrorKind, Server, Status};
use prost_types::{Any, Timestamp};

fn entry(number: u64) -> Entry {
    Entry { id: Some(Id { number }), ..Entry::default() }
}

#[tokio::test(start_paused = true)]
async fn every_call_type_of_a_fake_node() {
    let nodes = StorageMock::nodes(3);
    let configuration = nodes.configuration();
    for (number, mock) in (1..).zip(&nodes) {
        mock.read_all.replies(entry(number));
        mock.parts.replies([Part { data: vec![1] }]);
    }
    nodes[0].read.answers(|id| Ok(entry(id.number)));
    nodes[0].touch.fails(Status::aborted("no"));
    configuration.read_all(Id { number: 1 }).all().await.unwrap();
    assert_eq!(configuration.parts(entry(1)).send().count().await, 3);
    configuration.tell_all(Any::default()).await.unwrap();
    let node = &configuration.nodes()[0];
    assert_eq!(node.read(Id { number: 7 }).await.unwrap(), entry(7));
    assert!(node.touch(Timestamp::default()).await.is_err());
    node.tell(Part { data: vec![2] }).await.unwrap();
    nodes[0].tell.received(1).await;
    assert_eq!(nodes[0].tell.requests(), [Part { data: vec![2] }]);
    for mock in &nodes {
        mock.tell_all.received(1).await;
        assert_eq!(mock.read_all.requests(), [Id { number: 1 }]);
        assert_eq!(mock.parts.requests(), [entry(1)]);
    }
    nodes.stop(2).await;
    let error = configuration.read_all(Id { number: 1 }).all().await.unwrap_err();
    assert!(error.nodes().iter().any(|error| matches!(error.kind(), NodeErrorKind::Unavailable)), "{error}");
}

/// A mock is also what a server implements, for code that takes that; and one service among others.
#[tokio::test(start_paused = true)]
async fn a_mock_in_a_real_server() {
    fn served(service: impl Storage) -> gorums::ServerBuilder {
        Server::builder().add_service(StorageServer::new(service))
    }
    let (mock, admin) = (StorageMock::default(), AdminMock::default());
    mock.read_all.replies(entry(1));
    mock.parts.replies([Part::default()]);
    let (served_mock, served_admin) = (mock.clone(), admin.clone());
    let mut cluster =
        Cluster::in_memory(1, move |_| served(served_mock.clone()).add_service(served_admin.clone())).await;
    let configuration = cluster.configuration();
    configuration.read_all(Id::default()).all().await.unwrap();
    assert_eq!(configuration.parts(entry(1)).send().count().await, 1);
    configuration.nodes()[0].tell(Part::default()).await.unwrap();
    mock.tell.received(1).await;
    assert_eq!((mock.read_all.calls(), admin.find.calls()), (1, 0));
    drop(configuration);
    cluster.finish().await;
}
