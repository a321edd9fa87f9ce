//! TLS from files.

use std::ffi::OsString;
use std::path::PathBuf;

use gorums::{ClientTls, ConfigurationBuilder, ServerBuilder, ServerTls, TlsError};

/// The certificates of a process.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// Who signs the certificates of the others.
    pub(crate) ca: PathBuf,
    /// The own certificate and its key. A client may be without, and is then refused by servers.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Lets a configuration connect over TLS.
    pub(crate) fn connect(
        this: Option<&Self>,
        builder: ConfigurationBuilder,
    ) -> Result<ConfigurationBuilder, TlsError> {
        let Some(Self { ca, identity }) = this else { return Ok(builder) };
        let tls = ClientTls::from_ca_file(ca)?;
        Ok(builder.tls(match identity {
            Some((certificate, key)) => tls.identity_files(certificate, key)?,
            None => tls,
        }))
    }

    /// Lets a server take only clients with a certificate of the CA.
    pub(crate) fn accept(this: Option<&Self>, builder: ServerBuilder) -> Result<ServerBuilder, TlsError> {
        match this {
            Some(Self { ca, identity: Some((certificate, key)) }) => {
                Ok(builder.tls(ServerTls::from_files(certificate, key)?.client_ca_file(ca)?))
            }
            _ => Ok(builder),
        }
    }

    /// As options of the command line.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--tls-ca".into(), self.ca.clone().into()];
        if let Some((certificate, key)) = &self.identity {
            arguments.extend(["--tls-cert".into(), certificate.clone().into()]);
            arguments.extend(["--tls-key".into(), key.clone().into()]);
        }
        arguments
    }
}
