//! Services of different types behind one.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tower_service::Service;

/// A service, whatever its type.
pub(in crate::server) trait Route: Send + Sync {
    /// Starts a call, once the service is ready for it.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;
}

/// A service of a type.
pub(super) struct Typed<S>(pub(super) S);

impl<S, B> Route for Typed<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let mut service = self.0.clone();
        Box::pin(async move {
            let answered = async {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            };
            match answered.await {
                Ok(response) => response.map(Body::new),
                Err(never) => match never {},
            }
        })
    }
}
