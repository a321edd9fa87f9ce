#[gorums_macros::service(codec = "bincode")]
trait Unknown {}

#[gorums_macros::service(codec)]
trait Value {}

#[gorums_macros::service(codec = "postcard", codec = "prost")]
trait Twice {}

#[gorums_macros::service(codec = "postcard")]
trait Borrowed {
    async fn tuple(&self, ctx: &ServerContext, req: (u8, &str)) -> Result<[Self; 2], Status>;

    async fn slice(&self, ctx: &ServerContext, req: [u8]) -> Result<fn(), Status>;
}

fn main() {}
