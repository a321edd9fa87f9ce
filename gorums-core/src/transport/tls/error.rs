//! What can be wrong with certificates and keys.

use std::io;
use std::sync::Arc;

/// What is wrong with the certificates, keys or names that TLS was given. Never holds any part of a key.
///
/// `from` names the file, or says that the PEM was given as bytes.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {from}: {source}; does the file exist, and may this process read it?")]
    Read {
        /// The file.
        from: String,
        /// The reason.
        source: Arc<io::Error>,
    },
    /// The PEM is damaged.
    #[error("{from} is not valid PEM: {reason}")]
    Pem {
        /// Where the PEM comes from.
        from: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no certificate.
    #[error("{from} holds no certificate: it needs at least one block BEGIN CERTIFICATE")]
    NoCertificate {
        /// Where the PEM comes from.
        from: String,
    },
    /// There is no key.
    #[error(
        "{from} holds no private key: it needs a block BEGIN PRIVATE KEY (or RSA or EC PRIVATE KEY), not encrypted"
    )]
    NoKey {
        /// Where the PEM comes from.
        from: String,
    },
    /// A certificate cannot be used.
    #[error("a certificate in {from} cannot be used: {reason}")]
    BadCertificate {
        /// Where the PEM comes from.
        from: String,
        /// Why not.
        reason: String,
    },
    /// A key cannot be used.
    #[error("the private key in {from} cannot be used: {reason}")]
    BadKey {
        /// Where the PEM comes from.
        from: String,
        /// Why not.
        reason: String,
    },
    /// A key belongs to another certificate.
    #[error(
        "the private key in {key} does not belong to the first certificate in {certificates}: the own certificate has to \
         come first, before those of intermediate CAs"
    )]
    KeyMismatch {
        /// Where the certificates come from.
        certificates: String,
        /// Where the key comes from.
        key: String,
    },
    /// A name cannot be that of a server.
    #[error("{name:?} cannot be the name of a server: give a DNS name or an IP address, without a port")]
    ServerName {
        /// The name.
        name: String,
    },
    /// There are no files to read again.
    #[error("there is nothing to reload: all was given as bytes; replace it with new bytes, or give files")]
    NoFiles,
}
