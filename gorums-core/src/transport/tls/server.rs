//! TLS of a server.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use crate::id::NodeId;
use crate::transport::security::{Secured, Unsecured};
use crate::transport::tls::explain::{Explained, Role, failure, wrong_protocol};
use crate::transport::tls::material::{Identity, Source, roots};
use crate::transport::tls::reload::Reloadable;
use crate::transport::tls::{ALPN, TlsError, VERSIONS, provider, shown};
use crate::transport::{BoxedIo, PeerCertificates};

/// The certificate of a server, and which clients it takes.
///
/// A clone is another handle to the same: what one [reloads](Self::reload) or replaces holds for all of them, and for
/// the server that was given one. Connections that exist go on with what they have begun with.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use gorums_core::{Server, ServerTls};
///
/// let tls = ServerTls::from_files("node.pem", "node.key")?.client_ca_file("ca.pem")?;
/// let server = Server::builder().tls(tls.clone());
/// // .. later, when the files were renewed:
/// tls.reload()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ServerTls {
    setup: Arc<Reloadable<Material, ServerConfig>>,
    identify: Option<Identify>,
}

type Identify = Arc<dyn Fn(&PeerCertificates) -> Option<NodeId> + Send + Sync>;

#[derive(Clone, Debug)]
struct Material {
    identity: Identity,
    client_ca: Option<Source>,
}

impl ServerTls {
    /// A server with this certificate and key, in PEM. The certificate comes first, then those of intermediate CAs.
    pub fn from_pem(certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Self::new(Material { identity: Identity::bytes(certificates, key), client_ca: None }, None)
    }

    /// A server with the certificate and key in these files. Reads them, which blocks for a moment.
    pub fn from_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::new(Material { identity: Identity::files(certificates, key), client_ca: None }, None)
    }

    /// Takes only clients with a certificate of this CA (or of one of these), in PEM: mutual TLS.
    ///
    /// A member of the [system](crate::ServerBuilder::membership) is then believed to be the node that it says it is
    /// only if its certificate names that node, by a URI `gorums://node/<id>` among its subject alternative names.
    pub fn client_ca_pem(self, ca: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        self.with_client_ca(Source::bytes("client CA", ca))
    }

    /// As [`client_ca_pem`](Self::client_ca_pem), from a file.
    pub fn client_ca_file(self, ca: impl AsRef<Path>) -> Result<Self, TlsError> {
        self.with_client_ca(Source::file(ca))
    }

    /// Tells which node a client is by its verified certificate in another way than by the URI. `None` is a client that
    /// is no node. Without effect unless client certificates are required.
    ///
    /// Called once for each connection, and should not block.
    #[must_use]
    pub fn identify(
        mut self,
        identify: impl Fn(&PeerCertificates) -> Option<NodeId> + Send + Sync + 'static,
    ) -> Self {
        self.identify = Some(Arc::new(identify));
        self
    }

    /// Reads all files again, for the connections to come. What was given as bytes stays.
    ///
    /// # Errors
    ///
    /// If the new files cannot be used, or there are none; then all stays as it was. Blocks while it reads.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Material { identity, client_ca } = self.setup.material();
        if !identity.has_files() && !client_ca.is_some_and(|ca| ca.is_file()) {
            return Err(TlsError::NoFiles);
        }
        self.setup.change(|_| ())
    }

    /// Replaces the certificate and the key, for the connections to come.
    ///
    /// # Errors
    ///
    /// If the new ones cannot be used; then the old ones stay.
    pub fn replace_pem(&self, certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<(), TlsError> {
        self.setup.change(|material| material.identity = Identity::bytes(certificates, key))
    }

    /// Replaces the CA of the clients, or requires client certificates from now on.
    ///
    /// # Errors
    ///
    /// If the new one cannot be used; then the old one stays.
    pub fn replace_client_ca_pem(&self, ca: impl AsRef<[u8]>) -> Result<(), TlsError> {
        self.setup.change(|material| material.client_ca = Some(Source::bytes("client CA", ca)))
    }

    fn new(material: Material, identify: Option<Identify>) -> Result<Self, TlsError> {
        Ok(Self { setup: Arc::new(Reloadable::new(material, build)?), identify })
    }

    fn with_client_ca(self, ca: Source) -> Result<Self, TlsError> {
        Self::new(Material { client_ca: Some(ca), ..self.setup.material() }, self.identify)
    }

    pub(crate) async fn accept(&self, io: BoxedIo) -> Result<Secured, Unsecured> {
        let acceptor = TlsAcceptor::from(self.setup.current());
        let stream = acceptor.accept(io).into_fallible().await;
        let stream = stream.map_err(|(error, io)| Unsecured { error: failure(&error, Role::Server), io })?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN) {
            return Err(Unsecured { error: wrong_protocol(Role::Server), io: Box::new(stream) });
        }
        let certificates = session.peer_certificates().map(shown);
        let certificates = certificates.map(|shown| match &self.identify {
            Some(identify) => shown.identified(identify(&shown)),
            None => shown,
        });
        Ok(Secured { io: Box::new(Explained::new(stream, Role::Server)), certificates })
    }
}

fn build(material: &Material) -> Result<ServerConfig, TlsError> {
    let Material { identity, client_ca } = material;
    let unusable = |error| identity.unusable(&error);
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(VERSIONS).map_err(unusable)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider()).build();
            let verifier = verifier.map_err(|error| TlsError::BadCertificate {
                from: ca.to_string(),
                reason: error.to_string(),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (certificates, key) = identity.load()?;
    let mut config = builder.with_single_cert(certificates, key).map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("setup", &self.setup).finish_non_exhaustive()
    }
}
