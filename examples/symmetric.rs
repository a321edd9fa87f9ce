//! Three nodes that are servers and clients of each other, and a client that they call back.
//!
//!     cargo run --example symmetric

use std::sync::Mutex;
use std::time::Duration;

use gorums::{Configuration, Server, ServerContext, Status, System};

/// What is said, and by whom.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Line {
    /// The words.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// A chat that every node keeps a copy of.
#[gorums::service(package = "example")]
pub trait Chat {
    /// Says something: it is said once a majority of the nodes keeps it.
    #[quorumcall]
    async fn say(&self, ctx: &ServerContext, line: Line) -> Result<(), Status>;

    /// Keeps a line.
    #[quorumcall]
    async fn keep(&self, ctx: &ServerContext, line: Line) -> Result<(), Status>;
}

/// What a client offers to the nodes.
#[gorums::service(package = "example")]
pub trait Listener {
    /// A line was said.
    #[multicast]
    async fn heard(&self, ctx: &ServerContext, line: Line);
}

/// One node of the chat.
struct Room {
    /// All nodes of the chat, connected or not, this one among them.
    members: Configuration,
    lines: Mutex<Vec<String>>,
}

impl Chat for Room {
    async fn say(&self, ctx: &ServerContext, line: Line) -> Result<(), Status> {
        // What comes now waits for others, and need not be in order.
        ctx.release();
        // A majority of all members, and not only of those that are connected now. The deadline is the caller's.
        self.members.keep(line.clone()).majority().await?;
        // Every client that listens, over the connection that it has made.
        let clients = ctx.clients();
        if !clients.is_empty() {
            clients.heard(line).await?;
        }
        Ok(())
    }

    async fn keep(&self, _: &ServerContext, line: Line) -> Result<(), Status> {
        self.lines.lock().map_err(|_| Status::internal("a writer panicked"))?.push(line.text);
        Ok(())
    }
}

/// A client that prints what it hears.
struct Printer {
    heard: tokio::sync::mpsc::Sender<String>,
}

impl Listener for Printer {
    async fn heard(&self, ctx: &ServerContext, line: Line) {
        let from = ctx.peer_id().map_or_else(|| "?".to_owned(), |id| id.to_string());
        let _ = self.heard.send(format!("node {from}: {}", line.text)).await;
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example talks to its user")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut systems = Vec::new();
    for bound in System::local_cluster(3).await? {
        let room = Room { members: bound.configuration().clone(), lines: Mutex::default() };
        systems.push(bound.add_service(ChatServer::new(room)).serve());
    }
    for system in &systems {
        system.wait_for_peers(|peers| peers.len() == 3).await;
    }

    let (heard, mut lines) = tokio::sync::mpsc::channel(16);
    let client = Configuration::builder()
        .nodes(systems.iter().map(System::address))
        .serve_callbacks(Server::builder().add_service(ListenerServer::new(Printer { heard })))
        .connect()
        .await?;
    for system in &systems {
        system.wait_for_clients(|clients| clients.len() == 1).await;
    }

    client.say(Line { text: "hello".into() }).timeout(Duration::from_secs(2)).all().await?;
    for _ in 0..3 {
        if let Some(line) = lines.recv().await {
            println!("{line}");
        }
    }

    client.close().await;
    for system in systems {
        system.stop().await?;
    }
    Ok(())
}
