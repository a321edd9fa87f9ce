//! What a server does around each of its handlers, by choice of who starts it.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use gorums::{Next, Reply, ServerBuilder, ServerCall, Status};

use crate::proto::{ReadRequest, WriteRequest};

/// How long `delayed` waits.
const DELAY: Duration = Duration::from_millis(100);
/// The metadata that `metadata` adds.
const MARK: &str = "intercepted-by";

/// One of the interceptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Interceptor {
    /// Log each request: its method, who sent it, its metadata, how long it took, and what came of it.
    Logging,
    /// Refuse requests for the key `foo`.
    Nofoo,
    /// Add metadata to each request.
    Metadata,
    /// Let each request wait for 100 ms. The next one of the same client waits with it: its turn has not come.
    Delayed,
}

/// Puts interceptors around the handlers of a server, the first one outermost.
pub(crate) fn add(server: ServerBuilder, interceptors: &[Interceptor]) -> ServerBuilder {
    interceptors.iter().fold(server, |server, interceptor| match interceptor {
        Interceptor::Logging => server.interceptor(logging),
        Interceptor::Nofoo => server.interceptor(nofoo),
        Interceptor::Metadata => server.interceptor(metadata),
        Interceptor::Delayed => server.interceptor(delayed),
    })
}

async fn logging(call: ServerCall, next: Next) -> Result<Reply, Status> {
    let method = call.method();
    let from = call.context().peer_addr().map_or_else(|| "this process".to_owned(), |from| from.to_string());
    let mark = call.metadata().get(MARK).and_then(|mark| mark.to_str().ok()).map(|mark| format!(" [{mark}]"));
    let started = Instant::now();
    let result = next.run(call).await;
    let outcome = match &result {
        Ok(_) => "ok".to_owned(),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    };
    let (mark, took) = (mark.unwrap_or_default(), started.elapsed());
    tracing::info!("{method} from {from}{mark}: {outcome}, {took:.1?}");
    result
}

async fn nofoo(call: ServerCall, next: Next) -> Result<Reply, Status> {
    let key = if call.is::<ReadRequest>() {
        call.message::<ReadRequest>()?.key
    } else if call.is::<WriteRequest>() {
        call.message::<WriteRequest>()?.key
    } else {
        String::new()
    };
    if key == "foo" {
        return Err(Status::permission_denied("no foo here: the server runs with the interceptor `nofoo`"));
    }
    next.run(call).await
}

async fn metadata(mut call: ServerCall, next: Next) -> Result<Reply, Status> {
    let name = "metadata".parse().map_err(|_| Status::internal("the metadata is not valid"))?;
    call.metadata_mut().insert(MARK, name);
    next.run(call).await
}

async fn delayed(call: ServerCall, next: Next) -> Result<Reply, Status> {
    tokio::time::sleep(DELAY).await;
    next.run(call).await
}
