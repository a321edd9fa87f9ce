//! A service from a trait, with messages of plain serde types, and its mocks.
#![allow(clippy::unwrap_used, missing_docs)]

use futures_util::StreamExt;
use gorums::testing::Cluster;
use gorums::{Code, NodeErrorKind, Server, ServerContext, Status, Updates};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    Set { key: String, value: Option<u32> },
    Nothing,
}

#[gorums::service(package = "demo", codec = "postcard", mock)]
pub trait Store {
    #[quorumcall]
    async fn run(&self, ctx: &ServerContext, command: Command) -> Result<(u64, Command), Status>;

    async fn one(&self, ctx: &ServerContext, command: Command) -> Result<Option<char>, Status>;

    #[multicast]
    async fn note(&self, ctx: &ServerContext, words: Vec<String>);

    #[quorumcall(stream)]
    async fn watch(&self, ctx: &ServerContext, last: u8, updates: Updates<u8>) -> Result<(), Status>;
}

#[derive(Clone)]
struct Echo;

impl Store for Echo {
    async fn run(&self, _: &ServerContext, command: Command) -> Result<(u64, Command), Status> {
        Ok((1, command))
    }
    async fn one(&self, _: &ServerContext, _: Command) -> Result<Option<char>, Status> {
        Ok(Some('€'))
    }
    async fn note(&self, _: &ServerContext, _: Vec<String>) {}
    async fn watch(&self, _: &ServerContext, last: u8, mut updates: Updates<u8>) -> Result<(), Status> {
        for number in 1..=last {
            updates.send(number).await?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_plain_serde_types() {
    let mut cluster = Cluster::in_memory(3, |_| Server::builder().add_service(StoreServer::new(Echo))).await;
    let configuration = cluster.configuration();
    for command in [Command::Nothing, Command::Set { key: "k".to_owned(), value: Some(0) }] {
        assert_eq!(configuration.run(command.clone()).all().await.unwrap(), (1, command));
    }
    assert_eq!(configuration.nodes()[0].one(Command::Nothing).await.unwrap(), Some('€'));
    configuration.note(vec!["a".to_owned()]).await.unwrap();
    let updates: Vec<_> = configuration.watch(2).send().map(|reply| reply.result.unwrap()).collect().await;
    assert_eq!(updates.iter().copied().map(u32::from).sum::<u32>(), 9);
    drop(configuration);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn mocks_of_plain_serde_types() {
    let nodes = StoreMock::nodes(3);
    let configuration = nodes.configuration();
    nodes[0].run.replies((7, Command::Nothing));
    nodes[1].run.in_turn([Err(Status::aborted("no"))]);
    let held = nodes[2].run.hold();
    let mut replies = configuration.run(Command::Nothing).send();
    let mut first = [replies.next().await.unwrap(), replies.next().await.unwrap()];
    first.sort_by_key(|reply| reply.node);
    assert_eq!(first[0].result.as_ref().unwrap(), &(7, Command::Nothing));
    assert_eq!(first[1].result.as_ref().unwrap_err().status().unwrap().code(), Code::Aborted);
    held.release(Ok((9, Command::Nothing)));
    assert_eq!(replies.next().await.unwrap().result.unwrap().0, 9);
    nodes.stop(3).await;
    let error = configuration.nodes()[2].one(Command::Nothing).await.unwrap_err();
    assert!(matches!(error.kind(), NodeErrorKind::Unavailable), "{error}");
    nodes[1].watch.replies([1, 2]);
    configuration.note(vec!["x".to_owned()]).await.unwrap_err();
    nodes[0].note.received(1).await;
    assert_eq!(nodes[0].note.requests(), [["x".to_owned()]]);
}
