//! Metadata of calls and of connections, after the tests of Go Gorums in `internal/tests/metadata`.

use std::sync::Arc;

use gorums_core::testing::Cluster;
use gorums_core::{
    CallType, Configuration, MetadataMap, MetadataValue, Method, Methods, Server, Service, Status,
};

use crate::common::{OnConfiguration, OnNode, Text, text};

const ABOUT: Method<Text, Text> = Method::prost("test.About.Tell", CallType::QuorumCall);

/// Tells of the metadata of the call, of the connection, and who called.
struct About;

impl Service for About {
    const NAME: &'static str = "test.About";

    fn register(self, methods: &mut Methods) {
        methods.two_way(&ABOUT, &Arc::new(self), |_, ctx, request| async move {
            let tell = |metadata: &MetadataMap, key: &str| {
                let all: Vec<_> = metadata.get_all(key).iter().map(|value| value.to_str().unwrap()).collect();
                let binary = metadata.get_all_bin(key);
                let binary = binary.iter().map(|value| format!("{:?}", &*value.to_bytes().unwrap()));
                if key.ends_with("-bin") { binary.collect() } else { all.join(",") }
            };
            match request.text.split_once(' ') {
                Some(("call", key)) => Ok(text(&tell(ctx.metadata(), key))),
                Some(("connection", key)) => Ok(text(&tell(ctx.connection_metadata(), key))),
                _ => ctx
                    .peer_addr()
                    .map(|address| text(&address.to_string()))
                    .ok_or(Status::not_found("local")),
            }
        });
    }
}

fn metadata() -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("id", "1".parse().unwrap());
    metadata.append("id", "2".parse().unwrap());
    metadata.insert_bin("key-bin", MetadataValue::from_bytes(&[0, 200, 255]));
    metadata.insert_bin("empty-bin", MetadataValue::from_bytes(&[]));
    metadata
}

async fn tell(configuration: &Configuration, what: &str) -> String {
    configuration.nodes()[0].rpc(&ABOUT, text(what)).metadata(metadata()).await.unwrap().text
}

async fn cluster() -> Cluster {
    Cluster::over_tcp(1, |_| Server::builder().add_service(About)).await
}

/// After `TestMetadata`.
#[tokio::test]
async fn of_a_connection() {
    let mut cluster = cluster().await;
    let configuration = cluster.configure(|builder| builder.metadata(metadata())).unwrap();
    assert_eq!(tell(&configuration, "connection id").await, "1,2");
    assert_eq!(tell(&configuration, "connection key-bin").await, "[0, 200, 255]");
    assert_eq!(tell(&configuration, "connection empty-bin").await, "[]");
    drop(configuration);
    cluster.finish().await;
}

/// After `TestPerMessageMetadata`.
#[tokio::test]
async fn of_a_call() {
    let mut cluster = cluster().await;
    let local = Server::builder().add_service(About);
    let local = Configuration::builder().local_node(1, local).connect_lazy().unwrap();
    for configuration in [cluster.configuration(), local] {
        assert_eq!(tell(&configuration, "call id").await, "1,2");
        assert_eq!(tell(&configuration, "call key-bin").await, "[0, 200, 255]");
        assert_eq!(tell(&configuration, "call empty-bin").await, "[]");
        assert_eq!(tell(&configuration, "connection id").await, "");
        let reply = configuration.quorum_call(&ABOUT, text("call key-bin")).metadata(metadata()).all().await;
        assert_eq!(reply.unwrap().text, "[0, 200, 255]");
        assert_eq!(configuration.quorum_call(&ABOUT, text("call id")).all().await.unwrap().text, "");
        // The deadline is no metadata.
        assert_eq!(tell(&configuration, "call grpc-timeout").await, "");
        configuration.close().await;
    }
    cluster.finish().await;
}

/// After `TestCanGetPeerInfo`.
#[tokio::test]
async fn of_who_calls() {
    let mut cluster = cluster().await;
    let configuration = cluster.configuration();
    let address: std::net::SocketAddr = tell(&configuration, "address").await.parse().unwrap();
    assert!(address.ip().is_loopback() && address.port() > 0);
    drop(configuration);
    cluster.finish().await;
}
