#[gorums_macros::service]
trait Storage {
    async fn nothing(&self, ctx: &ServerContext, req: M);

    async fn unit(&self, ctx: &ServerContext, req: M) -> ();

    async fn bare(&self, ctx: &ServerContext, req: M) -> M;

    async fn other_error(&self, ctx: &ServerContext, req: M) -> Result<M, String>;

    async fn one_type(&self, ctx: &ServerContext, req: M) -> Result<M>;

    async fn borrowed(&self, ctx: &ServerContext, req: M) -> Result<&M, Status>;

    #[unicast]
    async fn unicast(&self, ctx: &ServerContext, req: M) -> Result<(), Status>;

    #[multicast]
    async fn multicast(&self, ctx: &ServerContext, req: M) -> M;
}

fn main() {}
