//! Who says that it is a node has to have its certificate.

use gorums_core::{
    ClientTls, Code, Configuration, ConfigurationBuilder, Methods, Server, ServerBuilder, ServerTls, Service,
};

use crate::common::{ECHO, OnNode, Text, text, within};
use crate::pki::Ca;
use crate::scene::Scene;

/// Says that it is a node, as a member of a system does.
fn claims(builder: ConfigurationBuilder, id: u32, tls: &ClientTls) -> ConfigurationBuilder {
    let mut metadata = gorums_core::MetadataMap::new();
    metadata.insert("gorums-node-id", id.into());
    builder.tls(tls.clone()).metadata(metadata)
}

fn member(builder: ServerBuilder, tls: &ServerTls) -> ServerBuilder {
    builder.tls(tls.clone()).membership(1, [1, 2, 3]).unwrap()
}

async fn scene(server: ServerTls, healthy: ClientTls) -> Scene {
    Scene::new(move |builder| member(builder, &server), |builder| claims(builder, 3, &healthy)).await
}

async fn peers(scene: &Scene, count: usize) -> Configuration {
    let server = scene.cluster.server(1).unwrap();
    within("peers", server.wait_for_peers(|peers| peers.len() == count)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_member_with_its_certificate_is_a_peer() {
    let ca = Ca::new("ca");
    let three = ca.client_named(&["gorums://node/3"]);
    let mut scene = scene(ca.mutual(&["node1"]), three).await;
    let two = ca.client_named(&["gorums://node/9", "gorums://node/2"]);
    let another = scene.configure(|builder| claims(builder, 2, &two));
    another.wait_connected().await.unwrap();
    let peers = peers(&scene, 3).await;
    let error = peers.node(2).unwrap().rpc(&ECHO, text("x")).await.unwrap_err();
    assert_eq!(error.status().unwrap().code(), Code::Unimplemented, "reached, and offers nothing");
    drop(peers);
    scene.cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_with_the_certificate_of_another_is_refused() {
    let ca = Ca::new("ca");
    let scene = scene(ca.mutual(&["node1"]), ca.client_named(&["gorums://node/3"])).await;
    let two = ca.client_named(&["gorums://node/2", "host2"]);
    let what = "PermissionDenied: the client says that it is node 3, and its certificate does not name that by \
                gorums://node/3, but has: gorums://node/2, host2";
    scene.refuses(|builder| claims(builder, 3, &two), what, what).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_with_the_certificate_of_no_node_is_refused() {
    let ca = Ca::new("ca");
    let scene = scene(ca.mutual(&["node1"]), ca.client_named(&["gorums://node/3"])).await;
    let plain = ca.client_named(&["client"]);
    let what =
        "says that it is node 2, and its certificate does not name that by gorums://node/2, but has: client";
    scene.refuses(|builder| claims(builder, 2, &plain), what, what).await;
}

/// The true member does not lose its place to one that is refused.
#[tokio::test(start_paused = true)]
async fn an_impostor_does_not_take_the_place_of_a_peer() {
    let ca = Ca::new("ca");
    let mut scene = scene(ca.mutual(&["node1"]), ca.client_named(&["gorums://node/3"])).await;
    let before = peers(&scene, 2).await;
    let other = ca.client_named(&["gorums://node/2"]);
    let impostor = scene.configure(|builder| claims(builder, 3, &other));
    for _ in 0..5 {
        scene.undisturbed(crate::scene::failure(impostor.node(1).unwrap())).await;
    }
    assert_eq!(scene.cluster.server(1).unwrap().peers(), before, "published anew");
    let error = before.node(3).unwrap().rpc(&ECHO, text("x")).await.unwrap_err();
    assert_eq!(error.status().unwrap().code(), Code::Unimplemented, "reached, and offers nothing");
    drop((before, impostor));
    scene.cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_function_may_tell_who_is_who() {
    let ca = Ca::new("ca");
    let server = ca.mutual(&["node1"]).identify(|certificates| {
        let host = certificates.dns_names().next()?;
        host.strip_prefix("host-")?.parse().ok()
    });
    let scene = scene(server, ca.client_named(&["host-3"])).await;
    peers(&scene, 2).await;
    let misnamed = ca.client_named(&["gorums://node/2", "host-3"]);
    let what = "says that it is node 2, and its certificate does not name that";
    scene.refuses(|builder| claims(builder, 2, &misnamed), what, what).await;
}

/// As documented: without client certificates, who connects is believed.
#[tokio::test(start_paused = true)]
async fn without_client_certificates_members_are_believed() {
    let ca = Ca::new("ca");
    let scene = scene(ca.server(&["node1"]), ca.client()).await;
    assert!(peers(&scene, 2).await.contains(3));
    scene.cluster.finish().await;
}

struct WhoAmI;

impl Service for WhoAmI {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        methods.two_way(&ECHO, &std::sync::Arc::new(self), |_, ctx, _| async move {
            let text = match ctx.peer_certificates() {
                Some(shown) => format!("{shown} {:?} {}", shown.node_ids(), shown.chain().len()),
                None => "nobody".to_owned(),
            };
            Ok(Text { text, number: 0 })
        });
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_see_who_calls() {
    let ca = Ca::new("ca");
    for (server, client, expected) in [
        (
            ca.mutual(&["node1"]),
            ca.client_named(&["c", "gorums://node/8"]),
            "gorums://node/8, c [NodeId(8)] 1",
        ),
        (ca.server(&["node1"]), ca.client_named(&["c"]), "nobody"),
    ] {
        let mut scene = Scene::new(
            move |_| Server::builder().add_service(WhoAmI).tls(server.clone()),
            |builder| builder.tls(client.clone()),
        )
        .await;
        let reply = scene.healthy().rpc(&ECHO, text("")).await.unwrap();
        assert_eq!(reply.text, expected);
        // Of a call back, the client sees who the server is.
        let offers = Server::builder().add_service(WhoAmI);
        let offering = scene.configure(|builder| builder.tls(client).serve_callbacks(offers));
        offering.wait_connected().await.unwrap();
        let server = scene.cluster.server(1).unwrap();
        let clients = within("client", server.wait_for_clients(|clients| clients.len() == 1)).await.unwrap();
        let reply = clients.nodes()[0].rpc(&ECHO, text("")).await.unwrap();
        assert_eq!(reply.text, "node1 [] 1");
        drop((clients, offering));
        scene.cluster.finish().await;
    }
}
