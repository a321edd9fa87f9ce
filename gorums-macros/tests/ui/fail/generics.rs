//! A service and its methods name all their types.

#[gorums_macros::service]
trait Types<A, const N: usize> {}

#[gorums_macros::service]
trait Lifetimes<'a>
where
    Self: 'a,
{
}

#[gorums_macros::service]
trait Methods {
    async fn types<M: Clone>(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    async fn lifetimes<'a>(&'a self, ctx: &'a ServerContext, req: M) -> Result<M, Status>;

    async fn constants<const N: usize>(&self, ctx: &ServerContext, req: [u8; N]) -> Result<M, Status>;

    async fn clause(&self, ctx: &ServerContext, req: M) -> Result<M, Status>
    where
        Self: Sized;

    fn future(&self, ctx: &ServerContext, req: M) -> impl Future<Output = Result<M, Status>> + Send;
}

#[gorums_macros::service]
trait Messages {
    async fn opaque(&self, ctx: &ServerContext, req: impl Clone) -> Result<impl Clone, Status>;

    async fn within(&self, ctx: &ServerContext, req: Vec<impl Clone>) -> Result<Box<dyn Message>, Status>;

    async fn inferred(&self, ctx: &ServerContext, req: Vec<_>) -> Result<_, Status>;

    async fn borrowed(&self, ctx: &ServerContext, req: Text<'a>) -> Result<Option<&str>, Status>;

    async fn elided(&self, ctx: &ServerContext, req: Cow<'_, str>) -> Result<Cow<'static, str>, Status>;

    async fn tuple(&self, ctx: &ServerContext, req: (u8, u8)) -> Result<[u8; 4], Status>;
}

#[gorums_macros::service]
#[async_trait::async_trait]
trait Habit {
    async fn read(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
}

#[gorums_macros::service]
trait Rewritten {
    fn read<'life0, 'async_trait>(
        &'life0 self,
        ctx: &'life0 ServerContext,
        req: M,
    ) -> Pin<Box<dyn Future<Output = Result<M, Status>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait;
}

fn main() {}
