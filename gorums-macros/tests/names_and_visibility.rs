//! Keywords, deprecation, a private trait, names of the prelude's traits where they do not clash,
//! and the crate under another name.
#![deny(warnings)]

use gorums as other;
use gorums::{ServerContext, Status};

#[derive(Clone, PartialEq, prost::Message)]
struct Message {}

#[other::service(crate = "crate::other")]
#[deprecated(note = "use another")]
trait r#Kept {
    async fn r#type(&self, ctx: &ServerContext, req: Message) -> Result<Message, Status>;

    #[deprecated]
    #[rpc]
    async fn old(&self, _: &ServerContext, _: Message) -> Result<(), Status>;

    /** A block comment
    of two lines. */
    #[multicast]
    async fn as_ref(&self, ctx: &ServerContext, req: ());
}

struct Implementation;

#[allow(deprecated)]
impl Kept for Implementation {
    async fn r#type(&self, _: &ServerContext, req: Message) -> Result<Message, Status> {
        Ok(req)
    }

    async fn old(&self, _: &ServerContext, _: Message) -> Result<(), Status> {
        Ok(())
    }

    async fn as_ref(&self, _: &ServerContext, (): ()) {}
}

#[allow(deprecated)]
#[test]
fn compiles() {
    let _ = KeptServer::new(Implementation);
}
