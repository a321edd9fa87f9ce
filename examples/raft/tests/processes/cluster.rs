//! Nodes as processes, on free ports of the loopback address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::SECOND;

/// How long something may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program, without the options that the environment of the tests has.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RAFT_")) {
        command.env_remove(name);
    }
    command
}

/// What a run of the program said.
#[derive(Debug)]
pub struct Run {
    pub out: String,
    pub err: String,
    pub code: Option<i32>,
}

/// Runs the program to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    let output = program().args(arguments).stdin(Stdio::null()).output().unwrap();
    Run {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

/// Waits until something holds.
pub fn eventually<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = holds() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

/// A node as a process. Killed when it is dropped.
pub struct Process(pub Child);

impl Process {
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes that make a cluster, and room for more.
pub struct Processes {
    pub addresses: Vec<String>,
    pub https: Vec<String>,
    /// How many of them are the first cluster.
    first: usize,
    directory: PathBuf,
    /// More options of each node, by its id.
    options: Box<dyn Fn(usize) -> Vec<String>>,
    pub running: Vec<Option<Process>>,
}

impl Processes {
    /// Starts a cluster of this size, with room for `spare` more.
    pub fn start(
        name: &str,
        size: usize,
        spare: usize,
        options: impl Fn(usize) -> Vec<String> + 'static,
    ) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let mut addresses = free_addresses(2 * (size + spare));
        let https = addresses.split_off(size + spare);
        let running = addresses.iter().map(|_| None).collect();
        let mut this = Self { addresses, https, first: size, directory, options: Box::new(options), running };
        for id in 1..=size {
            this.spawn(id);
        }
        this
    }

    /// The nodes of the first cluster, for `--nodes`.
    pub fn nodes(&self) -> String {
        let nodes: Vec<_> = (1..=self.first).map(|id| format!("{id}={}", self.addresses[id - 1])).collect();
        nodes.join(",")
    }

    pub fn directory(&self, id: usize) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// Starts a node on what its directory holds, and waits until it listens.
    pub fn spawn(&mut self, id: usize) {
        let mut command = program();
        command.args(["serve", "--until-stdin-closes", "--id", &id.to_string()]);
        command.arg("--data").arg(self.directory(id)).args(["--http", &self.https[id - 1]]);
        if id <= self.first {
            command.args(["--nodes", &self.nodes()]);
        } else {
            command.args(["--join", &self.addresses[id - 1]]);
        }
        let log = self.directory.join(format!("{id}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.args((self.options)(id)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("listening on {}\n", self.addresses[id - 1]));
        self.running[id - 1] = Some(Process(child));
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&mut self, id: usize) {
        self.running[id - 1].take().unwrap().kill();
    }

    /// Runs a command of the client.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let nodes = self.nodes();
        run(["--nodes", &nodes].iter().chain(arguments))
    }

    /// Runs a command that has to succeed, and gives what it said.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
        run.out
    }

    /// The node that leads, confirmed, as its HTTP says.
    pub fn leader(&self) -> usize {
        eventually("a leader", || {
            (1..=self.running.len()).find(|id| {
                self.running[id - 1].is_some()
                    && http(&self.https[id - 1], "/health").is_some_and(|(code, _)| code == 200)
            })
        })
    }
}

/// Asks over HTTP. `None` if nobody answers.
pub fn http(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(5 * SECOND)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let code = text.split(' ').nth(1)?.parse().ok()?;
    let body = text.split_once("\r\n\r\n")?.1.to_owned();
    Some((code, body))
}
