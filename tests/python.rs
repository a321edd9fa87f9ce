//! A Python client on grpcio, a gRPC stack that shares nothing with this one, calls nodes and is called back.
//!
//! Needs `pip install -r tests/python/requirements.txt`. Without it the test says so and passes, unless
//! `PYTHON_REQUIRED` is set. `PYTHON` is the interpreter, `python3` if it is not set.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use gorums::{Health, Server, ServerContext, ServerHandle, Status};
use tokio::process::Command;

/// What to read.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Key {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
}

/// What is kept.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The newest value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// What Python calls.
#[gorums::service(package = "example")]
pub trait Register {
    /// Reads from one node.
    async fn read(&self, ctx: &ServerContext, key: Key) -> Result<Entry, Status>;
    /// Writes to one node.
    async fn write(&self, ctx: &ServerContext, entry: Entry) -> Result<Key, Status>;
    /// Writes to one node, which does not answer.
    #[unicast]
    async fn put(&self, ctx: &ServerContext, entry: Entry);
    /// Reads from a quorum.
    #[quorumcall]
    async fn read_qc(&self, ctx: &ServerContext, key: Key) -> Result<Entry, Status>;
    /// Writes to a quorum.
    #[quorumcall]
    async fn write_qc(&self, ctx: &ServerContext, entry: Entry) -> Result<Key, Status>;
    /// What the metadata says of who calls.
    async fn who(&self, ctx: &ServerContext, key: Key) -> Result<Entry, Status>;
    /// What the caller answers when it is asked.
    async fn ask_back(&self, ctx: &ServerContext, entry: Entry) -> Result<Entry, Status>;
}

/// What Python serves.
#[gorums::service(package = "example")]
pub trait Listener {
    /// Confirms an entry.
    async fn confirm(&self, ctx: &ServerContext, entry: Entry) -> Result<Entry, Status>;
}

#[derive(Default)]
struct Node(Mutex<HashMap<String, String>>);

impl Register for Node {
    async fn read(&self, _: &ServerContext, Key { key }: Key) -> Result<Entry, Status> {
        let value = self.0.lock().unwrap().get(&key).cloned();
        let value = value.ok_or_else(|| Status::not_found(format!("nothing at `{key}`")))?;
        Ok(Entry { key, value })
    }

    async fn write(&self, _: &ServerContext, Entry { key, value }: Entry) -> Result<Key, Status> {
        self.0.lock().unwrap().insert(key.clone(), value);
        Ok(Key { key })
    }

    async fn put(&self, _: &ServerContext, Entry { key, value }: Entry) {
        self.0.lock().unwrap().insert(key, value);
    }

    async fn read_qc(&self, ctx: &ServerContext, key: Key) -> Result<Entry, Status> {
        self.read(ctx, key).await
    }

    async fn write_qc(&self, ctx: &ServerContext, entry: Entry) -> Result<Key, Status> {
        self.write(ctx, entry).await
    }

    async fn who(&self, ctx: &ServerContext, Key { key }: Key) -> Result<Entry, Status> {
        let value = ctx.metadata().get("who").and_then(|who| who.to_str().ok()).unwrap_or_default().into();
        Ok(Entry { key, value })
    }

    async fn ask_back(&self, ctx: &ServerContext, entry: Entry) -> Result<Entry, Status> {
        let caller = ctx.caller().ok_or_else(|| Status::failed_precondition("offers no services"))?;
        Ok(caller.confirm(entry).await?)
    }
}

fn python() -> OsString {
    env::var_os("PYTHON").unwrap_or_else(|| "python3".into())
}

/// Where the scripts are, next to what `grpc_tools` makes of the `.proto`. `None` without `grpc_tools`.
async fn scripts() -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let scripts = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    std::fs::create_dir_all(&scripts).unwrap();
    for name in ["node.py", "client.py"] {
        std::fs::copy(sources.join(name), scripts.join(name)).unwrap();
    }
    let compiled = Command::new(python())
        .args(["-m", "grpc_tools.protoc", "register.proto", "-I."])
        .arg(format!("--python_out={}", scripts.display()))
        .current_dir(sources)
        .stderr(Stdio::piped())
        .output()
        .await;
    let why = match compiled {
        Ok(compiled) if compiled.status.success() => return Some(scripts),
        Ok(compiled) => String::from_utf8_lossy(&compiled.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(env::var_os("PYTHON_REQUIRED").is_none(), "no grpc_tools: {why}");
    eprintln!("skipped, without `pip install -r tests/python/requirements.txt`: {why}");
    None
}

async fn serve() -> (String, ServerHandle) {
    let server = Server::builder().add_service(RegisterServer::new(Node::default()));
    let health = Health::new();
    health.set_not_serving("example.Shard");
    let server = server.health(&health).reflection(&[]).unwrap();
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let (address, handle) = (server.local_addr().to_string(), server.handle());
    tokio::spawn(server.serve());
    (address, handle)
}

#[tokio::test]
async fn a_python_client_makes_every_kind_of_call() {
    let Some(scripts) = scripts().await else { return };
    let nodes = [serve().await, serve().await, serve().await];
    let called = Command::new(python())
        .arg(scripts.join("client.py"))
        .args(nodes.iter().map(|(address, _)| address))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(called.status.success(), "{}", String::from_utf8_lossy(&called.stderr));
    for (_, handle) in &nodes {
        handle.shutdown().await;
        assert_eq!(handle.stats().calls, 0);
    }
}
