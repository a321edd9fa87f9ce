#[gorums_macros::service]
trait Storage {
    fn a(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    async unsafe extern "C" fn b<X>(&self, ctx: &ServerContext, req: X) -> Result<M, Status>
    where
        X: Clone;

    async fn c(&self, ctx: &ServerContext, req: M) -> Result<M, Status> {
        Ok(req)
    }
}

fn main() {}
