//! Servers in a process of their own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::program::{command, measure, rows};

/// Servers, which end with this.
struct Servers {
    process: Child,
    addresses: Vec<String>,
}

impl Servers {
    fn start(contender: &str, number: usize) -> Self {
        let mut process = command()
            .args(["serve", "--workers", "1", "--contender", contender])
            .args(vec!["127.0.0.1:0"; number])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().take(number);
        let address =
            |line: std::io::Result<String>| line.unwrap().strip_prefix("serving on ").unwrap().to_owned();
        let addresses = lines.map(address).collect();
        Self { process, addresses }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn servers_tell_what_they_used_and_got() {
    let servers = Servers::start("gorums", 3);
    let remotes = servers.addresses.join(",");
    for row in rows(&["run", "--remotes", &remotes, "--calls", "quorum-all|multicast$", "--in-flight", "4"]) {
        let (sample, told) = (&row["sample"], &row["sample"]["servers"]);
        assert_eq!(told["processes"], 1, "{row}");
        assert!(
            told["user_us_per_call"].as_f64().unwrap() + told["system_us_per_call"].as_f64().unwrap() > 0.0
        );
        assert!(told["resident_kib"].as_f64().unwrap() > 0.0);
        let calls = sample["calls"].as_u64().unwrap();
        assert!(calls > 0);
        // Some are open when the time begins, and others when it ends.
        let requests: Vec<u64> =
            told["requests"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        assert_eq!(requests.len(), 3);
        assert!(requests.iter().all(|got| got.abs_diff(calls) <= calls / 2 + 100), "{requests:?} {calls}");
    }
}

#[test]
fn servers_of_every_contender() {
    for contender in ["tonic", "tarpc", "raw-tcp"] {
        let servers = Servers::start(contender, 3);
        let table = measure(&["run", "--contenders", contender, "--remotes", &servers.addresses.join(",")]);
        assert!(table.contains(contender), "{table}");
    }
}
