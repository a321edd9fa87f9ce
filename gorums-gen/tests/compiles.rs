//! The golden files compile without a warning, against a runtime that has only its signatures.
#![deny(missing_docs, unreachable_pub, unused, warnings)]

// What `::gorums` is in the generated code.
extern crate self as gorums;

/// The least that the generated code needs.
pub mod codegen {
    use std::future::Future;
    use std::marker::PhantomData;
    use std::sync::Arc;

    /// The context of a call.
    #[derive(Debug)]
    pub struct ServerContext;
    /// An error of a handler.
    #[derive(Debug)]
    pub struct Status;
    /// Sends updates.
    #[derive(Debug)]
    pub struct Updates<T>(PhantomData<T>);
    /// Collects handlers.
    #[derive(Debug, Default)]
    pub struct Methods(pub Vec<&'static str>);

    /// What can be served.
    pub trait Service {
        /// Its name.
        const NAME: &'static str;
        /// Hands its handlers over.
        fn register(self, methods: &mut Methods);
    }

    /// A method.
    #[derive(Debug)]
    pub struct Method<Req, Resp> {
        name: &'static str,
        types: PhantomData<fn(Req) -> Resp>,
    }

    /// How it is called.
    #[derive(Debug, Clone, Copy)]
    #[allow(missing_docs, reason = "they say it")]
    pub enum CallType {
        Rpc,
        Unicast,
        Multicast,
        QuorumCall,
        StreamingQuorumCall,
    }

    impl<Req, Resp> Method<Req, Resp> {
        /// A method whose messages are prost's.
        pub const fn prost(name: &'static str, _: CallType) -> Self {
            Self { name, types: PhantomData }
        }

        /// Says that it may be called twice.
        #[must_use]
        pub const fn idempotent(self) -> Self {
            self
        }
    }

    type Replied<T> = Result<T, Status>;

    impl Methods {
        /// Adds a handler that replies once.
        pub fn two_way<T, Req, Resp, F, Fut>(&mut self, method: &Method<Req, Resp>, _: &Arc<T>, _: F)
        where
            F: Fn(Arc<T>, ServerContext, Req) -> Fut,
            Fut: Future<Output = Replied<Resp>> + Send,
        {
            self.0.push(method.name);
        }

        /// Adds a handler that does not reply.
        pub fn one_way<T, Req, F, Fut>(&mut self, method: &Method<Req, ()>, _: &Arc<T>, _: F)
        where
            F: Fn(Arc<T>, ServerContext, Req) -> Fut,
            Fut: Future<Output = ()> + Send,
        {
            self.0.push(method.name);
        }

        /// Adds a handler that replies many times.
        pub fn streaming<T, Req, Resp, F, Fut>(&mut self, method: &Method<Req, Resp>, _: &Arc<T>, _: F)
        where
            F: Fn(Arc<T>, ServerContext, Req, Updates<Resp>) -> Fut,
            Fut: Future<Output = Replied<()>> + Send,
        {
            self.0.push(method.name);
        }
    }

    /// A configuration.
    pub trait QuorumTarget {
        /// The quorum that was chosen.
        type Quorum;
        /// Describes a quorum call.
        fn quorum_call<Req, Resp>(
            &self,
            method: &'static Method<Req, Resp>,
            request: Req,
        ) -> QuorumCall<Req, Resp, Self::Quorum> {
            QuorumCall(method.name, request, PhantomData)
        }
        /// Describes a streaming quorum call.
        fn streaming_call<Req, Resp>(
            &self,
            method: &'static Method<Req, Resp>,
            request: Req,
        ) -> StreamingCall<Req, Resp> {
            StreamingCall(method.name, request, PhantomData)
        }
        /// Describes a multicast.
        fn multicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Multicast<Req> {
            Multicast(method.name, request)
        }
    }

    /// A node.
    pub trait NodeTarget {
        /// Describes an rpc.
        fn rpc<Req, Resp>(&self, method: &'static Method<Req, Resp>, request: Req) -> Rpc<Req, Resp> {
            Rpc(method.name, request, PhantomData)
        }
        /// Describes a unicast.
        fn unicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Unicast<Req> {
            Unicast(method.name, request)
        }
    }

    /// A call.
    #[derive(Debug)]
    pub struct QuorumCall<Req, Resp, Q>(pub &'static str, pub Req, PhantomData<(Resp, Q)>);
    /// A call.
    #[derive(Debug)]
    pub struct StreamingCall<Req, Resp>(pub &'static str, pub Req, PhantomData<Resp>);
    /// A call.
    #[derive(Debug)]
    pub struct Multicast<Req>(pub &'static str, pub Req);
    /// A call.
    #[derive(Debug)]
    pub struct Rpc<Req, Resp>(pub &'static str, pub Req, PhantomData<Resp>);
    /// A call.
    #[derive(Debug)]
    pub struct Unicast<Req>(pub &'static str, pub Req);
}

/// Every call type.
pub mod storage {
    #![allow(missing_docs, reason = "messages have the docs of the .proto")]
    include!("golden/storage.rs");
}

/// Names that need care; nothing of it is used.
mod names {
    #![allow(missing_docs, unreachable_pub, dead_code, reason = "messages are prost's business")]
    include!("golden/names.rs");
}

use codegen::{Methods, NodeTarget, QuorumTarget, ServerContext, Service, Status, Updates};
use storage::{
    ReadRequest, ReadResponse, Storage, StorageClient, StorageNodeClient, StorageServer, WriteRequest,
    WriteResponse,
};

struct Memory;

impl Storage for Memory {
    async fn read_rpc(&self, _: &ServerContext, _: ReadRequest) -> Result<ReadResponse, Status> {
        Err(Status)
    }

    async fn write_unicast(&self, _: &ServerContext, _: WriteRequest) {}

    async fn write_multicast(&self, _: &ServerContext, _: WriteRequest) {}

    async fn read_qc(&self, _: &ServerContext, _: ReadRequest) -> Result<ReadResponse, Status> {
        Err(Status)
    }

    async fn write_qc(&self, _: &ServerContext, _: WriteRequest) -> Result<WriteResponse, Status> {
        Err(Status)
    }

    async fn watch(&self, _: &ServerContext, _: ReadRequest, _: Updates<ReadResponse>) -> Result<(), Status> {
        Ok(())
    }
}

#[test]
fn all_methods_are_served() {
    let mut methods = Methods::default();
    StorageServer::new(Memory).clone().register(&mut methods);
    assert_eq!(<StorageServer<Memory> as Service>::NAME, "storage.Storage");
    assert_eq!(
        methods.0,
        [
            "storage.Storage.ReadRPC",
            "storage.Storage.WriteUnicast",
            "storage.Storage.WriteMulticast",
            "storage.Storage.ReadQC",
            "storage.Storage.WriteQC",
            "storage.Storage.Watch",
        ]
    );
}

#[test]
fn all_methods_can_be_called() {
    struct Nodes;
    impl QuorumTarget for Nodes {
        type Quorum = ();
    }
    impl NodeTarget for Nodes {}
    let key = || ReadRequest { key: "k".to_owned() };
    let write = || WriteRequest { key: "k".to_owned(), value: Vec::new() };
    assert_eq!(Nodes.read_rpc(key()).0, "storage.Storage.ReadRPC");
    assert_eq!(Nodes.write_unicast(write()).0, "storage.Storage.WriteUnicast");
    assert_eq!(Nodes.write_multicast(write()).0, "storage.Storage.WriteMulticast");
    assert_eq!(Nodes.read_qc(key()).0, "storage.Storage.ReadQC");
    assert_eq!(Nodes.write_qc(write()).0, "storage.Storage.WriteQC");
    assert_eq!(Nodes.watch(key()).0, "storage.Storage.Watch");
}
