//! Streams that are none of a node's, or that claim to be another's.

use gorums_core::Code;
use http::Method;

use crate::common::{ECHO as ECHO_METHOD, OnNode, number, soon, within};
use crate::peer::{Ended, Peer, open};
use crate::scene::Scene;
use crate::tools::{SECOND, length};

const FEW: [usize; 2] = [250, 1_000];
const MANY: [usize; 2] = [5_000, 20_000];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_paths_and_methods() {
    let scene = Scene::start().await;
    scene
        .bears("other paths and methods", length(FEW, MANY), async |scene, count| {
            let mut peer = Peer::connect(scene.address).await;
            let long = format!("/{}", "x".repeat(10_000));
            for turn in 0..count {
                let path = ["/", "/stream.Gorums/Other", "/grpc.health.v1.Health/Check", &long][turn % 4];
                let mut stream = peer.request(&Method::POST, path, &[]).await;
                let head = stream.headers().await.unwrap();
                let status = tonic::Status::from_header_map(&head.headers).unwrap();
                assert_eq!((head.status.as_u16(), status.code()), (200, Code::Unimplemented));
                let mut stream = peer.request(&Method::GET, gorums_core::wire::NODE_STREAM, &[]).await;
                assert_eq!(stream.headers().await.unwrap().status, 405);
            }
            // The connection is still good for a node stream.
            peer.open(&[]).await.is_served().await;
            peer.close().await;
        })
        .await;
}

/// Without an id, or with one that is none, a peer can be called back as any client, by an id that the server gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_are_none() {
    let scene = Scene::start().await;
    scene
        .bears("ids that are none", length([50, 200], MANY), async |scene, count| {
            for turn in 0..count {
                let id = ["0", "", "x", "-1", "4294967296", "00", "\u{e4}"][turn % 7];
                let name = "n".repeat(turn % 200);
                let (peer, mut stream) =
                    open(scene.address, &[("gorums-node-id", id), ("gorums-client", &name)]).await;
                stream.is_served().await;
                let clients = scene.server.clients();
                assert_eq!(clients.len(), 2, "{id}: {clients}");
                assert!(clients.node_ids().all(|id| id.get() >= 1 << 20), "{id}: {clients}");
                assert!(scene.server.peers().is_empty());
                peer.close().await;
                soon("gone", 10 * SECOND, || scene.server.clients().len() == 1).await;
            }
        })
        .await;
}

/// A server that is node 1 of nodes 1 to 3, with a healthy node 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_others() {
    let scene = Scene::with(|server| server.membership(1, 1..=3).unwrap()).await;
    let (two, mut healthy) = open(scene.address, &[("gorums-node-id", "2")]).await;
    healthy.is_served().await;
    let peers =
        |scene: &Scene| scene.server.peers().node_ids().map(gorums_core::NodeId::get).collect::<Vec<_>>();
    for _ in 0..length(50, 1_000) {
        for id in ["1", "4", "1048575", "1048576", "4294967295"] {
            let (peer, mut stream) = open(scene.address, &[("gorums-node-id", id)]).await;
            // It is served, as anybody is, and can not be called, as it may not be who it says it is.
            stream.is_served().await;
            assert_eq!(peers(&scene), [1, 2], "with one that claims to be {id}");
            assert_eq!(scene.server.clients().len(), 1, "with one that claims to be {id}");
            peer.close().await;
        }
        healthy.is_served().await;
    }
    // Who claims to be node 3 is node 3, until the next one does. Nothing but a certificate could tell them apart.
    let (three, mut first) = open(scene.address, &[("gorums-node-id", "3")]).await;
    first.is_served().await;
    let node = scene.server.peers().node(3).unwrap().clone();
    let call = node.rpc(&ECHO_METHOD, number(1)).send();
    let (other, mut second) = open(scene.address, &[("gorums-node-id", "3")]).await;
    second.is_served().await;
    assert_eq!(peers(&scene), [1, 2, 3]);
    let end = first.end().await;
    assert!(matches!(&end, Ended::Status(status) if status.code() == Code::Ok), "the older one: {end:?}");
    within("the call on the older one", call).await.unwrap_err();
    // What is left of the older one does not touch the newer one.
    three.close().await;
    soon("gone", 10 * SECOND, || scene.server.stats().connections == 4).await;
    second.is_served().await;
    assert_eq!(peers(&scene), [1, 2, 3]);
    other.close().await;
    healthy.is_served().await;
    two.close().await;
    soon("peers", 10 * SECOND, || peers(&scene) == [1]).await;
    scene.has_borne("ids of others").await;
}

/// A name is only good for the streams of its own client: whoever uses the name of another one's, without knowing
/// it, supersedes nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_clients() {
    let scene = Scene::start().await;
    scene
        .bears("names of clients", length([50, 200], MANY), async |scene, count| {
            let mut peer = Peer::connect(scene.address).await;
            for dial in 0..count {
                let newest = format!("{:032x}.0-{}", 7, u64::MAX);
                let late = format!("{:032x}.0-{dial}", 7);
                let mut served = peer.open(&[("gorums-client", &newest)]).await;
                served.is_served().await;
                let mut refused = peer.open(&[("gorums-client", &late)]).await;
                let error = refused.headers().await.unwrap_err();
                assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
                served.is_served().await;
                served.sink.send_reset(h2::Reason::CANCEL);
                soon("gone", 10 * SECOND, || scene.server.stats().streams == 2).await;
            }
            peer.close().await;
        })
        .await;
}
