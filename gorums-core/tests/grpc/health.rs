//! The standard health service, as probes and those who watch see it.

use std::time::Duration;

use futures_util::FutureExt;
use gorums_core::testing::{Direction, Traffic};
use gorums_core::{Code, Health};
use prost::Message;
use tokio::time::Instant;
use tonic::Streaming;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::scene::Scene;

async fn check(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.into() };
    let checked = HealthClient::new(channel.clone()).check(request).await;
    checked.map(|response| response.into_inner().status()).map_err(|status| status.code())
}

async fn watch(channel: &Channel, service: &str) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: service.into() };
    HealthClient::new(channel.clone()).watch(request).await.unwrap().into_inner()
}

/// What is told next; nothing at the end.
async fn next(watched: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    watched.message().await.unwrap().map(|response| response.status())
}

#[tokio::test(start_paused = true)]
async fn everything_serves_until_it_is_told_otherwise() {
    let health = Health::new();
    health.set_not_serving("test.Echo");
    let scene = Scene::new(|builder| builder.health(&health));
    let channel = scene.channel();
    let checks = async {
        for service in ["", "test.Test", "grpc.health.v1.Health"] {
            assert_eq!(check(&channel, service).await, Ok(ServingStatus::Serving), "{service}");
        }
        assert_eq!(
            check(&channel, "test.Echo").await,
            Ok(ServingStatus::NotServing),
            "told before it served"
        );
        for unknown in ["test", "test.Test.Echo", "test.Nobody", "."] {
            assert_eq!(check(&channel, unknown).await, Err(Code::NotFound), "{unknown}");
        }
        health.set_not_serving("test.Test");
        health.set_serving("test.Echo");
        assert_eq!(check(&channel, "test.Test").await, Ok(ServingStatus::NotServing));
        assert_eq!(check(&channel, "test.Echo").await, Ok(ServingStatus::Serving));
        assert_eq!(check(&channel, Health::SERVER).await, Ok(ServingStatus::Serving), "as it was");
        health.set_not_serving(Health::SERVER);
        assert_eq!(check(&channel, Health::SERVER).await, Ok(ServingStatus::NotServing));
    };
    // Calls are handled whatever is told.
    scene.undisturbed(checks).await;
    drop(channel);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn those_who_watch_are_told_each_change() {
    let health = Health::new();
    let scene = Scene::new(|builder| builder.health(&health));
    let channel = scene.channel();
    let watches = async {
        let mut test = watch(&channel, "test.Test").await;
        let mut later = watch(&channel, "a.shard").await;
        assert_eq!(next(&mut test).await, Some(ServingStatus::Serving));
        assert_eq!(next(&mut later).await, Some(ServingStatus::ServiceUnknown), "it may come");
        health.set_serving("test.Test");
        health.set_not_serving("test.Test");
        assert_eq!(next(&mut test).await, Some(ServingStatus::NotServing));
        health.set_serving("a.shard");
        assert_eq!(next(&mut later).await, Some(ServingStatus::Serving));
        health.set_serving("test.Test");
        assert_eq!(next(&mut test).await, Some(ServingStatus::Serving));
    };
    scene.undisturbed(watches).await;
    scene.eventually("the end of both", |stats, _| stats.grpc_calls == 0).await;
    drop(channel);
    scene.finish().await;
}

/// Who watches is told that the server stops, and does not keep it from stopping.
#[tokio::test(start_paused = true)]
async fn shutdown_is_told_and_not_held_up() {
    let health = Health::new();
    health.set_not_serving("test.Echo");
    let drain = Duration::from_secs(30);
    let scene = Scene::new(|builder| builder.health(&health).drain_timeout(drain));
    let channel = scene.channel();
    let mut watched = Vec::new();
    for service in ["", "test.Test", "a.shard", "test.Echo"] {
        let mut watch = watch(&channel, service).await;
        watched.push((service, next(&mut watch).await.unwrap(), watch));
    }
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(watch(&channel, "").await);
    }
    let start = Instant::now();
    let told = async {
        for (service, before, mut watch) in watched {
            if before == ServingStatus::Serving {
                assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing), "{service:?}");
            }
            assert_eq!(next(&mut watch).await, None, "{service:?}");
        }
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
        // Whatever the application still says.
        health.set_serving(Health::SERVER);
        drop((channel, unread));
    };
    let took = scene.finish_with(told).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
}

/// While the server drains, who has asked in this moment is told that it does not serve.
#[tokio::test(start_paused = true)]
async fn a_server_that_drains_does_not_serve() {
    let health = Health::new();
    let scene = Scene::new(|builder| builder.health(&health));
    let mut client = scene.raw().await;
    let mut checked = async |meanwhile: Option<&Scene>| {
        if let Some(scene) = meanwhile {
            // The server stops, and the client does not know it yet.
            scene.faults.set(Direction::ToClient, Traffic::Delay(Duration::from_millis(50)));
            assert!(scene.server.shutdown().now_or_never().is_none());
            client.drive(tokio::time::sleep(Duration::from_millis(10))).await;
        }
        let begun = client.begin("/grpc.health.v1.Health/Check", &HealthCheckRequest::default(), None);
        let answer = client.answer(begun).await;
        HealthCheckResponse::decode(&answer.data[5..]).unwrap().status()
    };
    assert_eq!(checked(None).await, ServingStatus::Serving);
    assert_eq!(checked(Some(&scene)).await, ServingStatus::NotServing);
    drop(client);
    scene.finish().await;
}
