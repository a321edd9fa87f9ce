//! A replicated register in one file: three nodes, a majority write, and a majority read that survives the
//! loss of a node.
//!
//!     cargo run --example quickstart

use std::sync::Mutex;

use gorums::{Configuration, ReplySet, Server, ServerContext, Status};

/// What the register holds, and when it was written.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// The text.
    #[prost(string, tag = "1")]
    pub text: String,
    /// The version: a write with a higher one wins.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

/// A register.
#[gorums::service(package = "quickstart")]
pub trait Register {
    /// Gives the value of this node.
    #[quorumcall(idempotent)]
    async fn read(&self, ctx: &ServerContext, request: ()) -> Result<Value, Status>;

    /// Takes a value if it is newer, and gives back what the node has then.
    #[quorumcall(idempotent)]
    async fn write(&self, ctx: &ServerContext, request: Value) -> Result<Value, Status>;
}

/// A node's copy of the register.
#[derive(Default)]
struct Memory {
    value: Mutex<Value>,
}

impl Register for Memory {
    async fn read(&self, _: &ServerContext, (): ()) -> Result<Value, Status> {
        Ok(lock(&self.value).clone())
    }

    async fn write(&self, _: &ServerContext, new: Value) -> Result<Value, Status> {
        let mut value = lock(&self.value);
        if new.version > value.version {
            *value = new;
        }
        Ok(value.clone())
    }
}

fn lock(value: &Mutex<Value>) -> std::sync::MutexGuard<'_, Value> {
    value.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The newest value that a majority of the nodes knows.
fn newest(replies: &mut ReplySet<Value>) -> Option<Value> {
    let enough = replies.success_count() > replies.size() / 2;
    let newest = replies.successes().map(|(_, value)| value).max_by_key(|value| value.version);
    newest.filter(|_| enough).cloned()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut addresses = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..3 {
        let node = Server::builder().add_service(RegisterServer::new(Memory::default()));
        let node = node.bind("127.0.0.1:0").await?;
        addresses.push(node.local_addr().to_string());
        handles.push(node.handle());
        tokio::spawn(node.serve());
    }

    let configuration = Configuration::builder().nodes(addresses).connect().await?;
    configuration.write(Value { text: "hello".into(), version: 1 }).majority().await?;
    show(&configuration.read(()).quorum(newest).await?);

    handles[0].shutdown().await;
    configuration.write(Value { text: "still here".into(), version: 2 }).majority().await?;
    show(&configuration.read(()).quorum(newest).await?);

    match configuration.read(()).all().await {
        Ok(value) => show(&value),
        Err(error) => report(&format!("all three cannot answer any more: {error}")),
    }
    configuration.close().await;
    Ok(())
}

fn show(value: &Value) {
    report(&format!("{:?} (version {})", value.text, value.version));
}

#[allow(clippy::print_stdout, reason = "an example talks to its user")]
fn report(line: &str) {
    println!("{line}");
}
