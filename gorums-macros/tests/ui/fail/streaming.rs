#[gorums_macros::service]
trait Storage {
    #[quorumcall(stream)]
    async fn no_updates(&self, ctx: &ServerContext, req: M) -> Result<(), Status>;

    #[quorumcall(stream)]
    async fn other_updates(&self, ctx: &ServerContext, req: M, out: Sender<M>) -> Result<(), Status>;

    #[quorumcall(stream)]
    async fn no_type(&self, ctx: &ServerContext, req: M, out: Updates) -> Result<(), Status>;

    #[quorumcall(stream)]
    async fn reply(&self, ctx: &ServerContext, req: M, out: Updates<M>) -> Result<M, Status>;

    #[quorumcall(stream)]
    async fn nothing(&self, ctx: &ServerContext, req: M, out: Updates<M>);

    #[quorumcall]
    async fn no_stream(&self, ctx: &ServerContext, req: M, out: Updates<M>) -> Result<(), Status>;
}

fn main() {}
