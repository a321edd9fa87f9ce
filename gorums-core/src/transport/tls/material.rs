//! Certificates and keys in PEM, from files or bytes.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore};

use crate::transport::tls::TlsError;

/// Where PEM comes from.
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Bytes { what: &'static str, pem: Arc<[u8]> },
}

impl Source {
    pub(super) fn file(path: impl AsRef<Path>) -> Self {
        Self::File(path.as_ref().to_owned())
    }

    pub(super) fn bytes(what: &'static str, pem: impl AsRef<[u8]>) -> Self {
        Self::Bytes { what, pem: pem.as_ref().into() }
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    fn read(&self) -> Result<Cow<'_, [u8]>, TlsError> {
        match self {
            Self::Bytes { pem, .. } => Ok(Cow::Borrowed(pem)),
            Self::File(path) => {
                let read = std::fs::read(path).map(Cow::Owned);
                read.map_err(|error| TlsError::Read { from: self.to_string(), source: Arc::new(error) })
            }
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let pem = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let found = found.map_err(|error| self.damaged(&error))?;
        if found.is_empty() { Err(TlsError::NoCertificate { from: self.to_string() }) } else { Ok(found) }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { from: self.to_string() },
            error => self.damaged(&error),
        })
    }

    /// The errors of the parser name markers and kinds of mistakes, and lines only if they look like a marker; those of
    /// base64 are cut short, lest they quote a key.
    fn damaged(&self, error: &pem::Error) -> TlsError {
        let reason = match error {
            pem::Error::Base64Decode(_) => "its base64 is damaged".to_owned(),
            pem::Error::IllegalSectionStart { .. } => "a line BEGIN .. is damaged".to_owned(),
            error => error.to_string(),
        };
        TlsError::Pem { from: self.to_string(), reason }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bytes { what, .. } => write!(f, "the PEM given as {what}"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who this end is: a chain of certificates, the own one first, and the key of that.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) certificates: Source,
    pub(super) key: Source,
}

impl Identity {
    pub(super) fn files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        Self { certificates: Source::file(certificates), key: Source::file(key) }
    }

    pub(super) fn bytes(certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let certificates = Source::bytes("certificate", certificates);
        Self { certificates, key: Source::bytes("private key", key) }
    }

    pub(super) fn has_files(&self) -> bool {
        self.certificates.is_file() || self.key.is_file()
    }

    pub(super) fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        Ok((self.certificates.certificates()?, self.key.key()?))
    }

    /// What rustls has against this identity.
    pub(super) fn unusable(&self, error: &Error) -> TlsError {
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch {
                certificates: self.certificates.to_string(),
                key: self.key.to_string(),
            },
            Error::InvalidCertificate(reason) => {
                TlsError::BadCertificate { from: self.certificates.to_string(), reason: reason.to_string() }
            }
            error => TlsError::BadKey { from: self.key.to_string(), reason: error.to_string() },
        }
    }
}

/// The certificates of the CAs that are trusted; never empty.
pub(super) fn roots(source: &Source) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in source.certificates()? {
        roots.add(certificate).map_err(|error| TlsError::BadCertificate {
            from: source.to_string(),
            reason: error.to_string(),
        })?;
    }
    Ok(Arc::new(roots))
}
