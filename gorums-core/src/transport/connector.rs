//! How connections to nodes are made.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream to or from a node.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Any byte stream.
pub type BoxedIo = Box<dyn Io>;

/// Makes a byte stream to an address: TCP by default, or a simulated network in tests.
///
/// Implemented for closures that return a boxed future. A connector need not bound the time it takes: the
/// connect timeout of the configuration does, by dropping the future.
pub trait Connector: Send + Sync + 'static {
    /// Connects to an address of the form `host:port`.
    fn connect(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<BoxedIo>>;
}

impl<F> Connector for F
where
    F: Fn(Arc<str>) -> BoxFuture<'static, io::Result<BoxedIo>> + Send + Sync + 'static,
{
    fn connect(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<BoxedIo>> {
        self(address)
    }
}

/// Connects over TCP, without delay for small packets (`TCP_NODELAY`). Names are resolved at each attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<BoxedIo>> {
        Box::pin(async move {
            let stream = TcpStream::connect(&*address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedIo)
        })
    }
}
