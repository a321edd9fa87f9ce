//! TLS between the nodes, with rustls: version 1.3 only, with the algorithms of ring.
//!
//! Sessions are not resumed, so that each connection verifies the certificates in full: what was replaced or has
//! expired does not live on in tickets.

mod client;
mod error;
mod explain;
mod material;
mod reload;
mod server;
mod verify;

use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{SupportedProtocolVersion, crypto, version};

pub use self::client::ClientTls;
pub use self::error::TlsError;
pub use self::server::ServerTls;
use crate::transport::PeerCertificates;

/// What is spoken within TLS. Required, so that a connection cannot be led to another service with the same certificate.
const ALPN: &[u8] = b"h2";
const VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

/// What a verified chain, the peer's own certificate first, says of the peer.
fn shown(chain: &[CertificateDer<'_>]) -> PeerCertificates {
    let leaf = chain.first().and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok());
    let dns_names = leaf.iter().flat_map(|leaf| leaf.valid_dns_names()).map(str::to_owned).collect();
    let uris = leaf.iter().flat_map(|leaf| leaf.valid_uri_names()).map(str::to_owned).collect();
    PeerCertificates::new(chain.iter().map(|certificate| certificate.to_vec()).collect(), dns_names, uris)
}
