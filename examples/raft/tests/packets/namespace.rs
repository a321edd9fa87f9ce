//! Network namespaces: one with a bridge, and one for each node that hangs on it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::{Process, program};

/// Set in the process that runs in the namespace with the bridge.
const INSIDE: &str = "GORUMS_NAMESPACE";

pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Where a node listens.
pub fn address(id: u32) -> String {
    format!("10.77.0.{id}:7000")
}

/// Runs a command, or says what it complained about.
fn try_run(command: &str) -> Result<(), String> {
    let output = Command::new("sh").args(["-c", command]).output().map_err(|error| format!("sh: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn run(command: &str) {
    try_run(command).unwrap_or_else(|error| panic!("{error}"));
}

/// Why there can be no namespaces here, if so.
pub fn missing() -> Option<String> {
    let probe = "nsenter --version && unshare --net sh -c 'ip link add name bridge type bridge && ip link add type veth \
                 && iptables -A INPUT -p tcp -j DROP'";
    try_run(probe).err()
}

/// Runs a test of this program in a namespace of its own, and fails as it does.
pub fn run_inside(test: &str) {
    let mut command = Command::new("unshare");
    command.arg("--net").arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    assert!(command.status().unwrap().success(), "it failed in its namespace");
}

/// Makes the bridge, with an address for this process.
pub fn make_bridge() {
    run(
        "ip link set lo up && ip link add name bridge type bridge && ip addr add 10.77.0.254/24 dev bridge && \
         ip link set bridge up",
    );
}

/// A node as a process in a namespace. Killed when it is dropped, and the namespace with it.
pub struct Node {
    /// Has made the namespace, and keeps it until its input closes.
    keeper: Process,
    _serving: Process,
}

impl Node {
    /// Starts one of three nodes, and waits until it listens.
    pub fn start(id: u32) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo made; exec cat"]);
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let keeper = wait_for(Process(keeper), "made");
        let pid = keeper.0.id();
        run(&format!(
            "ip link add port{id} type veth peer name uplink netns {pid} && ip link set port{id} master bridge up && \
             nsenter -t {pid} -n sh -c 'ip link set lo up && ip addr add 10.77.0.{id}/24 dev uplink && \
             ip link set uplink up'"
        ));

        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packets");
        let data = directory.join(id.to_string());
        // There is none at the first time.
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).unwrap();
        let log = std::fs::File::create(directory.join(format!("{id}.log"))).unwrap();
        let nodes: Vec<_> = (1..=3).map(|id| format!("{id}={}", address(id))).collect();
        let raft = program();
        let mut command = Command::new("nsenter");
        // It takes no options from the environment of the tests.
        raft.get_envs().for_each(|(name, _)| _ = command.env_remove(name));
        command.args(["-t", &pid.to_string(), "-n"]).arg(raft.get_program());
        command.args(["serve", "--until-stdin-closes", "--id", &id.to_string(), "--nodes", &nodes.join(",")]);
        command.arg("--data").arg(data).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let serving = wait_for(Process(command.spawn().unwrap()), &format!("listening on {}", address(id)));
        Self { keeper, _serving: serving }
    }

    /// Drops all packets from and to this node, or no longer.
    pub fn drop_packets(&self, drop: bool) {
        let (pid, change) = (self.keeper.0.id(), if drop { "-A" } else { "-D" });
        run(&format!(
            "nsenter -t {pid} -n sh -c 'iptables {change} INPUT -j DROP && iptables {change} OUTPUT -j DROP'"
        ));
    }
}

/// Waits until a process says this.
fn wait_for(mut process: Process, what: &str) -> Process {
    let mut line = String::new();
    BufReader::new(process.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("{what}\n"));
    process
}
