//! The service of the documentation, implemented, served and called.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]

/// The trait has its types from imports that nothing else uses.
pub mod service {
    use crate::message::{ReadRequest, ReadResponse, WriteRequest};
    use gorums::{ServerContext, Status, Updates};

    /// Keeps values.
    #[gorums::service(package = "storage")]
    pub trait Storage {
        /// Reads a value from one node.
        async fn read_rpc(&self, ctx: &ServerContext, req: ReadRequest) -> Result<ReadResponse, Status>;

        /// Writes a value to one node.
        #[unicast]
        async fn write_unicast(&self, ctx: &ServerContext, req: WriteRequest);

        /// Writes a value to every node.
        #[multicast]
        async fn write_multicast(&self, ctx: &ServerContext, req: WriteRequest);

        /// Reads the newest value.
        #[quorumcall(idempotent, name = "ReadQC")]
        async fn read_qc(&self, ctx: &ServerContext, req: ReadRequest) -> Result<ReadResponse, Status>;

        /// Reads a value whenever it changes.
        #[quorumcall(stream)]
        async fn watch(
            &self,
            ctx: &ServerContext,
            req: ReadRequest,
            updates: Updates<ReadResponse>,
        ) -> Result<(), Status>;
    }
}

/// Messages without a `.proto`.
pub mod message {
    /// A key.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ReadRequest {
        /// The key.
        #[prost(string, tag = "1")]
        pub key: String,
    }

    /// A value.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ReadResponse {
        /// The value.
        #[prost(string, tag = "1")]
        pub value: String,
    }

    /// A key and its value.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WriteRequest {
        /// The key.
        #[prost(string, tag = "1")]
        pub key: String,
        /// The value.
        #[prost(string, tag = "2")]
        pub value: String,
    }
}

use gorums::{Configuration, Server, ServerContext, Status, Updates};
use message::{ReadRequest, ReadResponse, WriteRequest};
use service::{Storage, StorageClient, StorageNodeClient, StorageServer};

struct Memory;

impl Storage for Memory {
    async fn read_rpc(&self, _ctx: &ServerContext, req: ReadRequest) -> Result<ReadResponse, Status> {
        Ok(ReadResponse { value: req.key })
    }

    async fn write_unicast(&self, _ctx: &ServerContext, _req: WriteRequest) {}

    async fn write_multicast(&self, _ctx: &ServerContext, _req: WriteRequest) {}

    async fn read_qc(&self, ctx: &ServerContext, req: ReadRequest) -> Result<ReadResponse, Status> {
        self.read_rpc(ctx, req).await
    }

    async fn watch(
        &self,
        _ctx: &ServerContext,
        req: ReadRequest,
        mut updates: Updates<ReadResponse>,
    ) -> Result<(), Status> {
        updates.send(ReadResponse { value: req.key }).await
    }
}

/// Nothing is called: that this compiles is the test.
async fn calls(configuration: &Configuration) {
    let read = ReadRequest { key: "k".to_owned() };
    let write = WriteRequest { key: "k".to_owned(), value: "v".to_owned() };
    let _ = configuration.read_qc(read.clone()).majority().await;
    let _ = configuration.all().read_qc(read.clone()).await;
    let _ = configuration.write_multicast(write.clone()).await;
    let _ = configuration.watch(read.clone()).send();
    for node in configuration.nodes() {
        let _ = node.read_rpc(read.clone()).await;
        let _ = node.write_unicast(write.clone()).await;
    }
}

#[test]
fn compiles() {
    let _ = Server::builder().add_service(StorageServer::new(Memory).clone());
    let _ = calls;
}
