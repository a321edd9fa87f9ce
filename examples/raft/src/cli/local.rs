//! Nodes on this machine, each a process, and a prompt.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::cli::args::LocalOptions;
use crate::cli::config::Connection;
use crate::cli::failure::Failure;
use crate::cli::prompt;
use raft::program::output::{notice, result};

/// How long a node may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nodes that this process has started.
pub(crate) struct Local {
    nodes: Vec<(u32, String)>,
    https: Vec<String>,
    data: Data,
    running: Vec<Option<Running>>,
    verbose: u8,
}

struct Running {
    child: Child,
    /// The process ends when this does.
    lifeline: Option<ChildStdin>,
}

/// Where the data is.
enum Data {
    Kept(PathBuf),
    /// Gone when this is dropped.
    Temporary(PathBuf),
}

impl Data {
    fn path(&self) -> &Path {
        let (Self::Kept(path) | Self::Temporary(path)) = self;
        path
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self
            && let Err(error) = std::fs::remove_dir_all(&*path)
        {
            notice(&format!("{} is still there: {error}", path.display()));
        }
    }
}

/// Starts the nodes, and runs commands or the prompt.
pub(crate) fn run(runtime: &Runtime, options: &LocalOptions, verbose: u8) -> Result<ExitCode, Failure> {
    let mut local = Local::new(options, verbose)?;
    runtime.block_on(async {
        for id in 1..=options.size {
            local.start(id).await?;
        }
        Ok::<_, Failure>(())
    })?;
    let client = runtime.block_on(async { local.connection().client() })?;
    let code = if options.execute.is_empty() {
        local.announce();
        prompt::run(runtime, &client, &mut local)?;
        ExitCode::SUCCESS
    } else {
        let mut code = ExitCode::SUCCESS;
        for line in &options.execute {
            if prompt::line(runtime, &client, &mut local, line) == prompt::Next::Failed {
                code = ExitCode::FAILURE;
            }
        }
        code
    };
    runtime.block_on(async {
        client.close().await;
        local.finish().await;
    });
    Ok(code)
}

impl Local {
    fn new(options: &LocalOptions, verbose: u8) -> Result<Self, Failure> {
        let addresses = free_addresses(options.size as usize * 2).map_err(Failure::Runtime)?;
        let (nodes, https) = addresses.split_at(options.size as usize);
        let data = match &options.data {
            Some(path) => Data::Kept(path.clone()),
            None => Data::Temporary(std::env::temp_dir().join(format!("raft-{}", std::process::id()))),
        };
        Ok(Self {
            nodes: (1..).zip(nodes.iter().cloned()).collect(),
            https: https.to_vec(),
            data,
            running: nodes.iter().map(|_| None).collect(),
            verbose,
        })
    }

    fn connection(&self) -> Connection {
        Connection { nodes: self.nodes.clone(), ..Connection::default() }
    }

    /// Starts a node, if it is not running.
    pub(crate) async fn start(&mut self, id: u32) -> Result<(), Failure> {
        let failed = |reason: String| Failure::Spawn { id, reason };
        let index = self.index(id)?;
        if self.running[index].is_some() {
            return Err(failed("it is running".into()));
        }
        let nodes: Vec<_> = self.nodes.iter().map(|(id, address)| format!("{id}={address}")).collect();
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--until-stdin-closes", "--id", &id.to_string(), "--nodes", &nodes.join(",")])
            .args(["--http", &self.https[index], "--data"])
            .arg(self.data.path().join(id.to_string()))
            .args((0..self.verbose).map(|_| "--verbose"))
            // What is meant for a node by itself is not meant for these.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if self.verbose > 0 { Stdio::inherit() } else { Stdio::null() })
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
            Ok(true) => self.running[index] = Some(Running { child, lifeline }),
            Ok(false) => {
                let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
                return Err(failed(status.to_string()));
            }
            Err(_) => return Err(failed(format!("it was not ready after {PATIENCE:?}"))),
        }
        Ok(())
    }

    /// Kills a node, as `kill -9` does.
    pub(crate) async fn kill(&mut self, id: u32) -> Result<(), Failure> {
        let index = self.index(id)?;
        let running = self.running[index].take();
        let mut running = running.ok_or_else(|| Failure::Usage(format!("node {id} is not running")))?;
        running.child.kill().await.map_err(Failure::Runtime)
    }

    fn index(&self, id: u32) -> Result<usize, Failure> {
        let index = self.nodes.iter().position(|(node, _)| *node == id);
        index.ok_or_else(|| Failure::Usage(format!("there is no node {id}")))
    }

    fn announce(&self) {
        for ((id, address), http) in self.nodes.iter().zip(&self.https) {
            result(&format!("node {id}  {address}  http://{http}/metrics"));
        }
        let nodes: Vec<_> = self.nodes.iter().map(|(id, address)| format!("{id}={address}")).collect();
        result(&format!("from another terminal: --nodes {}", nodes.join(",")));
        result("`help` lists the commands; try `put k v`, `status`, `kill 1`");
    }

    async fn finish(self) {
        let mut children = Vec::new();
        for Running { child, lifeline } in self.running.into_iter().flatten() {
            drop(lifeline);
            children.push(child);
        }
        for mut child in children {
            // What has not ended by then is killed, with its handle.
            let _ = timeout(PATIENCE, child.wait()).await;
        }
    }
}

fn free_addresses(count: usize) -> std::io::Result<Vec<String>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}
