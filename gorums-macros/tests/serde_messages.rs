//! Messages of plain serde types: those that prost cannot have, from elsewhere, and mocks of them.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]

use std::collections::BTreeMap;

use gorums::{Configuration, Server, ServerContext, Status, Updates};
use serde::{Deserialize, Serialize};

/// A command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Sets a value.
    Set(String, Vec<u8>),
    /// Does nothing.
    Nothing,
}

/// Keeps values.
#[gorums::service(package = "storage", codec = "postcard", mock(all()))]
pub trait Storage {
    /// Does something.
    #[quorumcall(idempotent)]
    async fn run(&self, ctx: &ServerContext, command: Command) -> Result<Option<Command>, Status>;

    /// Tuples and arrays are messages as well.
    async fn sum(&self, ctx: &ServerContext, request: (u64, [i8; 2])) -> Result<(bool, char), Status>;

    /// Nothing comes back.
    #[multicast]
    async fn note(&self, ctx: &ServerContext, request: BTreeMap<u8, std::borrow::Cow<'static, str>>);

    /// Many replies.
    #[quorumcall(stream)]
    async fn watch(
        &self,
        ctx: &ServerContext,
        request: (),
        updates: Updates<Result<u8, String>>,
    ) -> Result<(), Status>;
}

fn calls(configuration: &Configuration) {
    drop(configuration.run(Command::Nothing).majority());
    let _ = configuration.watch(()).send();
    let _ = configuration.note(BTreeMap::new());
    let _ = configuration.nodes()[0].sum((1, [2, 3]));
}

#[test]
fn compiles_and_mocks_are_services() {
    let mock = StorageMock::default();
    mock.run.replies(Some(Command::Nothing));
    mock.watch.replies([Ok(1), Err("no".to_owned())]);
    let _ = Server::builder().add_service(StorageServer::new(mock.clone())).add_service(mock);
    let _ = calls;
}
