#[gorums_macros::service]
trait Storage {
    async fn no_context(&self) -> Result<M, Status>;

    async fn no_request(&self, ctx: &ServerContext) -> Result<M, Status>;

    async fn only_request(&self, req: M) -> Result<M, Status>;

    async fn owned_context(&self, ctx: ServerContext, req: M) -> Result<M, Status>;

    async fn mutable_context(&self, ctx: &mut ServerContext, req: M) -> Result<M, Status>;

    async fn borrowed(&self, ctx: &ServerContext, req: &M) -> Result<M, Status>;

    async fn any(&self, ctx: &ServerContext, req: impl Clone) -> Result<M, Status>;

    async fn itself(&self, ctx: &ServerContext, req: Vec<Self>) -> Result<M, Status>;

    async fn too_many(&self, ctx: &ServerContext, req: M, more: M, most: M) -> Result<M, Status>;

    async fn pattern(&self, ctx: &ServerContext, M { a }: M) -> Result<M, Status>;

    async fn attribute(&self, ctx: &ServerContext, #[cfg(unix)] req: M) -> Result<M, Status>;
}

fn main() {}
