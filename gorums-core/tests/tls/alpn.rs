//! Both ends insist on HTTP/2 within TLS.

use std::sync::Arc;
use std::time::Duration;

use gorums_core::testing::Network;
use gorums_core::{Configuration, Connector, Server};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::Level;

use crate::common::log::Log;
use crate::common::{ECHO, OnNode, Test, text};
use crate::pki::Ca;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[tokio::test(start_paused = true)]
async fn a_client_of_another_protocol() {
    let (log, _capturing) = Log::capture(Level::WARN);
    let (ca, network) = (Ca::new("ca"), Network::new());
    let tls = ca.server(&["node1"]);
    let server = Server::builder().add_service(Test::new(1)).tls(tls).on(network.listen("node1:1"));
    let handle = server.handle();
    let serving = tokio::spawn(async move { server.serve().await.unwrap() });
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
    let client =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    for (protocols, expected) in
        [(vec![], "has not agreed on HTTP/2"), (vec![b"http/1.1".to_vec()], "protocol")]
    {
        let mut client = client.clone();
        client.alpn_protocols = protocols;
        let io = network.connect("node1:1".into()).await.unwrap();
        let start = Instant::now();
        if let Ok(mut stream) =
            TlsConnector::from(Arc::new(client)).connect("node1".try_into().unwrap(), io).await
        {
            let mut received = Vec::new();
            let _ = stream.read_to_end(&mut received).await;
            assert!(received.is_empty(), "{received:?}");
        }
        assert!(start.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let lines = log.lines("refused a connection");
        assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
    }
    handle.shutdown().await;
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_protocol() {
    let ca = Ca::new("ca");
    let issued = ca.issue(&["node1"]);
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let server =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let (accept, mut accepted) = tokio::sync::mpsc::channel::<tokio::io::DuplexStream>(1);
    let serving = tokio::spawn(async move {
        while let Some(io) = accepted.recv().await {
            let _ = acceptor.accept(io).await;
        }
    });
    let connector = move |_: Arc<str>| -> futures_util::future::BoxFuture<'static, _> {
        let accept = accept.clone();
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(1 << 16);
            accept.send(far).await.map_err(std::io::Error::other)?;
            Ok(Box::new(near) as gorums_core::BoxedIo)
        })
    };
    let configuration = Configuration::builder().nodes(["node1:1"]).connector(connector).tls(ca.client());
    let configuration = configuration.connect_lazy().unwrap();
    let error = configuration.node(1).unwrap().rpc(&ECHO, text("x")).await.unwrap_err();
    assert!(error.to_string().contains("has not agreed on HTTP/2"), "{error}");
    configuration.abort().await;
    serving.abort();
}
