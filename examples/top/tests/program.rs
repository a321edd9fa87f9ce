//! The program, as it is used in scripts.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::{Output, Stdio};
use std::time::Duration;

use gorums::{Server, ServerContext, ServerHandle, Status};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

#[gorums::service(package = "test")]
trait Echo {
    #[rpc]
    async fn echo(&self, ctx: &ServerContext, request: ()) -> Result<(), Status>;
}

struct Node;

impl Echo for Node {
    async fn echo(&self, _: &ServerContext, (): ()) -> Result<(), Status> {
        Ok(())
    }
}

async fn servers() -> (Vec<String>, Vec<ServerHandle>) {
    let (mut addresses, mut handles) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let server = Server::builder().add_service(EchoServer::new(Node)).bind("127.0.0.1:0").await.unwrap();
        addresses.push(server.local_addr().to_string());
        handles.push(server.handle());
        tokio::spawn(server.serve());
    }
    (addresses, handles)
}

fn top(addresses: &[String], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gorums"));
    command.arg("top").arg(addresses.join(",")).args(more).kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> (Output, String) {
    let output = timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

#[tokio::test]
async fn once_tells_by_its_exit_code_whether_all_are_there() {
    let (addresses, handles) = servers().await;
    let (output, table) = run(top(&addresses, &["--once"])).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(table.matches(" connected ").count(), 3, "{table}");
    handles[1].shutdown().await;
    let (output, table) = run(top(&addresses, &["--once"])).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        (table.matches(" connected ").count(), table.matches(" unreachable ").count()),
        (2, 1),
        "{table}"
    );
}

#[tokio::test]
async fn a_pipe_gets_tables_until_nobody_reads() {
    let (addresses, _handles) = servers().await;
    let more = ["--every", "50ms", "--method", "test.Echo.Echo", "--rate", "1000"];
    let mut child = top(&addresses, &more).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Calls are counted, so the tables are live: a later one has a latency.
    let live = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let cells: Vec<_> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            if cells.first() == Some(&"3") && cells[3] != "-" && cells[8] != "0" {
                return;
            }
        }
        panic!("it has ended");
    };
    timeout(Duration::from_secs(60), live).await.unwrap();
    drop(lines);
    assert!(timeout(Duration::from_secs(60), child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn mistakes_are_explained() {
    for (arguments, said) in [
        (vec!["top"], "ADDRESS"),
        (vec!["top", "localhost"], "it has no port"),
        (vec!["top", "a:1", "--every", "soon"], "no time such as 500ms"),
        (vec!["top", "a:1,a:1"], "a:1"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gorums"));
        command.args(&arguments);
        let (output, _) = run(command).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
