//! Nodes that know each other by their certificates.

use std::path::{Path, PathBuf};

use gorums::{ClientTls, Code, Configuration, Status};
use raft::proto::{PeerNodeClient, VoteRequest};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use crate::cluster::{Processes, run};

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
        let (certificate, key_file) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        ["--tls-ca", &self.path("ca.pem"), "--tls-cert", &certificate, "--tls-key", &key_file]
            .map(str::to_owned)
            .into()
    }
}

#[test]
fn only_who_has_a_certificate_is_served_and_only_nodes_are_peers() {
    let certificates = Certificates::new("tls-good");
    let client = certificates.options("client", None);
    let cluster =
        Processes::start("tls", 3, 0, move |id| certificates.options(&format!("node{id}"), Some(id)));
    cluster.leader();
    let nodes = cluster.nodes();
    let as_client = |tls: &[String], command: &[&str]| {
        let arguments = ["--nodes", &nodes, "--timeout", "2s"].map(str::to_owned);
        let command = command.iter().map(|word| (*word).to_owned());
        run(arguments.into_iter().chain(tls.iter().cloned()).chain(command))
    };
    let put = as_client(&client, &["put", "k", "v"]);
    assert_eq!((put.code, put.out.as_str()), (Some(0), "ok, revision 1\n"), "{put:?}");
    assert_eq!(as_client(&client, &["get", "k"]).out, "v (revision 1)\n");

    let stranger = Certificates::new("tls-stranger").options("client", None);
    for tls in [&stranger[..], &[]] {
        let get = as_client(tls, &["get", "k"]);
        assert_eq!((get.code, get.out.as_str()), (Some(1), ""), "{get:?}");
    }
    // A client is no peer, although its certificate is good.
    let tls = ClientTls::from_ca_file(&client[1]).unwrap().identity_files(&client[3], &client[5]).unwrap();
    let refused = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = Configuration::builder()
            .node(1_u32, cluster.addresses[0].clone())
            .tls(tls)
            .connect()
            .await
            .unwrap();
        node.node(1_u32).unwrap().request_vote(VoteRequest::default()).await.unwrap_err()
    });
    assert_eq!(refused.status().map(Status::code), Some(Code::PermissionDenied), "{refused}");

    let half = as_client(&client[2..], &["get", "k"]);
    assert_eq!(half.code, Some(2), "{half:?}");
}
