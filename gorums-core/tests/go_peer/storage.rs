//! The storage service as the recorded servers had it.

use std::sync::{Arc, Mutex};

use gorums_core::{CallType, Method, Methods, ServerContext, Service, Status, Updates};
use tokio::sync::Semaphore;

use crate::vectors::{ReadRequest, ReadResponse, WriteRequest, WriteResponse, found};

pub(crate) const WRITE_RPC: Method<WriteRequest, WriteResponse> =
    Method::prost("proto.Storage.WriteRPC", CallType::Rpc);
pub(crate) const READ_RPC: Method<ReadRequest, ReadResponse> =
    Method::prost("proto.Storage.ReadRPC", CallType::Rpc);
pub(crate) const WRITE_UNICAST: Method<WriteRequest, ()> =
    Method::prost("proto.Storage.WriteUnicast", CallType::Unicast);
pub(crate) const WRITE_MULTICAST: Method<WriteRequest, ()> =
    Method::prost("proto.Storage.WriteMulticast", CallType::Multicast);
pub(crate) const READ_QC: Method<ReadRequest, ReadResponse> =
    Method::prost("proto.Storage.ReadQC", CallType::QuorumCall);
pub(crate) const READ_CORRECTABLE: Method<ReadRequest, ReadResponse> =
    Method::prost("proto.Storage.ReadCorrectable", CallType::StreamingQuorumCall);
pub(crate) const NO_SUCH_METHOD: Method<ReadRequest, ReadResponse> =
    Method::prost("proto.Storage.NoSuchMethod", CallType::Rpc);

pub(crate) const NO_SUCH_NOTE: Method<ReadRequest, ()> =
    Method::prost("proto.Storage.NoSuchMethod", CallType::Unicast);

/// What its handlers have seen, and what they wait for.
#[derive(Clone, Default)]
pub(crate) struct Storage {
    pub(crate) started: Arc<Mutex<Vec<String>>>,
    pub(crate) writes: Arc<Mutex<Vec<String>>>,
    pub(crate) metadata: Arc<Mutex<Vec<String>>>,
    pub(crate) cancelled: Arc<Mutex<Vec<String>>>,
    gate: Option<Arc<Semaphore>>,
}

impl Storage {
    /// A storage whose reads of the key `gate` wait until it is opened.
    pub(crate) fn with_gate() -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        (Self { gate: Some(gate.clone()), ..Self::default() }, gate)
    }

    async fn read(&self, ctx: &ServerContext, request: ReadRequest) -> Result<ReadResponse, Status> {
        let trace = ctx.metadata().get_all("x-trace").iter().filter_map(|value| value.to_str().ok());
        self.metadata.lock().unwrap().extend(trace.map(str::to_owned));
        self.started.lock().unwrap().push(request.key.clone());
        match request.key.as_str() {
            "missing" => Ok(ReadResponse::default()),
            "notfound" => Err(Status::not_found("no such key")),
            "plain" => Err(Status::unknown("plain Go error")),
            "large" => Ok(found(&"x".repeat(200_000))),
            "hang" => {
                ctx.cancelled().await;
                self.cancelled.lock().unwrap().push(request.key);
                Err(Status::cancelled("gone"))
            }
            "gate" => {
                let gate = self.gate.as_ref().unwrap();
                gate.acquire().await.unwrap().forget();
                Ok(found("val-A"))
            }
            _ => Ok(found("val-A")),
        }
    }

    fn write(&self, request: WriteRequest) {
        self.writes.lock().unwrap().push(request.value);
    }

    async fn updates(mut updates: Updates<ReadResponse>) -> Result<(), Status> {
        for value in ["update 1", "update 2"] {
            updates.send(ReadResponse { ok: true, value: value.into(), time: None }).await?;
        }
        Ok(())
    }
}

impl Service for Storage {
    const NAME: &'static str = "proto.Storage";

    fn register(self, methods: &mut Methods) {
        let inner = Arc::new(self);
        methods.two_way(
            &READ_RPC,
            &inner,
            |inner, ctx, request| async move { inner.read(&ctx, request).await },
        );
        methods.two_way(
            &READ_QC,
            &inner,
            |inner, ctx, request| async move { inner.read(&ctx, request).await },
        );
        methods.two_way(&WRITE_RPC, &inner, |inner, _, request| async move {
            inner.write(request);
            Ok(WriteResponse { new: true })
        });
        methods.one_way(&WRITE_UNICAST, &inner, |inner, _, request| async move { inner.write(request) });
        methods.one_way(&WRITE_MULTICAST, &inner, |inner, _, request| async move { inner.write(request) });
        methods.streaming(&READ_CORRECTABLE, &inner, |_, _, _, updates| Self::updates(updates));
    }
}
