#[gorums_macros::service]
trait Storage {
    #[multicast]
    #[quorumcall]
    async fn a(&self, ctx: &ServerContext, req: M);

    #[quorumcall]
    #[quorumcall]
    async fn b(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
}

fn main() {}
