//! Certificates that are replaced while they are in use.

use std::path::PathBuf;

use gorums_core::{ClientTls, ServerTls, TlsError};

use crate::common::{ECHO, OnNode, text};
use crate::pki::{Ca, Issued};
use crate::scene::{Scene, failure};

/// A directory of files for one test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gorums-tls-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn write_identity(&self, issued: &Issued) {
        self.write("node.pem", &issued.certificate);
        self.write("node.key", &issued.key);
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn new_connections_use_the_new_certificate_and_old_ones_stay() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let files = Files::new("new");
    files.write_identity(&old.issue(&["node1"]));
    let server = ServerTls::from_files(files.path("node.pem"), files.path("node.key")).unwrap();
    let mut scene = Scene::with_tls(server.clone(), old.client()).await;
    files.write_identity(&new.issue(&["node1"]));
    let with_old = scene.configure(|builder| builder.tls(old.client()));
    with_old.node(1).unwrap().rpc(&ECHO, text("not reloaded yet")).await.unwrap();
    server.reload().unwrap();
    let with_new = scene.configure(|builder| builder.tls(new.client()));
    scene.undisturbed(async { with_new.wait_connected().await.unwrap() }).await;
    with_old.node(1).unwrap().rpc(&ECHO, text("the connection stays")).await.unwrap();
    let with_old = scene.configure(|builder| builder.tls(old.client()));
    let error = failure(with_old.node(1).unwrap()).await;
    assert!(error.to_string().contains("is of no CA that this client trusts"), "{error}");
    drop((with_new, with_old));
    scene.cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_fails_changes_nothing() {
    let ca = Ca::new("ca");
    let files = Files::new("broken");
    let good = ca.issue(&["node1"]);
    files.write_identity(&good);
    files.write("ca.pem", &ca.pem);
    let server = ServerTls::from_files(files.path("node.pem"), files.path("node.key")).unwrap();
    let server = server.client_ca_file(files.path("ca.pem")).unwrap();
    let client = ClientTls::from_ca_file(files.path("ca.pem")).unwrap();
    let client = client.identity_files(files.path("node.pem"), files.path("node.key")).unwrap();
    let mut scene = Scene::with_tls(server.clone(), client.clone()).await;
    let breaks: [(&str, String); 5] = [
        ("node.pem", "-----BEGIN CERTIFICATE-----\nAAAA".into()),
        ("node.pem", ca.issue(&["node1"]).certificate),
        ("node.key", String::new()),
        ("ca.pem", String::new()),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
    ];
    for (file, content) in breaks {
        files.write(file, &content);
        for error in [server.reload().unwrap_err(), client.reload().unwrap_err()] {
            assert!(error.to_string().contains(file), "{error}");
        }
        let another = scene.configure(|builder| builder.tls(client.clone()));
        another.node(1).unwrap().rpc(&ECHO, text("x")).await.unwrap();
        files.write_identity(&good);
        files.write("ca.pem", &ca.pem);
        server.reload().unwrap();
        client.reload().unwrap();
    }
    let other = ca.issue(&["node1"]);
    let error = server.replace_pem(&other.certificate, &good.key).unwrap_err();
    assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");
    server.reload().unwrap();
    scene.cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_takes_new_certificates_when_it_dials_again() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let server = old.mutual(&["node1"]);
    let client = old.client_named(&["client"]);
    let scene = Scene::with_tls(server.clone(), client.clone()).await;
    let (renewed, named) = (new.issue(&["node1"]), new.issue(&["client"]));
    server.replace_pem(&renewed.certificate, &renewed.key).unwrap();
    server.replace_client_ca_pem(&new.pem).unwrap();
    scene.healthy().rpc(&ECHO, text("over the old connection")).await.unwrap();
    scene.cluster.faults(1).reset();
    let error = scene.healthy().rpc(&ECHO, text("with the old certificates")).wait_for_ready(true).await;
    assert!(error.is_err());
    client.replace_ca_pem(&new.pem).unwrap();
    client.replace_identity_pem(&named.certificate, &named.key).unwrap();
    scene.healthy().rpc(&ECHO, text("with the new ones")).wait_for_ready(true).await.unwrap();
    scene.cluster.finish().await;
}

#[test]
fn bytes_cannot_be_reloaded() {
    let ca = Ca::new("ca");
    assert!(matches!(ca.mutual(&["node1"]).reload(), Err(TlsError::NoFiles)));
    assert!(matches!(ca.client_named(&["client"]).reload(), Err(TlsError::NoFiles)));
}
