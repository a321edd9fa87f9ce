//! Runs the program.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write, copy, sink};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;

pub fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_storage"));
    program.env_remove("NO_COLOR").stdin(Stdio::null());
    program
}

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

pub fn run(arguments: &[&str]) -> Run {
    program().args(arguments).output().unwrap().into()
}

/// Runs commands on these servers.
pub fn on(servers: &[&str], commands: &str) -> Run {
    run(&["--connect", &servers.join(","), "-e", commands])
}

/// Runs commands from stdin on four servers in the process.
pub fn script(script: &[u8]) -> Run {
    let mut program = program();
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script).unwrap();
    child.wait_with_output().unwrap().into()
}

/// A process that is killed when the test ends.
pub struct Process {
    pub child: Child,
    pub out: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = program()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads what the process logs until it says this, and throws away the rest.
    pub fn wait_for_log(&mut self, what: &str) {
        let mut log = BufReader::new(self.child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the process ended and did not log {what:?}");
        }
        thread::spawn(move || copy(&mut log, &mut sink()));
    }

    pub fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server process that takes calls.
pub struct Server {
    pub process: Process,
    pub address: String,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Self {
        let mut process = Process::start(arguments);
        let line = process.line();
        let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, address }
    }

    /// A server on its own.
    pub fn alone() -> Self {
        Self::start(&["--listen", "127.0.0.1:0", "--quiet"])
    }

    /// Servers that know each other, and are connected with each other.
    pub fn cluster(size: usize) -> Vec<Self> {
        let addresses = free_addresses(size);
        let peers = addresses.join(",");
        let start = |address: &String| Self::start(&["--listen", address, "--peers", &peers]);
        let mut servers: Vec<_> = addresses.iter().map(start).collect();
        for server in &mut servers {
            server.process.wait_for_log(&format!("{size} of {size} nodes are connected"));
        }
        servers
    }
}

/// Addresses on which nobody listens, for servers that have to know each other's before they start.
pub fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}
