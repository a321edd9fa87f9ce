#[gorums_macros::service]
trait Storage {
    #[rpc(stream)]
    async fn a(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    #[quorumcall(idempotent, idempotent, eager, name)]
    async fn b(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    #[quorumcall(name = "Not a name")]
    async fn c(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    #[quorumcall(name = )]
    async fn d(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
}

fn main() {}
