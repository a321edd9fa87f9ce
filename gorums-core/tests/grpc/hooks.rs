//! Who may call a gRPC service.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums_core::{Code, ConnectRequest, Health, NodeId, Status};
use tokio::time::Instant;
use tonic::IntoRequest;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::common::{Text, text};
use crate::echo::{unary, unary_with};
use crate::scene::Scene;

const UNARY: &str = "/test.Echo/Unary";

/// Takes node streams and probes, and others by what they say.
async fn hook(client: ConnectRequest) -> Result<(), Status> {
    match client.grpc_path() {
        None => Ok(()),
        Some(path) if path.starts_with("/grpc.health.v1.Health/") => Ok(()),
        Some(_) => match client.metadata().get("mood").map(|mood| mood.to_str().unwrap()) {
            Some("good") => Ok(()),
            Some("stuck") => std::future::pending().await,
            _ => Err(Status::unauthenticated("no good mood")),
        },
    }
}

fn with_mood(mood: &'static str) -> tonic::Request<Text> {
    let mut request = text("x").into_request();
    request.metadata_mut().insert("mood", mood.parse().unwrap());
    request
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_asked_about_each_call() {
    let scene = Scene::new(|builder| builder.on_connect(hook).health(&Health::new()));
    let channel = scene.channel();
    let calls = async {
        let status = unary(channel.clone(), UNARY, text("x")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "no good mood"));
        assert_eq!(scene.seen.peers.lock().unwrap().len(), 0, "handled before the hook had decided");
        unary_with(channel.clone(), UNARY, with_mood("good")).await.unwrap();
        HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
        let start = Instant::now();
        let status = unary_with(channel.clone(), UNARY, with_mood("stuck")).await.unwrap_err();
        assert_eq!((status.code(), start.elapsed().as_secs()), (Code::Unavailable, 5));
        let given_up = unary_with(channel.clone(), UNARY, with_mood("stuck"));
        tokio::time::timeout(Duration::from_secs(1), given_up).await.unwrap_err();
    };
    scene.undisturbed(calls).await;
    scene.eventually("the end of all hooks", |stats, _| stats.grpc_calls == 0).await;
    drop(channel);
    scene.finish().await;
}

/// A hook sees which member a client says it is.
#[tokio::test(start_paused = true)]
async fn a_hook_is_told_of_the_claim() {
    let claims = Arc::new(Mutex::new(Vec::new()));
    let told = claims.clone();
    let scene = Scene::new(|builder| {
        builder.on_connect(move |client| {
            told.lock().unwrap().push((client.claimed_id().map(NodeId::get), client.grpc_path().is_some()));
            async { Ok(()) }
        })
    });
    let channel = scene.channel();
    let mut request = text("x").into_request();
    request.metadata_mut().insert("gorums-node-id", "7".parse().unwrap());
    unary_with(channel.clone(), UNARY, request).await.unwrap();
    assert_eq!(*claims.lock().unwrap(), [(Some(7), true)]);
    drop(channel);
    scene.finish().await;
}
