//! Carries commands out.

use std::time::{Duration, SystemTime};

use gorums::{ConfigError, Configuration, Node, NodeError, NodeId, QuorumError};
use tokio::time::timeout;

use crate::client::commands::{Command, Nodes, QuorumOperation, RpcOperation, Write};
use crate::client::{help, render};
use crate::logging::Logs;
use crate::output;
use crate::proto::{ReadRequest, ReadResponse, StorageClient, StorageNodeClient, WriteRequest};
use crate::quorum::{Newest, Taken, WriteOutcome, majority, newer};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum CallFailure {
    Quorum(QuorumError),
    Node(NodeError),
    /// There are newer values: for a quorum call, on these nodes.
    Outdated {
        key: String,
        newer: Option<Vec<NodeId>>,
    },
    /// The servers whose log was asked for are not in this process.
    ServersElsewhere,
    /// Ctrl-C.
    Interrupted,
}

impl From<NodeError> for CallFailure {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Exit,
}

/// What commands work on.
#[derive(Debug)]
pub(crate) struct Runner {
    configuration: Configuration,
    timeout: Duration,
    /// Of the servers, if they are in this process.
    logs: Option<Logs>,
    dialled: bool,
    /// What kept nodes from being connected at first.
    unreachable: Vec<NodeError>,
}

impl Runner {
    pub(crate) fn new(configuration: Configuration, timeout: Duration, logs: Option<Logs>) -> Self {
        Self { configuration, timeout, logs, dialled: false, unreachable: Vec::new() }
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Connects to every node, as far as that works in time. Calls would do it when it is needed.
    pub(crate) async fn dial(&mut self) {
        if !self.dialled {
            self.dialled = true;
            if let Ok(Err(ConfigError::Connect(errors))) =
                timeout(self.timeout, self.configuration.wait_connected()).await
            {
                self.unreachable = errors;
            }
        }
    }

    /// The nodes, and how they are.
    pub(crate) fn table(&self) -> String {
        render::nodes(&self.configuration, &self.unreachable)
    }

    /// Carries a command out and prints what it gives.
    pub(crate) async fn run(&mut self, command: Command) -> Result<Next, CallFailure> {
        match command {
            Command::Rpc { node, operation } => {
                self.rpc(&self.configuration.nodes()[node], operation).await?;
            }
            Command::QuorumCall { nodes, operation } => {
                let nodes = self.choose(&nodes);
                quorum_call(&nodes, operation).await?;
            }
            Command::Unicast { node, write } => {
                let node_handle = &self.configuration.nodes()[node];
                node_handle.write_unicast(write.into_request()).await?;
                output::result(&format!("Unicast OK: sent to node {node}"));
            }
            Command::Multicast(write) => {
                self.configuration.write_multicast(write.into_request()).await?;
                output::result(&format!("Multicast OK: sent to {} nodes", self.configuration.len()));
            }
            Command::Nodes => {
                self.dial().await;
                output::result(&self.table());
            }
            Command::Log { on } => self.logs.as_ref().ok_or(CallFailure::ServersElsewhere)?.set(on),
            Command::Help(topic) => output::result(&help::help(topic)),
            Command::Exit => return Ok(Next::Exit),
        }
        Ok(Next::Continue)
    }

    async fn rpc(&self, node: &Node, operation: RpcOperation) -> Result<(), CallFailure> {
        match operation {
            RpcOperation::Read(key) => {
                let reply = node.read_rpc(ReadRequest { key: key.clone() }).await?;
                output::result(&render::reply(&key, &reply));
            }
            RpcOperation::Write(write) => {
                let key = write.key.clone();
                if !node.write_rpc(write.into_request()).await?.new {
                    return Err(CallFailure::Outdated { key, newer: None });
                }
                output::result("Write OK");
            }
        }
        Ok(())
    }

    /// The nodes with these indices; all of them exist.
    fn choose(&self, nodes: &Nodes) -> Configuration {
        let Nodes::Some(indices) = nodes else { return self.configuration.clone() };
        let ids = self.configuration.node_ids().enumerate();
        self.configuration.without(ids.filter(|(index, _)| !indices.contains(index)).map(|(_, id)| id))
    }
}

async fn quorum_call(nodes: &Configuration, operation: QuorumOperation) -> Result<(), CallFailure> {
    match operation {
        QuorumOperation::Read(key) => {
            let newest = nodes.read_qc(ReadRequest { key: key.clone() }).quorum(Newest).await?;
            output::result(&render::reply(&key, &newest));
        }
        QuorumOperation::NestedRead(key) => {
            let newest = nodes.read_nested_qc(ReadRequest { key: key.clone() }).quorum(Newest).await?;
            output::result(&render::reply(&key, &newest));
        }
        QuorumOperation::CorrectableRead(key) => correctable_read(nodes, key).await?,
        QuorumOperation::Write(write) => {
            let key = write.key.clone();
            let outcome = nodes.write_qc(write.into_request()).quorum(Taken).await?;
            written(key, outcome, "Write OK")?;
        }
        QuorumOperation::NestedWrite(write) => {
            let key = write.key.clone();
            let outcome = nodes.write_nested_multicast(write.into_request()).quorum(Taken).await?;
            written(key, outcome, "Nested write OK")?;
        }
    }
    Ok(())
}

fn written(key: String, outcome: WriteOutcome, success: &str) -> Result<(), CallFailure> {
    match outcome {
        WriteOutcome::Written => output::result(success),
        WriteOutcome::Outdated { newer, .. } => {
            return Err(CallFailure::Outdated { key, newer: Some(newer) });
        }
    }
    Ok(())
}

/// Prints the newest value so far at each level, up to a majority.
async fn correctable_read(nodes: &Configuration, key: String) -> Result<(), QuorumError> {
    let last = majority(nodes.len());
    let mut call = nodes.read_correctable(ReadRequest { key: key.clone() }).correctable(last);
    let mut newest = ReadResponse::default();
    for level in 1..=last {
        let reply = call.wait_for(level).await?;
        newest = newer(&newest, reply).clone();
        output::result(&format!("{} {}", render::reply(&key, &newest), render::level(level, last)));
    }
    Ok(())
}

impl From<QuorumError> for CallFailure {
    fn from(error: QuorumError) -> Self {
        Self::Quorum(error)
    }
}

impl Write {
    /// To be written as of now.
    fn into_request(self) -> WriteRequest {
        WriteRequest { key: self.key, value: self.value, time: Some(SystemTime::now().into()) }
    }
}
