//! Server processes that know each other by their certificates.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{Run, Server, free_addresses, run};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// A directory of certificates.
struct Certificates {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(directory.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { directory, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    /// The options of a process with a certificate of its own.
    fn options(&self, name: &str, id: Option<usize>) -> Vec<String> {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let uri = id.map(|id| SanType::URI(format!("gorums://node/{id}").try_into().unwrap()));
        params.subject_alt_names.extend(uri);
        let key = KeyPair::generate().unwrap();
        let (certificate_file, key_file) =
            (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&certificate_file, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        ["--tls-ca", &self.path("ca.pem"), "--tls-cert", &certificate_file, "--tls-key", &key_file]
            .map(str::to_owned)
            .into()
    }
}

fn on(addresses: &str, tls: &[String], commands: &str) -> Run {
    let mut arguments = vec!["--connect", addresses, "--timeout", "5s", "-e", commands];
    arguments.extend(tls.iter().map(String::as_str));
    run(&arguments)
}

#[test]
fn servers_with_certificates_find_each_other() {
    let certificates = Certificates::new("mutual");
    let addresses = free_addresses(3);
    let list = addresses.join(",");
    let servers: Vec<_> = (1..=3)
        .map(|id| {
            let tls = certificates.options(&format!("node{id}"), Some(id));
            let mut arguments = vec!["--listen", addresses[id - 1].as_str(), "--peers", list.as_str()];
            arguments.extend(tls.iter().map(String::as_str));
            Server::start(&arguments)
        })
        .collect();
    let client = certificates.options("client", None);
    let run = on(&list, &client, "qc write k v; qc read k; qc nwrite k w; qc nread k");
    assert_eq!(
        (run.out.as_str(), run.code),
        ("Write OK\nk = v\nNested write OK\nk = w\n", Some(0)),
        "{run:?}"
    );

    let stranger = Certificates::new("stranger").options("client", None);
    let run = on(&list, &stranger, "qc read k");
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("certificate"), "{run:?}");
    let run = on(&list, &[], "qc read k");
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("TLS"), "{run:?}");
    drop(servers);
}
