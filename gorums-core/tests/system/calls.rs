//! Calls between the members of a system, from within handlers and from without.

use std::time::Duration;

use futures_util::StreamExt;
use gorums_core::{Code, Configuration, Server};

use crate::common::{ECHO, NOTE, OnConfiguration, OnNode, Test, Text, UNKNOWN, number, text, within};
use crate::{ASK, TELL, client_of, cluster, stop};

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

/// A method that the services do not have is unknown on every way.
#[tokio::test]
async fn unknown_methods_are_refused_on_every_way() {
    let members = cluster(2).await;
    for configuration in [members[0].system.configuration().clone(), members[0].system.peers()] {
        let replies: Vec<_> = configuration.quorum_call(&UNKNOWN, text("x")).send().collect().await;
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
