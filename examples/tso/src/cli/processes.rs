//! Nodes on this machine, each a process.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::cli::failure::Failure;

/// How long a node may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nodes that this process has started. They end with it, and their data is gone then.
pub(crate) struct Processes {
    pub(crate) nodes: Vec<(u32, String)>,
    data: PathBuf,
    options: Vec<String>,
    running: Vec<Option<Running>>,
}

struct Running {
    child: Child,
    /// The process ends when this does.
    _lifeline: Option<ChildStdin>,
}

impl Processes {
    /// Starts so many nodes, with these options of `serve`.
    pub(crate) async fn start(size: u32, options: &[&str]) -> Result<Self, Failure> {
        let listeners = (0..size).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>();
        let addresses = listeners
            .and_then(|listeners| {
                listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()
            })
            .map_err(Failure::Runtime)?;
        let nodes: Vec<_> = (1..).zip(addresses.iter().map(ToString::to_string)).collect();
        let data = std::env::temp_dir().join(format!("tso-{}", std::process::id()));
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let running = nodes.iter().map(|_| None).collect();
        let mut this = Self { nodes, data, options, running };
        for id in 1..=size {
            this.spawn(id).await?;
        }
        Ok(this)
    }

    fn slot(&mut self, id: u32) -> Option<&mut Option<Running>> {
        self.running.get_mut((id as usize).checked_sub(1)?)
    }

    /// Starts a node on what it has left behind.
    pub(crate) async fn spawn(&mut self, id: u32) -> Result<(), Failure> {
        let failed = |reason: String| Failure::Spawn { id, reason };
        let nodes: Vec<_> = self.nodes.iter().map(|(id, address)| format!("{id}={address}")).collect();
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--until-stdin-closes", "--id", &id.to_string(), "--nodes", &nodes.join(",")])
            .arg("--data")
            .arg(self.data.join(id.to_string()))
            .args(&self.options)
            // What is meant for a node by itself is not meant for these.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let lifeline = child.stdin.take();
        let mut said = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let ready = async {
            match &mut said {
                Some(lines) => matches!(lines.next_line().await, Ok(Some(_))),
                None => false,
            }
        };
        match timeout(PATIENCE, ready).await {
            Ok(true) => {}
            Ok(false) => return Err(failed("it ended".into())),
            Err(_) => return Err(failed(format!("it was not ready after {PATIENCE:?}"))),
        }
        if let Some(slot) = self.slot(id) {
            *slot = Some(Running { child, _lifeline: lifeline });
        }
        Ok(())
    }

    /// Kills a node, as `kill -9` does.
    pub(crate) async fn kill(&mut self, id: u32) -> Result<(), Failure> {
        match self.slot(id).and_then(Option::take) {
            Some(mut running) => running.child.kill().await.map_err(Failure::Runtime),
            None => Ok(()),
        }
    }

    /// Stops a node, or lets it go on, without its knowing.
    pub(crate) async fn pause(&mut self, id: u32, paused: bool) -> Result<(), Failure> {
        let Some(pid) = self.slot(id).and_then(|slot| slot.as_ref()?.child.id()) else { return Ok(()) };
        let signal = if paused { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill").args([signal, &pid.to_string()]).status().await;
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Stress(format!("kill {signal}: {status}"))),
            Err(error) => Err(Failure::Runtime(error)),
        }
    }

    /// Kills all nodes.
    pub(crate) async fn finish(mut self) {
        for slot in &mut self.running {
            if let Some(mut running) = slot.take() {
                // It may have ended.
                let _ = running.child.kill().await;
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // The nodes may still be about to end; what is left is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
