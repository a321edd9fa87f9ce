//! Certificates for a test.

use gorums_core::{ClientTls, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

/// A CA.
pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for DNS names and URIs.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| ())
    }

    pub(crate) fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let (uris, hosts): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// A server with a certificate for these names.
    pub(crate) fn server(&self, names: &[&str]) -> ServerTls {
        self.issue(names).server()
    }

    /// A server that takes only clients of this CA.
    pub(crate) fn mutual(&self, names: &[&str]) -> ServerTls {
        self.server(names).client_ca_pem(&self.pem).unwrap()
    }

    /// A client that trusts this CA.
    pub(crate) fn client(&self) -> ClientTls {
        ClientTls::from_ca_pem(&self.pem).unwrap()
    }

    /// A client that trusts this CA and has a certificate of it for these names.
    pub(crate) fn client_named(&self, names: &[&str]) -> ClientTls {
        self.client_as(&self.issue(names))
    }

    pub(crate) fn client_as(&self, issued: &Issued) -> ClientTls {
        self.client().identity_pem(&issued.certificate, &issued.key).unwrap()
    }
}

impl Issued {
    pub(crate) fn server(&self) -> ServerTls {
        ServerTls::from_pem(&self.certificate, &self.key).unwrap()
    }
}
