#[cfg(test)]
/// A fake node of `storage.Storage`, for tests: each method answers as it is told.
///
/// `StorageMock::nodes(3)` are three of them, on a network in memory.
#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
#[derive(Clone, Debug)]
pub struct StorageMock {
    /// Fakes `storage.Storage.ReadRPC`, an rpc.
    pub read_rpc: ::gorums::codegen::MockMethod<ReadRequest, ReadResponse>,
    /// Fakes `storage.Storage.WriteUnicast`, a unicast.
    pub write_unicast: ::gorums::codegen::MockOneWay<WriteRequest>,
    /// Fakes `storage.Storage.WriteMulticast`, a multicast.
    pub write_multicast: ::gorums::codegen::MockOneWay<WriteRequest>,
    /// Fakes `storage.Storage.ReadQC`, a quorum call.
    pub read_qc: ::gorums::codegen::MockMethod<ReadRequest, ReadResponse>,
    /// Fakes `storage.Storage.WriteQC`, a quorum call.
    pub write_qc: ::gorums::codegen::MockMethod<WriteRequest, WriteResponse>,
    /// Fakes `storage.Storage.Watch`, a streaming quorum call.
    pub watch: ::gorums::codegen::MockStream<ReadRequest, ReadResponse>,
}
#[cfg(test)]
#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
impl StorageMock {
    /// Starts fake nodes with ids from 1 up, which are yet to be told what to answer.
    ///
    /// # Panics
    ///
    /// If there is no Tokio runtime, or there would be no nodes.
    pub fn nodes(size: u32) -> ::gorums::codegen::MockNodes<Self> {
        ::gorums::codegen::MockNodes::new(size)
    }
}
#[cfg(test)]
impl ::core::default::Default for StorageMock {
    fn default() -> Self {
        Self {
            read_rpc: ::gorums::codegen::MockMethod::new(&StorageMethods::READ_RPC),
            write_unicast: ::gorums::codegen::MockOneWay::new(
                &StorageMethods::WRITE_UNICAST,
            ),
            write_multicast: ::gorums::codegen::MockOneWay::new(
                &StorageMethods::WRITE_MULTICAST,
            ),
            read_qc: ::gorums::codegen::MockMethod::new(&StorageMethods::READ_QC),
            write_qc: ::gorums::codegen::MockMethod::new(&StorageMethods::WRITE_QC),
            watch: ::gorums::codegen::MockStream::new(&StorageMethods::WATCH),
        }
    }
}
#[cfg(test)]
#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
impl ::gorums::codegen::Service for StorageMock {
    const NAME: &'static str = "storage.Storage";
    fn register(self, methods: &mut ::gorums::codegen::Methods) {
        self.read_rpc.register(methods);
        self.write_unicast.register(methods);
        self.write_multicast.register(methods);
        self.read_qc.register(methods);
        self.write_qc.register(methods);
        self.watch.register(methods);
    }
}
#[cfg(test)]
#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
impl Storage for StorageMock {
    async fn read_rpc(
        &self,
        ctx: &::gorums::codegen::ServerContext,
        request: ReadRequest,
    ) -> ::core::result::Result<ReadResponse, ::gorums::codegen::Status> {
        self.read_rpc.handle(ctx, request).await
    }
    async fn write_unicast(
        &self,
        ctx: &::gorums::codegen::ServerContext,
        request: WriteRequest,
    ) {
        self.write_unicast.handle(ctx, request).await
    }
    async fn write_multicast(
        &self,
        ctx: &::gorums::codegen::ServerContext,
        request: WriteRequest,
    ) {
        self.write_multicast.handle(ctx, request).await
    }
    async fn read_qc(
        &self,
        ctx: &::gorums::codegen::ServerContext,
        request: ReadRequest,
    ) -> ::core::result::Result<ReadResponse, ::gorums::codegen::Status> {
        self.read_qc.handle(ctx, request).await
    }
    async fn write_qc(
        &self,
        ctx: &::gorums::codegen::ServerContext,
        request: WriteRequest,
    ) -> ::core::result::Result<WriteResponse, ::gorums::codegen::Status> {
        self.write_qc.handle(ctx, request).await
    }
    async fn watch(
        &self,
        ctx: &::gorums::codegen::ServerContext,
        request: ReadRequest,
        updates: ::gorums::codegen::Updates<ReadResponse>,
    ) -> ::core::result::Result<(), ::gorums::codegen::Status> {
        self.watch.handle(ctx, request, updates).await
    }
}
