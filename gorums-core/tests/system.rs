//! Members of a symmetric system. Names in comments are those of the tests of Go Gorums that check the same.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{ECHO, NOTE, OnConfiguration, OnNode, Test, Text, number, text, within};
use futures_util::StreamExt;
use gorums_core::{
    BoundSystem, CallType, Code, ConfigError, Configuration, Method, Methods, Server, ServerContext, Service,
    Status, System, SystemError,
};
use tokio::net::TcpListener;

/// Asks all peers, clients, or members for an echo, and answers with how many have answered.
const ASK: Method<Text, Text> = Method::prost("test.Asks.Ask", CallType::QuorumCall);
/// Has all peers or clients note a number.
const TELL: Method<Text, Text> = Method::prost("test.Asks.Tell", CallType::QuorumCall);

/// A service that makes calls on the nodes around it.
struct Asks {
    members: Option<Configuration>,
    _alive: Arc<()>,
}

impl Asks {
    fn whom(&self, ctx: &ServerContext, text: &str) -> Result<Configuration, Status> {
        match text {
            "peers" => Ok(ctx.peers()),
            "clients" => Ok(ctx.clients()),
            "members" => self.members.clone().ok_or_else(|| Status::internal("no members")),
            other => Err(Status::invalid_argument(other)),
        }
    }
}

impl Service for Asks {
    const NAME: &'static str = "test.Asks";

    fn register(self, methods: &mut Methods) {
        let asks = Arc::new(self);
        methods.two_way(&ASK, &asks, |asks, ctx, request| async move {
            let whom = asks.whom(&ctx, &request.text)?;
            let replies = whom.quorum_call(&ECHO, text("")).send();
            let answered = replies.filter(|reply| std::future::ready(reply.result.is_ok())).count().await;
            Ok(number(answered as u64))
        });
        methods.two_way(&TELL, &asks, |asks, ctx, request| async move {
            let whom = asks.whom(&ctx, &request.text)?;
            whom.multicast(&NOTE, number(request.number)).await?;
            Ok(number(whom.len() as u64))
        });
    }
}

struct Member {
    system: System,
    test: Test,
    alive: std::sync::Weak<()>,
}

fn serve(bound: BoundSystem) -> Member {
    let test = Test::new(bound.id().get().into());
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    let asks = Asks { members: Some(bound.configuration().clone()), _alive: alive };
    let system = bound.add_service(test.clone()).add_service(asks).serve();
    Member { system, test, alive: weak }
}

/// Members that are all connected with each other.
async fn cluster(size: u32) -> Vec<Member> {
    let members: Vec<_> = System::local_cluster(size).await.unwrap().into_iter().map(serve).collect();
    for member in &members {
        let all = |peers: &Configuration| peers.len() == size as usize;
        within("peers", member.system.wait_for_peers(all)).await.unwrap();
    }
    members
}

async fn stop(members: Vec<Member>) {
    for member in members {
        within("stop", member.system.stop()).await.unwrap();
    }
}

fn client_of(members: &[Member]) -> Configuration {
    Configuration::builder()
        .nodes(members.iter().map(|member| member.system.address()))
        .connect_lazy()
        .unwrap()
}

async fn can_be_bound(address: SocketAddr) -> bool {
    TcpListener::bind(address).await.is_ok()
}

/// `TestSystemSymmetricConfigurationConnectsAllPeers`
#[tokio::test]
async fn all_members_find_each_other() {
    let members = cluster(3).await;
    for (member, id) in members.iter().zip(1_u32..) {
        let system = &member.system;
        assert_eq!(system.id(), id);
        assert_eq!(system.address(), system.local_addr().unwrap().to_string());
        assert_eq!(system.configuration().node_ids().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(system.peers().node_ids().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(system.clients().is_empty());
    }
    stop(members).await;
}

/// `TestSystemSymmetricConfigurationRoutesQuorumCalls`, `.._RoutesMulticast`
#[tokio::test]
async fn calls_reach_all_members_over_either_configuration() {
    let members = cluster(3).await;
    for (round, member) in members.iter().enumerate() {
        let outbound = member.system.configuration().clone();
        for (inbound, configuration) in [(0, outbound), (1, member.system.peers())] {
            let replies: Vec<_> = configuration.quorum_call(&ECHO, text("x")).send().collect().await;
            let mut answered: Vec<_> =
                replies.into_iter().map(|reply| reply.result.unwrap().number).collect();
            answered.sort_unstable();
            assert_eq!(answered, [1, 2, 3]);
            let note = 100 + 10 * round as u64 + inbound;
            configuration.multicast(&NOTE, number(note)).await.unwrap();
            configuration.quorum_call(&ECHO, text("after the note")).all().await.unwrap();
            for member in &members {
                assert!(member.test.seen.numbers.lock().unwrap().contains(&note));
            }
        }
    }
    stop(members).await;
}

/// `TestSystemHandlerCanMulticastViaConfig`, `.._CanChainQuorumCallViaConfig`, `.._ViaClientConfig`
#[tokio::test]
async fn handlers_call_peers_members_and_clients() {
    let members = cluster(3).await;
    let client = client_of(&members);
    let tests: Vec<_> = (11..=12).map(Test::new).collect();
    let callees: Vec<_> = tests
        .iter()
        .map(|test| {
            let services = Server::builder().add_service(test.clone());
            let addresses = members.iter().map(|member| member.system.address());
            Configuration::builder().nodes(addresses).serve_callbacks(services).connect_lazy().unwrap()
        })
        .collect();
    for callee in &callees {
        callee.wait_connected().await.unwrap();
    }
    for member in &members {
        within("clients", member.system.wait_for_clients(|clients| clients.len() == 2)).await.unwrap();
    }
    for (whom, count) in [("peers", 3), ("members", 3), ("clients", 2)] {
        let replies: Vec<_> = client.quorum_call(&ASK, text(whom)).send().collect().await;
        for reply in replies {
            assert_eq!(reply.result.unwrap().number, count, "{whom}");
        }
        let told = Text { text: whom.into(), number: 1000 + count };
        client.quorum_call(&TELL, told).all().await.unwrap();
    }
    // Each of three members has told two clients; a call behind it sees what was noted.
    for member in &members {
        member.system.clients().quorum_call(&ECHO, text("x")).all().await.unwrap();
    }
    for test in &tests {
        let told = test.seen.numbers.lock().unwrap().iter().filter(|&&number| number == 1002).count();
        assert_eq!(told, 3);
    }
    stop(members).await;
}

/// Three members, each handler of an outer call asks all peers, itself included.
/// `TestSystemLocalDispatchContention`; `GORUMS_SOAK=1` makes it a minute.
#[tokio::test(flavor = "multi_thread")]
async fn nested_calls_to_all_never_deadlock() {
    let members = cluster(3).await;
    let client = client_of(&members);
    let limit = Duration::from_secs(if std::env::var_os("GORUMS_SOAK").is_some() { 60 } else { 3 });
    let ends = std::time::Instant::now() + limit;
    let callers = (0..64).map(|caller| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut calls = 0_u64;
            while std::time::Instant::now() < ends {
                let whom = if (caller + calls).is_multiple_of(2) { "peers" } else { "members" };
                let replies: Vec<_> = client.quorum_call(&ASK, text(whom)).send().collect().await;
                assert_eq!(replies.len(), 3);
                for reply in replies {
                    assert_eq!(reply.result.unwrap().number, 3, "incomplete");
                }
                calls += 1;
            }
            calls
        })
    });
    let mut calls = 0;
    for caller in callers.collect::<Vec<_>>() {
        calls += caller.await.unwrap();
    }
    println!("{calls} outer calls, {} inner ones", 3 * calls);
    assert!(calls > 64);
    assert_eq!(client.pending(), 0);
    for member in &members {
        assert_eq!(member.system.configuration().pending(), 0);
        assert_eq!(member.system.peers().pending(), 0);
    }
    stop(members).await;
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

/// A method that the services do not have is unknown on every way.
#[tokio::test]
async fn unknown_methods_are_refused_on_every_way() {
    let members = cluster(2).await;
    for configuration in [members[0].system.configuration().clone(), members[0].system.peers()] {
        let replies: Vec<_> = configuration.quorum_call(&common::UNKNOWN, text("x")).send().collect().await;
        assert_eq!(replies.len(), 2);
        for reply in replies {
            assert_eq!(reply.result.unwrap_err().status().unwrap().code(), Code::Unimplemented);
        }
    }
    stop(members).await;
}

/// A slow local handler does not hold back the quorum of the others, and calls to the own node keep their order.
#[tokio::test]
async fn a_slow_local_handler_delays_only_itself() {
    let members = cluster(3).await;
    let system = &members[0].system;
    for configuration in [system.configuration().clone(), system.peers()] {
        let started = tokio::time::Instant::now();
        let slow = configuration.node(1).unwrap().rpc(&ECHO, text("sleep:1000")).send();
        for call in 0..50 {
            configuration.quorum_call(&ECHO, number(call)).majority().await.unwrap();
        }
        assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
        assert!(members[0].test.seen.numbers.lock().unwrap().iter().all(|&number| number == 0));
        slow.await.unwrap();
        configuration.node(1).unwrap().rpc(&ECHO, text("x")).await.unwrap();
        let mut numbers = members[0].test.seen.numbers.lock().unwrap();
        assert!(numbers.windows(2).all(|pair| pair[0] <= pair[1] || pair[1] == 0), "{numbers:?}");
        assert_eq!(numbers.iter().filter(|&&number| number > 0).count(), 49);
        numbers.clear();
    }
    stop(members).await;
}
