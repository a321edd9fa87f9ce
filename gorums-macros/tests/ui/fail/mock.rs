#[gorums_macros::service(mock = "test")]
trait Text {}

#[gorums_macros::service(mock())]
trait Empty {}

#[gorums_macros::service(mock, mock(all()))]
trait Twice {}

#[gorums_macros::service(mock)]
trait Storage {
    async fn read(&self, ctx: &ServerContext, req: StorageMock) -> Result<M, Status>;
}

fn main() {}
