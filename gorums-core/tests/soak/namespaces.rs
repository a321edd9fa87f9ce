//! Servers in a network namespace of their own, where packets can be made to vanish.
//!
//! A test runs itself again, once in a namespace for its clients and from there once more in one for its servers.
//! Neither namespace has a name, so that nothing is left of them when the processes are gone, however they go.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

const ROLE: &str = "GORUMS_NAMESPACE";
const CLIENT_ADDRESS: &str = "10.77.0.1/24";
const SERVER_ADDRESS: &str = "10.77.0.2/24";
/// Where the servers listen.
pub(crate) const SERVERS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Which of the processes of a test this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The one that was started first, outside of any namespace.
    Outside,
    Client,
    Server,
}

pub(crate) fn role() -> Role {
    match std::env::var(ROLE).as_deref() {
        Ok("client") => Role::Client,
        Ok("server") => Role::Server,
        _ => Role::Outside,
    }
}

/// This test again, in a new namespace.
fn this_test(test: &str, role: &str) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net").arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// Runs a command, or says what it complained about.
fn run(command: &[&str]) -> Result<(), String> {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output = output.map_err(|error| format!("{}: {error}", command[0]))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Why there can be no namespaces here, if so: this takes root, and some tools.
pub(crate) fn missing() -> Option<String> {
    run(&["nsenter", "--version"]).err().or_else(|| {
        let probe = "ip link add near type veth peer name far && iptables -A INPUT -p tcp -j DROP";
        run(&["unshare", "--net", "sh", "-c", probe]).err()
    })
}

/// Runs the test in a namespace for clients, and fails as it does. Passes on what it says of its figures.
pub(crate) fn run_client(test: &str, figures: &str) {
    let output = this_test(test, "client").stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // The harness begins the line with the name of the test.
    let figures = said.lines().filter_map(|line| line.find(figures).map(|start| &line[start..]));
    figures.for_each(|line| println!("{line}"));
    assert!(output.status.success(), "failed in its namespace:\n{said}");
}

/// The process with the servers, in a namespace that is linked to the one of this process.
pub(crate) struct Servers {
    process: Child,
}

impl Servers {
    /// Runs the test as the process with the servers. Returns when it says that it is ready.
    pub(crate) fn start(test: &str) -> Self {
        let mut command = this_test(test, "server");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let servers = Self { process };
        let ready = said.lines().map_while(Result::ok).any(|line| line.ends_with(READY));
        assert!(ready, "the process with the servers has ended");
        let pid = servers.pid();
        run(&["ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &pid]).unwrap();
        run(&["ip", "addr", "add", CLIENT_ADDRESS, "dev", "near"]).unwrap();
        run(&["ip", "link", "set", "near", "up"]).unwrap();
        servers.inside(&["ip", "addr", "add", SERVER_ADDRESS, "dev", "far"]);
        servers.inside(&["ip", "link", "set", "far", "up"]);
        servers
    }

    fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// Runs a command in the namespace of the servers.
    fn inside(&self, command: &[&str]) {
        let pid = self.pid();
        run(&[&["nsenter", "-t", &pid, "-n"], command].concat()).unwrap();
    }

    /// Drops all packets from and to a port, without a word to anybody, or no longer.
    pub(crate) fn drop_packets(&self, port: u16, drop: bool) {
        let (change, port) = (if drop { "-I" } else { "-D" }, port.to_string());
        self.inside(&["iptables", change, "INPUT", "-p", "tcp", "--dport", &port, "-j", "DROP"]);
        self.inside(&["iptables", change, "OUTPUT", "-p", "tcp", "--sport", &port, "-j", "DROP"]);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // It ends when its input does; this is for one that hangs.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const READY: &str = "the servers are ready";

/// Says that the servers are ready, and waits until the process that started this one ends or is done.
pub(crate) async fn serve_until_parent_ends() {
    println!("{READY}");
    let wait = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let _ = tokio::task::spawn_blocking(wait).await;
}
