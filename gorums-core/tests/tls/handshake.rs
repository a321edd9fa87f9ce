//! Who is taken, and how those learn of it who are not.

use gorums_core::ClientTls;

use crate::common::{ECHO, OnConfiguration, OnNode, Test, Transport, text};
use crate::pki::Ca;
use crate::scene::Scene;

#[tokio::test]
async fn tls_over_tcp() {
    let ca = Ca::new("ca");
    let tls = ca.server(&["127.0.0.1"]);
    let test = Test::new(1);
    let server = gorums_core::Server::builder().add_service(test).tls(tls).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().to_string();
    let handle = server.handle();
    let serving = tokio::spawn(server.serve());
    let configuration =
        gorums_core::Configuration::builder().nodes([address]).tls(ca.client()).connect().await.unwrap();
    // Larger than a TLS record, an HTTP/2 frame and a window.
    let large = "x".repeat(3 << 20);
    for _ in 0..4 {
        let reply = configuration.quorum_call(&ECHO, text(&large)).all().await.unwrap();
        assert_eq!(reply.text, large);
    }
    configuration.close().await;
    handle.shutdown().await;
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn tls_and_mutual_tls() {
    let ca = Ca::new("ca");
    for (server, client) in [
        (ca.server(&["node1"]), ca.client()),
        (ca.server(&["node1", "gorums://node/1"]), ca.client().require_node_id()),
        (ca.server(&["cluster"]), ca.client().server_name("cluster").unwrap()),
        (ca.mutual(&["node1"]), ca.client_named(&["client"])),
        (ca.mutual(&["node1", "gorums://node/7", "gorums://node/1"]), ca.client_named(&[])),
    ] {
        let mut scene = Scene::with_tls(server, client.clone()).await;
        let another = scene.configure(|builder| builder.tls(client));
        another.node(1).unwrap().rpc(&ECHO, text("x")).await.unwrap();
        // The connection is lost and made again with the same certificates.
        scene.cluster.restart(1).await;
        another.node(1).unwrap().rpc(&ECHO, text("x")).wait_for_ready(true).await.unwrap();
        assert_eq!(another.node(1).unwrap().stats().connections, 2);
        assert!(scene.log.lines("").is_empty());
        scene.cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_ca_of_the_server() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let scene = Scene::with_tls(ca.server(&["node1"]), ca.client()).await;
    let told = "the certificate of the server is of no CA that this client trusts";
    scene
        .refuses(
            |builder| builder.tls(other.client()),
            told,
            "the client does not trust the CA of this server's certificate",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn wrong_ca_of_the_client() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let scene = Scene::with_tls(ca.mutual(&["node1"]), ca.client_named(&["client"])).await;
    let client = ca.client_as(&other.issue(&["client"]));
    scene
        .refuses(
            |builder| builder.tls(client.clone()),
            "the server does not trust the CA of this client's certificate",
            "the certificate of the client is of no CA that this server trusts",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn expired_certificate_of_the_server() {
    let ca = Ca::new("ca");
    let server = ca.server(&["node1"]);
    let scene = Scene::with_tls(server.clone(), ca.client()).await;
    let expired = ca.issue_expired(&["node1"]);
    server.replace_pem(&expired.certificate, &expired.key).unwrap();
    scene
        .refuses(
            |builder| builder.tls(ca.client()),
            "the certificate of the server is not good: certificate expired",
            "the client says that this server's certificate has expired",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn expired_certificate_of_the_client() {
    let ca = Ca::new("ca");
    let scene = Scene::with_tls(ca.mutual(&["node1"]), ca.client_named(&["client"])).await;
    let client = ca.client_as(&ca.issue_expired(&["client"]));
    scene
        .refuses(
            |builder| builder.tls(client.clone()),
            "the server says that this client's certificate has expired",
            "the certificate of the client is not good: certificate expired",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn certificate_of_another_host() {
    let ca = Ca::new("ca");
    let healthy = ca.client().server_name("elsewhere").unwrap();
    let scene = Scene::with_tls(ca.server(&["elsewhere"]), healthy).await;
    scene
        .refuses(
            |builder| builder.tls(ca.client()),
            "certificate not valid for name \"node1\"",
            "the client refuses this server's certificate",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn certificate_of_another_node() {
    let ca = Ca::new("ca");
    let server = ca.server(&["node1"]);
    let scene = Scene::with_tls(server.clone(), ca.client()).await;
    let other = ca.issue(&["node1", "gorums://node/2"]);
    server.replace_pem(&other.certificate, &other.key).unwrap();
    scene
        .refuses(
            |builder| builder.tls(ca.client()),
            "does not name node 1 by gorums://node/1, but has: gorums://node/2, node1",
            "the client refuses this server's certificate",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn certificate_of_no_node_where_one_is_required() {
    let ca = Ca::new("ca");
    let scene = Scene::with_tls(ca.server(&["node1"]), ca.client()).await;
    scene
        .refuses(
            |builder| builder.tls(ca.client().require_node_id()),
            "does not name node 1 by gorums://node/1, but has: node1",
            "the client refuses this server's certificate",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn client_without_a_certificate() {
    let ca = Ca::new("ca");
    let scene = Scene::with_tls(ca.mutual(&["node1"]), ca.client_named(&["client"])).await;
    scene
        .refuses(
            |builder| builder.tls(ca.client()),
            "the server requires a certificate of this client",
            "the client has shown no certificate, and has to",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn plain_client_to_a_server_with_tls() {
    let ca = Ca::new("ca");
    let scene = Scene::with_tls(ca.server(&["node1"]), ca.client()).await;
    let told = "the peer speaks TLS and this end does not: set `.tls(..)`";
    scene.refuses(|builder| builder, told, "the client does not speak TLS").await;
}

#[tokio::test(start_paused = true)]
async fn client_with_tls_to_a_plain_server() {
    let ca = Ca::new("ca");
    let scene = Scene::new(|builder| builder, |builder| builder).await;
    scene
        .refuses(
            |builder| builder.tls(ca.client()),
            "the server does not speak TLS",
            "the peer speaks TLS and this end does not",
        )
        .await;
}

/// The same over TCP, where a socket that is closed too early takes the reason with it.
#[tokio::test]
async fn the_reason_arrives_over_tcp() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let none = ca.client();
    let wrong = ca.client_as(&other.issue(&["client"]));
    let cases: [(Option<ClientTls>, &str); 3] = [
        (Some(none), "the server requires a certificate of this client"),
        (Some(wrong), "the server does not trust the CA of this client's certificate"),
        (None, "the peer speaks TLS"),
    ];
    let tls = ca.mutual(&["127.0.0.1"]);
    let server = crate::common::faulty(Transport::Tcp, 1).await;
    server.0.finish().await;
    let test = Test::new(1);
    let server = gorums_core::Server::builder().add_service(test).tls(tls).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().to_string();
    let handle = server.handle();
    let serving = tokio::spawn(server.serve());
    for (client, told) in cases {
        for _ in 0..20 {
            let mut builder = gorums_core::Configuration::builder().nodes([address.clone()]);
            if let Some(client) = &client {
                builder = builder.tls(client.clone());
            }
            let error = builder.connect().await.unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }
    handle.shutdown().await;
    serving.await.unwrap().unwrap();
}
