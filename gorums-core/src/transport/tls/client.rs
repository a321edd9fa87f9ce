//! TLS of a client.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::id::NodeId;
use crate::transport::security::Secured;
use crate::transport::tls::explain::{Explained, Role, failure, wrong_protocol};
use crate::transport::tls::material::{Identity, Source, roots};
use crate::transport::tls::reload::Reloadable;
use crate::transport::tls::verify::NodeVerifier;
use crate::transport::tls::{ALPN, TlsError, VERSIONS, provider, shown};
use crate::transport::{BoxedIo, TransportError};

/// Which servers a configuration trusts, and who it is itself.
///
/// The certificate of a server has to be of the CA that is given, and to be valid for the host of the node's address, or
/// for the [name](Self::server_name) that is given. If it names nodes too, by URIs `gorums://node/<id>` among its
/// subject alternative names, it has to name the one that is dialled.
///
/// A clone is another handle to the same: what one [reloads](Self::reload) or replaces holds for all of them, and for
/// the configurations that were given one, when they next dial.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use gorums_core::{ClientTls, Configuration};
///
/// let tls = ClientTls::from_ca_file("ca.pem")?.identity_files("node.pem", "node.key")?;
/// let configuration = Configuration::builder().nodes(["10.0.0.1:8080"]).tls(tls).connect_lazy()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ClientTls {
    setup: Arc<Reloadable<Material, Setup>>,
    server_name: Option<ServerName<'static>>,
    require_node_id: bool,
}

#[derive(Clone, Debug)]
struct Material {
    ca: Source,
    identity: Option<Identity>,
}

struct Setup {
    config: ClientConfig,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ClientTls {
    /// Trusts the servers with a certificate of this CA (or of one of these), in PEM. The CAs of the operating system are
    /// not trusted.
    pub fn from_ca_pem(ca: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Self::new(Material { ca: Source::bytes("CA", ca), identity: None })
    }

    /// As [`from_ca_pem`](Self::from_ca_pem), from a file. Reads it, which blocks for a moment.
    pub fn from_ca_file(ca: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::new(Material { ca: Source::file(ca), identity: None })
    }

    /// Shows this certificate to servers that require one, in PEM: mutual TLS. The certificate comes first, then those
    /// of intermediate CAs.
    pub fn identity_pem(
        self,
        certificates: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        self.with_identity(Identity::bytes(certificates, key))
    }

    /// As [`identity_pem`](Self::identity_pem), from files.
    pub fn identity_files(
        self,
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        self.with_identity(Identity::files(certificates, key))
    }

    /// The name that the certificate of every server has to be valid for, in place of the host of its address: a DNS name
    /// or an IP address. Then certificates do not depend on where nodes run; with
    /// [`require_node_id`](Self::require_node_id), they still tell the nodes apart.
    pub fn server_name(mut self, name: impl AsRef<str>) -> Result<Self, TlsError> {
        let name = name.as_ref();
        self.server_name = Some(parse_name(name)?);
        Ok(self)
    }

    /// Takes only servers whose certificate names the node that is dialled, by the URI `gorums://node/<id>`. Without
    /// this, a certificate that names no node at all is enough.
    #[must_use]
    pub fn require_node_id(mut self) -> Self {
        self.require_node_id = true;
        self
    }

    /// Reads all files again, for the connections to come. What was given as bytes stays.
    ///
    /// # Errors
    ///
    /// If the new files cannot be used, or there are none; then all stays as it was. Blocks while it reads.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Material { ca, identity } = self.setup.material();
        if !ca.is_file() && !identity.is_some_and(|identity| identity.has_files()) {
            return Err(TlsError::NoFiles);
        }
        self.setup.change(|_| ())
    }

    /// Replaces the CA, for the connections to come.
    ///
    /// # Errors
    ///
    /// If the new one cannot be used; then the old one stays.
    pub fn replace_ca_pem(&self, ca: impl AsRef<[u8]>) -> Result<(), TlsError> {
        self.setup.change(|material| material.ca = Source::bytes("CA", ca))
    }

    /// Replaces the certificate that is shown to servers, and its key, for the connections to come.
    ///
    /// # Errors
    ///
    /// If the new ones cannot be used; then the old ones stay.
    pub fn replace_identity_pem(
        &self,
        certificates: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<(), TlsError> {
        self.setup.change(|material| material.identity = Some(Identity::bytes(certificates, key)))
    }

    fn new(material: Material) -> Result<Self, TlsError> {
        let setup = Arc::new(Reloadable::new(material, build)?);
        Ok(Self { setup, server_name: None, require_node_id: false })
    }

    fn with_identity(self, identity: Identity) -> Result<Self, TlsError> {
        let material = Material { identity: Some(identity), ..self.setup.material() };
        Ok(Self { setup: Arc::new(Reloadable::new(material, build)?), ..self })
    }

    pub(crate) async fn connect(
        &self,
        io: BoxedIo,
        address: &str,
        node: NodeId,
    ) -> Result<Secured, TransportError> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(host(address)).map_err(TransportError::Tls)?,
        };
        let setup = self.setup.current();
        let mut config = setup.config.clone();
        let verifier = NodeVerifier::new(setup.verifier.clone(), node, self.require_node_id);
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        let stream = TlsConnector::from(Arc::new(config)).connect(name, io).await;
        let stream = stream.map_err(|error| failure(&error, Role::Client))?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN) {
            return Err(wrong_protocol(Role::Client));
        }
        let certificates = session.peer_certificates().map(shown);
        Ok(Secured { io: Box::new(Explained::new(stream, Role::Client)), certificates })
    }
}

fn build(material: &Material) -> Result<Setup, TlsError> {
    let Material { ca, identity } = material;
    let unusable = |error: &dyn std::fmt::Display| TlsError::BadCertificate {
        from: ca.to_string(),
        reason: error.to_string(),
    };
    let roots = roots(ca)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build();
    let verifier = verifier.map_err(|error| unusable(&error))?;
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(VERSIONS).map_err(|error| unusable(&error))?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (certificates, key) = identity.load()?;
            builder.with_client_auth_cert(certificates, key).map_err(|error| identity.unusable(&error))?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Setup { config, verifier })
}

fn parse_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName { name: name.to_owned() })
}

/// The host of an address of the form `host:port`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (address, expected) in
            [("10.0.0.1:80", "10.0.0.1"), ("[::1]:80", "::1"), ("node.example.org:1", "node.example.org")]
        {
            assert_eq!(host(address), expected);
            assert!(parse_name(host(address)).is_ok(), "{address}");
        }
        for bad in ["", "a b", "host:80", "-"] {
            assert!(matches!(parse_name(bad), Err(TlsError::ServerName { .. })), "{bad:?}");
        }
    }
}
