//! TLS from files.

use std::path::PathBuf;

use gorums::{ClientTls, ConfigurationBuilder, ServerBuilder, ServerTls, TlsError};

/// The certificates of a process.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Who signs the certificates of the others.
    pub ca: PathBuf,
    /// The own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// TLS as the options of a program say, or none.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn of(
        ca: Option<&PathBuf>,
        certificate: Option<&PathBuf>,
        key: Option<&PathBuf>,
    ) -> Result<Option<Self>, &'static str> {
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err("a certificate needs its key, and a key its certificate"),
        };
        match ca {
            Some(ca) => Ok(Some(Self { ca: ca.clone(), identity })),
            None if identity.is_some() => Err("TLS needs --tls-ca"),
            None => Ok(None),
        }
    }

    fn client(&self) -> Result<ClientTls, TlsError> {
        let tls = ClientTls::from_ca_file(&self.ca)?;
        match &self.identity {
            Some((certificate, key)) => tls.identity_files(certificate, key),
            None => Ok(tls),
        }
    }

    /// Lets a configuration connect over TLS.
    ///
    /// # Errors
    ///
    /// What is wrong with the files.
    pub fn connect(&self, builder: ConfigurationBuilder) -> Result<ConfigurationBuilder, TlsError> {
        Ok(builder.tls(self.client()?))
    }

    /// Lets many configurations connect over TLS.
    ///
    /// # Errors
    ///
    /// What is wrong with the files.
    pub fn connector(
        &self,
    ) -> Result<impl Fn(ConfigurationBuilder) -> ConfigurationBuilder + Send + Sync + 'static, TlsError> {
        let tls = self.client()?;
        Ok(move |builder: ConfigurationBuilder| builder.tls(tls.clone()))
    }

    /// Lets a server take only clients with a certificate of the CA.
    ///
    /// # Errors
    ///
    /// What is wrong with the files.
    pub fn accept(&self, builder: ServerBuilder) -> Result<ServerBuilder, TlsError> {
        match &self.identity {
            Some((certificate, key)) => {
                Ok(builder.tls(ServerTls::from_files(certificate, key)?.client_ca_file(&self.ca)?))
            }
            None => Ok(builder),
        }
    }
}
