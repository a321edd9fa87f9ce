//! Hooks that decide who may connect.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums_core::testing::Cluster;
use gorums_core::{ConfigurationBuilder, ConnectRequest, MetadataMap, NodeId, Server, Status};
use tokio::time::{Instant, sleep};

use crate::common::{ECHO, OnNode, text};
use crate::pki::Ca;
use crate::scene::{Scene, failure};

fn with(builder: ConfigurationBuilder, key: &'static str, value: &'static str) -> ConfigurationBuilder {
    let mut metadata = MetadataMap::new();
    metadata.insert(key, value.parse().unwrap());
    builder.metadata(metadata)
}

/// Takes who says so, in one way or the other.
async fn hook(client: ConnectRequest) -> Result<(), Status> {
    match client.metadata().get("mood").map(|mood| mood.to_str().unwrap()) {
        Some("good") => Ok(()),
        Some("slow") => {
            sleep(Duration::from_secs(3)).await;
            Ok(())
        }
        Some("stuck") => std::future::pending().await,
        Some("panic") => panic!("told to panic"),
        _ => Err(Status::unauthenticated("no good mood")),
    }
}

async fn scene() -> Scene {
    Scene::new(|builder| builder.on_connect(hook), |builder| with(builder, "mood", "good")).await
}

#[tokio::test(start_paused = true)]
async fn a_hook_refuses_with_a_status() {
    let what = "Unauthenticated: no good mood";
    scene().await.refuses(|builder| builder, what, what).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_refuses() {
    let mut scene = scene().await;
    let refused = scene.configure(|builder| with(builder, "mood", "panic"));
    let error = scene.undisturbed(failure(refused.node(1).unwrap())).await;
    assert!(error.to_string().contains("the connect hook of the server panicked"), "{error}");
    drop(refused);
    scene.cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_take_its_time_but_not_for_ever() {
    let mut scene = scene().await;
    let slow = scene.configure(|builder| with(builder, "mood", "slow"));
    let start = Instant::now();
    let call = slow.node(1).unwrap().rpc(&ECHO, text("x"));
    scene.undisturbed(async { call.await.unwrap() }).await;
    assert!(start.elapsed() >= Duration::from_secs(3), "handled before the hook had decided");
    let stuck = scene.configure(|builder| with(builder, "mood", "stuck"));
    let start = Instant::now();
    let call = stuck.node(1).unwrap().rpc(&ECHO, text("x")).timeout(Duration::from_secs(60));
    let error = scene.undisturbed(async { call.await.unwrap_err() }).await;
    assert!(error.to_string().contains("the connect hook of the server took over 5s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(6));
    drop((slow, stuck));
    scene.cluster.finish().await;
}

/// A hook that is stuck holds nothing for a client that has gone.
#[tokio::test(start_paused = true)]
async fn a_hook_ends_with_its_client() {
    let mut scene = scene().await;
    let stuck = scene.configure(|builder| with(builder, "mood", "stuck"));
    stuck.wait_connected().await.unwrap();
    let server = scene.cluster.server(1).unwrap().clone();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.stats().streams, 2);
    stuck.abort().await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.stats().streams, 1);
    scene.cluster.finish().await;
}

/// A client that is refused pauses longer and longer.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_backs_off() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = asked.clone();
    let server = move |builder: gorums_core::ServerBuilder| {
        let asked = counts.clone();
        builder.on_connect(move |client: ConnectRequest| {
            asked.fetch_add(1, Relaxed);
            hook(client)
        })
    };
    let mut scene = Scene::new(server, |builder| with(builder, "mood", "good")).await;
    let refused = scene.configure(|builder| builder.jitter_seed(1));
    asked.store(0, Relaxed);
    failure(refused.node(1).unwrap()).await;
    sleep(Duration::from_secs(600)).await;
    let attempts = asked.load(Relaxed);
    assert!((100..500).contains(&attempts), "{attempts} attempts in 10 minutes");
    drop(refused);
    scene.cluster.finish().await;
}

/// A node that knew what a client calls itself to others could open a stream there in its name, and so end the client's.
#[tokio::test(start_paused = true)]
async fn a_client_has_another_name_at_each_node() {
    let names: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = names.clone();
    let mut cluster = Cluster::in_memory(2, move |_| {
        let seen = seen.clone();
        Server::builder().on_connect(move |client| {
            seen.lock()
                .unwrap()
                .push(client.metadata().get("gorums-client").unwrap().to_str().unwrap().into());
            async { Ok(()) }
        })
    })
    .await;
    cluster.configuration().wait_connected().await.unwrap();
    {
        let names = names.lock().unwrap();
        assert_eq!(names.len(), 2);
        assert!(names.iter().all(|name| name.len() >= 34), "{names:?}");
        assert_ne!(names[0][..16], names[1][..16]);
        assert_ne!(names[0][16..32], names[1][16..32]);
    }
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_sees_who_connects() {
    type Seen = (Option<NodeId>, String, Option<String>);
    let ca = Ca::new("ca");
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (witness, tls) = (seen.clone(), ca.mutual(&["node1"]));
    let server = move |builder: gorums_core::ServerBuilder| {
        let witness = witness.clone();
        let builder = builder.tls(tls.clone()).membership(1, [1, 2]).unwrap();
        builder.on_connect(|_| async { Ok(()) }).on_connect(move |client| {
            let mood = client.metadata().get("mood").map(|mood| mood.to_str().unwrap().to_owned());
            let certificates = client.peer_certificates().unwrap().to_string();
            assert!(client.peer_addr().is_none(), "in memory");
            witness.lock().unwrap().push((client.claimed_id(), certificates, mood));
            async { Ok(()) }
        })
    };
    let two = ca.client_named(&["gorums://node/2"]);
    let healthy = |builder: ConfigurationBuilder| {
        let mut metadata = MetadataMap::new();
        metadata.insert("gorums-node-id", 2.into());
        metadata.insert("mood", "good".parse().unwrap());
        builder.tls(two).metadata(metadata)
    };
    let scene = Scene::new(server, healthy).await;
    scene.healthy().rpc(&ECHO, text("x")).await.unwrap();
    let expected = (NodeId::new(2), "gorums://node/2".to_owned(), Some("good".to_owned()));
    assert_eq!(*seen.lock().unwrap(), [expected]);
    scene.cluster.finish().await;
}
