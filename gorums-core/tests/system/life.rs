//! How members begin and end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use gorums_core::{Backoff, ConfigError, Configuration, NodeState, System, SystemError};
use tokio::net::TcpListener;

use crate::common::{ECHO, OnConfiguration, OnNode, text, within};
use crate::{ASK, Member, cluster, serve, stop};

async fn can_be_bound(address: SocketAddr) -> bool {
    TcpListener::bind(address).await.is_ok()
}

/// `TestWaitForConfig`
#[tokio::test]
async fn waiting_for_peers_ends_with_the_system() {
    let mut members: Vec<_> = System::local_cluster(3).await.unwrap().into_iter().map(Some).collect();
    let first = serve(members[0].take().unwrap());
    let server = first.system.server().clone();
    assert_eq!(
        within("itself", first.system.wait_for_peers(|peers| peers.len() == 1)).await.unwrap().len(),
        1
    );
    let mut changes = first.system.peer_changes();
    let waiting = tokio::spawn(async move { server.wait_for_peers(|peers| peers.len() == 3).await });
    let second = serve(members[1].take().unwrap());
    within("the second", first.system.wait_for_peers(|peers| peers.contains(2))).await.unwrap();
    assert!(!waiting.is_finished());
    within("stop", second.system.stop()).await.unwrap();
    within("its end", first.system.wait_for_peers(|peers| !peers.contains(2))).await.unwrap();
    within("stop", first.system.stop()).await.unwrap();
    assert!(waiting.await.unwrap().is_none(), "stopped");
    let mut last = None;
    while let Some(Some(peers)) = futures_util::FutureExt::now_or_never(changes.next()) {
        last = Some(peers.len());
    }
    assert_eq!(last, Some(0));
}

/// `TestSystemStopClosesRegisteredServices`, `TestSystemStopReturnsCloserError`
#[tokio::test]
async fn stopping_closes_what_belongs_to_the_system() {
    let order = Arc::<Mutex<Vec<u32>>>::default();
    let note = |number| {
        let order = order.clone();
        async move { order.lock().unwrap().push(number) }
    };
    let mut bound = System::local_cluster(1).await.unwrap();
    let bound = bound.remove(0);
    let address = bound.local_addr().unwrap();
    let [one, two, three] = [1, 2, 3].map(note);
    let bound = bound
        .on_stop(async {
            one.await;
            Ok::<_, String>(())
        })
        .on_stop(async {
            two.await;
            Err("the disk is full")
        })
        .on_stop(async {
            three.await;
            Err("not this one")
        });
    let Member { system, alive, .. } = serve(bound);
    system.configuration().quorum_call(&ASK, text("peers")).all().await.unwrap();
    assert!(alive.upgrade().is_some());
    let error = within("stop", system.stop()).await.unwrap_err();
    assert_eq!(error.to_string(), "while stopping: the disk is full");
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    assert!(alive.upgrade().is_none(), "the service holds the configuration of its own system, and is gone");
    assert!(can_be_bound(address).await);
}

/// `TestSystemStopBeforeServeClosesListener`, `TestNewLocalSystemsStopBeforeServeClosesListeners`
#[tokio::test]
async fn members_that_never_served_release_their_listeners() {
    let systems = System::local_cluster(3).await.unwrap();
    let addresses: Vec<_> = systems.iter().map(|system| system.local_addr().unwrap()).collect();
    for (index, system) in systems.into_iter().enumerate() {
        let own = system.configuration().node(system.id()).unwrap().clone();
        let waits = own.rpc(&ECHO, text("x")).send();
        assert!(!can_be_bound(addresses[index]).await);
        if index == 0 {
            drop(system);
        } else {
            within("stop", system.stop()).await.unwrap();
        }
        assert!(within("the call", waits).await.is_err());
        assert!(can_be_bound(addresses[index]).await);
    }
}

#[tokio::test]
async fn dropping_a_system_ends_it() {
    let mut members = cluster(2).await;
    let Member { system, alive, .. } = members.remove(0);
    let address = system.local_addr().unwrap();
    drop(system);
    within("its end", members[0].system.wait_for_peers(|peers| !peers.contains(1))).await.unwrap();
    within("its listener", async {
        while !can_be_bound(address).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within("its services", async {
        while alive.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stop(members).await;
}

/// Calls to a member that does not serve yet wait, from within the process and from without.
#[tokio::test]
async fn calls_wait_until_a_member_serves() {
    let mut systems = System::local_cluster(2).await.unwrap().into_iter();
    let first = serve(systems.next().unwrap());
    let second = systems.next().unwrap();
    let own = second.configuration().node(2).unwrap().rpc(&ECHO, text("x")).send();
    let from_first = first.system.configuration().node(2).unwrap().rpc(&ECHO, text("x")).send();
    tokio::task::yield_now().await;
    let second = serve(second);
    assert_eq!(within("own", own).await.unwrap().number, 2);
    assert_eq!(within("from first", from_first).await.unwrap().number, 2);
    stop(vec![first, second]).await;
}

/// A member that could not be dialled, and then connects by itself, is dialled at once, although the
/// wait for the next dial would be for days.
#[tokio::test]
async fn a_member_that_connects_is_dialled_at_once() {
    let long = Backoff { initial: Duration::from_secs(1_000_000), max: Duration::from_secs(1_000_000) };
    let mut listeners = Vec::new();
    for _ in 0..2 {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let addresses: Vec<_> =
        listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    drop(listeners);
    let member = async |id: u32| {
        let configuration = Configuration::builder().backoff(long);
        let builder = System::builder().own(id).nodes(&addresses).configuration(configuration);
        serve(builder.bind().await.unwrap())
    };
    let first = member(1).await;
    let node = first.system.configuration().node(2).unwrap().clone();
    let mut states = node.states();
    within("a dial", async { while states.next().await != Some(NodeState::Unreachable) {} }).await;
    let second = member(2).await;
    within("peers", first.system.wait_for_peers(|peers| peers.len() == 2)).await.unwrap();
    assert_eq!(within("the call", node.rpc(&ECHO, text("x"))).await.unwrap().number, 2);
    stop(vec![first, second]).await;
}

/// The other members call back over the connections that a member makes, and find all of its services there.
#[tokio::test]
async fn a_member_that_returns_takes_its_place() {
    let mut members = cluster(3).await;
    let gone = members.remove(2);
    let address = gone.system.address().to_owned();
    stop(vec![gone]).await;
    for member in &members {
        within("its end", member.system.wait_for_peers(|peers| peers.len() == 2)).await.unwrap();
    }
    let addresses: Vec<_> = members.iter().map(|member| member.system.address().to_owned()).collect();
    let bound = System::builder().nodes(addresses).node(3, address).own(3).bind().await.unwrap();
    let back = serve(bound);
    for member in &members {
        let peers = within("return", member.system.wait_for_peers(|peers| peers.len() == 3)).await.unwrap();
        let reply = peers.node(3).unwrap().rpc(&ECHO, text("x")).await.unwrap();
        assert_eq!(reply.number, 3);
        let replies: Vec<_> = peers.quorum_call(&ASK, text("members")).send().collect().await;
        assert_eq!(replies.len(), 3);
    }
    members.push(back);
    stop(members).await;
}

#[tokio::test]
async fn mistakes_are_named() {
    let of = |builder: gorums_core::SystemBuilder| async { builder.bind().await.unwrap_err() };
    let nodes = || System::builder().nodes(["127.0.0.1:4001", "127.0.0.1:4002"]);
    assert!(matches!(of(nodes()).await, SystemError::NoOwnId));
    let error = of(nodes().own(3)).await;
    assert_eq!(
        error.to_string(),
        "own id 3 is not among the nodes [1, 2]: add this member's own address to them"
    );
    let twice = Configuration::builder().nodes(["127.0.0.1:4003"]);
    let free = || nodes().own(1).listen("127.0.0.1:0");
    assert!(matches!(of(free().configuration(twice)).await, SystemError::NodesTwice));
    let error = of(free().node(2, "127.0.0.1:4004")).await;
    assert!(matches!(error, SystemError::Config(ConfigError::DuplicateId { .. })), "{error}");
    let error =
        of(System::builder().node(1 << 20, "127.0.0.1:4001").own(1 << 20).listen("127.0.0.1:0")).await;
    assert!(error.to_string().contains("from 1 to 1048575"), "{error}");
    let error = of(nodes().own(1).listen("256.0.0.1:1")).await;
    assert!(error.to_string().contains("256.0.0.1:1"), "{error}");
}
