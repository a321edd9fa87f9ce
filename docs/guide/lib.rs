//! The code of the guide: every Rust block of its pages is a doctest of this crate, and what they have in common is here.
//!
//! The pages are in `src`; `mdbook build docs/guide` makes a book of them. A line that begins with `# ` in a block is
//! hidden by mdBook as it is by rustdoc.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gorums::{Configuration, Server, ServerContext, ServerHandle, Status, Updates};
use tokio::sync::watch;

/// The pages, one module for each, so that a failure says where it is.
#[cfg(doctest)]
mod pages {
    macro_rules! pages {
        ($($module:ident: $file:literal)*) => {
            $(#[doc = include_str!(concat!("src/", $file))] mod $module {})*
        };
    }

    pages! {
        introduction: "introduction.md"
        quick_start: "quick-start.md"
        proto: "proto.md"
        serde: "serde.md"
        concepts: "concepts.md"
        calls: "calls.md"
        quorums: "quorums.md"
        call_options: "call-options.md"
        ordering: "ordering.md"
        failures: "failures.md"
        symmetric: "symmetric.md"
        security: "security.md"
        operations: "operations.md"
        observability: "observability.md"
        health: "health.md"
        mocks: "mocks.md"
        testing: "testing.md"
        tuning: "tuning.md"
        protocols: "protocols.md"
        python: "python.md"
        from_go: "from-go.md"
        from_tonic: "from-tonic.md"
        design: "design.md"
    }
}

/// What is generated from the `.proto` file of the guide.
#[allow(missing_docs, reason = "of messages without comments")]
pub mod storage {
    gorums::include_proto!("storage");
}

/// What a register holds, and when it was written.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Value {
    /// The text.
    #[prost(string, tag = "1")]
    pub text: String,
    /// A write with a higher version wins.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

/// A value with a text and a version.
pub fn value(text: &str, version: u64) -> Value {
    Value { text: text.into(), version }
}

/// The service of most pages: a register, with every call type.
#[gorums::service(package = "guide")]
pub trait Register {
    /// The version of one node.
    #[rpc(idempotent)]
    async fn version(&self, ctx: &ServerContext, request: ()) -> Result<u64, Status>;

    /// Offers a value to one node, which does not answer.
    #[unicast]
    async fn hint(&self, ctx: &ServerContext, value: Value);

    /// Offers a value to all nodes, none of which answers.
    #[multicast]
    async fn spread(&self, ctx: &ServerContext, value: Value);

    /// Gives what each node holds.
    #[quorumcall(idempotent)]
    async fn read(&self, ctx: &ServerContext, request: ()) -> Result<Value, Status>;

    /// Has each node take a value, if it is newer than its own.
    #[quorumcall(idempotent)]
    async fn write(&self, ctx: &ServerContext, value: Value) -> Result<(), Status>;

    /// Gives what each node holds, and then each change.
    #[quorumcall(stream)]
    async fn follow(&self, ctx: &ServerContext, request: (), updates: Updates<Value>) -> Result<(), Status>;
}

/// A node's copy of the register.
#[derive(Debug)]
pub struct Memory(watch::Sender<Value>);

impl Default for Memory {
    fn default() -> Self {
        Self(watch::Sender::new(Value::default()))
    }
}

impl Memory {
    fn take(&self, new: Value) {
        self.0.send_if_modified(|held| {
            let newer = new.version > held.version;
            if newer {
                *held = new;
            }
            newer
        });
    }
}

impl Register for Memory {
    async fn version(&self, _: &ServerContext, (): ()) -> Result<u64, Status> {
        Ok(self.0.borrow().version)
    }

    async fn hint(&self, _: &ServerContext, value: Value) {
        self.take(value);
    }

    async fn spread(&self, _: &ServerContext, value: Value) {
        self.take(value);
    }

    async fn read(&self, _: &ServerContext, (): ()) -> Result<Value, Status> {
        Ok(self.0.borrow().clone())
    }

    async fn write(&self, _: &ServerContext, value: Value) -> Result<(), Status> {
        self.take(value);
        Ok(())
    }

    async fn follow(&self, ctx: &ServerContext, (): (), mut updates: Updates<Value>) -> Result<(), Status> {
        ctx.release();
        let mut changes = self.0.subscribe();
        loop {
            let value = changes.borrow_and_update().clone();
            updates.send(value).await?;
            tokio::select! {
                end = changes.changed() => if end.is_err() { return Ok(()) },
                () = ctx.cancelled() => return Ok(()),
            }
        }
    }
}

/// Nodes with a register each, on free ports of the loopback address.
#[derive(Debug)]
pub struct Nodes {
    addresses: Vec<String>,
    handles: Mutex<Vec<ServerHandle>>,
}

impl Nodes {
    /// Starts so many nodes.
    pub async fn start(size: usize) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let (mut addresses, mut handles) = (Vec::new(), Vec::new());
        for _ in 0..size {
            let node = Server::builder().add_service(RegisterServer::new(Memory::default()));
            let node = node.bind("127.0.0.1:0").await?;
            addresses.push(node.local_addr().to_string());
            handles.push(node.handle());
            tokio::spawn(node.serve());
        }
        Ok(Self { addresses, handles: Mutex::new(handles) })
    }

    /// Their addresses.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    /// A configuration of all of them.
    pub fn configuration(&self) -> Result<Configuration, gorums::ConfigError> {
        Configuration::builder().nodes(self.addresses()).connect_lazy()
    }

    /// Stops the first of those that run.
    pub async fn stop_one(&self) {
        let handle = self.handles().pop();
        if let Some(handle) = handle {
            handle.abort().await;
        }
    }

    fn handles(&self) -> MutexGuard<'_, Vec<ServerHandle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the code of a page.
pub fn run<F>(code: F)
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Err(error) = runtime.block_on(code) {
        panic!("{error}");
    }
}
