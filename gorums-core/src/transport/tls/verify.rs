//! Binds the certificate of a server to the id of its node.

use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use crate::id::NodeId;
use crate::transport::tls::shown;

/// Verifies what rustls does, and then that the certificate is not that of another node.
///
/// It is a step of the handshake, so that the server learns of it, and is not shown this end's certificate.
#[derive(Debug)]
pub(super) struct NodeVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    node: NodeId,
    required: bool,
}

/// The certificate of a server is that of another node.
#[derive(Debug, thiserror::Error)]
#[error(
    "the certificate of the server does not name node {node} by gorums://node/{node}, but has: {names}; is this the \
     address of another node?"
)]
struct WrongNode {
    node: NodeId,
    names: String,
}

impl NodeVerifier {
    pub(super) fn new(verifier: Arc<WebPkiServerVerifier>, node: NodeId, required: bool) -> Self {
        Self { verifier, node, required }
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let shown = shown(std::slice::from_ref(end_entity));
        if shown.node_ids().contains(&self.node) || !(self.required || shown.is_of_node()) {
            return Ok(verified);
        }
        let wrong = WrongNode { node: self.node, names: shown.to_string() };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}
