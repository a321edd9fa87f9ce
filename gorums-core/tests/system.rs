//! Members of a symmetric system. Names in comments are those of the tests of Go Gorums that check the same.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "system/calls.rs"]
mod calls;
mod common;
#[path = "system/life.rs"]
mod life;

use std::sync::Arc;

use common::{ECHO, NOTE, OnConfiguration, Test, Text, number, text, within};
use futures_util::StreamExt;
use gorums_core::{
    BoundSystem, CallType, Configuration, Method, Methods, ServerContext, Service, Status, System,
};

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
