//! What is missing of a message is told where the message is named.

use gorums::{ServerContext, Status};
use serde::{Deserialize, Serialize};

#[derive(Clone)]
struct Plain;

#[derive(Clone, Serialize)]
struct OnlySerialize;

#[derive(Serialize, Deserialize)]
struct NoClone;

#[gorums::service(codec = "postcard")]
trait Storage {
    #[quorumcall]
    async fn plain(&self, ctx: &ServerContext, req: Plain) -> Result<(), Status>;

    #[multicast]
    async fn one_way(&self, ctx: &ServerContext, req: OnlySerialize);

    async fn no_clone(&self, ctx: &ServerContext, req: u8) -> Result<NoClone, Status>;
}

fn main() {}
