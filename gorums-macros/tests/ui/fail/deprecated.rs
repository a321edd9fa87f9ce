//! A method that is deprecated is so for whoever calls it or fakes it, but not for the generated code.
#![deny(deprecated)]

use gorums::{Configuration, Node, ServerContext, Status};

#[gorums::service(mock(all()))]
trait Storage {
    #[deprecated(note = "use `write`")]
    #[quorumcall]
    async fn put(&self, ctx: &ServerContext, req: u64) -> Result<(), Status>;

    #[deprecated]
    async fn get(&self, ctx: &ServerContext, req: u64) -> Result<(), Status>;

    #[quorumcall]
    async fn write(&self, ctx: &ServerContext, req: u64) -> Result<(), Status>;
}

struct Implementation;

impl Storage for Implementation {
    async fn put(&self, _: &ServerContext, _: u64) -> Result<(), Status> {
        Ok(())
    }
    async fn get(&self, _: &ServerContext, _: u64) -> Result<(), Status> {
        Ok(())
    }
    async fn write(&self, _: &ServerContext, _: u64) -> Result<(), Status> {
        Ok(())
    }
}

fn calls(configuration: &Configuration, node: &Node, mock: &StorageMock) {
    let _ = StorageServer::new(Implementation);
    let _ = configuration.write(1);
    let _ = configuration.put(1);
    let _ = node.get(1);
    mock.put.calls();
}

fn main() {}
