//! How the byte streams below HTTP/2 are secured: not at all, or with TLS.

use crate::id::NodeId;
use crate::transport::{BoxedIo, PeerCertificates, TransportError};

/// How a client secures the byte streams that it opens.
#[derive(Clone, Debug, Default)]
pub(crate) enum ClientSecurity {
    #[default]
    Plain,
    #[cfg(feature = "tls")]
    Tls(crate::transport::tls::ClientTls),
}

/// How a server secures the byte streams that it accepts.
#[derive(Clone, Debug, Default)]
pub(crate) enum ServerSecurity {
    #[default]
    Plain,
    #[cfg(feature = "tls")]
    Tls(crate::transport::tls::ServerTls),
}

/// A byte stream that is ready for HTTP/2.
pub(crate) struct Secured {
    pub(crate) io: BoxedIo,
    pub(crate) certificates: Option<PeerCertificates>,
}

/// Why a byte stream could not be secured, and what is left of it.
pub(crate) struct Unsecured {
    pub(crate) error: TransportError,
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub(crate) io: BoxedIo,
}

impl ClientSecurity {
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_plain() { "http" } else { "https" }
    }

    /// Secures a byte stream to a node.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_async))]
    pub(crate) async fn secure(
        &self,
        io: BoxedIo,
        address: &str,
        node: NodeId,
    ) -> Result<Secured, TransportError> {
        match self {
            Self::Plain => {
                let _ = (address, node);
                Ok(Secured { io, certificates: None })
            }
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.connect(io, address, node).await,
        }
    }
}

impl ServerSecurity {
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Secures an accepted byte stream.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_async))]
    pub(crate) async fn secure(&self, io: BoxedIo) -> Result<Secured, Unsecured> {
        match self {
            Self::Plain => Ok(Secured { io, certificates: None }),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.accept(io).await,
        }
    }
}
