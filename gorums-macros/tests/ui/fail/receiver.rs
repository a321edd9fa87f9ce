#[gorums_macros::service]
trait Storage {
    async fn a(ctx: &ServerContext, req: M) -> Result<M, Status>;

    async fn b(&mut self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    async fn c(self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    async fn d(self: &Self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    async fn e(&'static self, ctx: &ServerContext, req: M) -> Result<M, Status>;
}

fn main() {}
