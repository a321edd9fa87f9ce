#[gorums_macros::service]
#[serde(rename = "x")]
trait Storage {
    #[broadcast]
    async fn a(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    #[cfg(unix)]
    async fn b(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;

    #[quorumcall = "stream"]
    async fn c(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
}

fn main() {}
