#[gorums_macros::service]
trait Storage {
    #[quorumcall]
    async fn majority(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    async fn address(&self, ctx: &ServerContext, req: StorageServer) -> Result<M, Status>;

    #[multicast]
    async fn clone(&self, ctx: &ServerContext, req: M);

    async fn read(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    #[rpc(name = "Read")]
    async fn again(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    #[rpc(name = "Third")]
    async fn Read(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
}

fn main() {}
