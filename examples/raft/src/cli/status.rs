//! How the nodes are, as a table.

use futures_util::future::join_all;
use raft::proto::{NodeStatus, PeerStatus};
use raft::{Client, Error};

use crate::cli::failure::Failure;
use raft::program::output::result;

/// Prints a line for each node, and one for each peer of the leader.
pub(crate) async fn print(client: &Client) {
    let asked = ask(client).await;
    let mut rows = vec![row([
        "node",
        "address",
        "role",
        "term",
        "leader",
        "log",
        "committed",
        "applied",
        "calls",
        "writes",
    ])];
    for (id, address, status) in &asked {
        let unknown = || {
            let mut row = vec![id.to_string(), address.clone(), "?".to_owned()];
            row.resize(rows[0].len(), String::new());
            row
        };
        let row = status.as_ref().map_or_else(|_| unknown(), |status| node(*id, address, status));
        rows.push(row);
    }
    table(&rows);
    for (id, _, status) in &asked {
        if let Err(error) = status {
            result(&format!("node {id}: {}", reason(error)));
        }
    }
    let leader = asked.iter().filter_map(|(_, _, status)| status.as_ref().ok());
    let Some(leader) = leader.filter(|status| status.role == "leader").max_by_key(|status| status.term)
    else {
        return;
    };
    result("");
    result(&format!("as node {}, the leader, sees the others:", leader.node));
    let mut rows = vec![row([
        "node",
        "votes",
        "reachable",
        "last seen",
        "has",
        "lag",
        "queued",
        "dropped",
        "latency",
        "",
    ])];
    rows.extend(leader.peers.iter().map(|peer| of_peer(peer, leader.last_index)));
    table(&rows);
}

/// Fails unless one of the nodes leads and is confirmed.
pub(crate) async fn health(client: &Client) -> Result<(), Failure> {
    let asked = ask(client).await;
    let leader =
        asked.iter().filter_map(|(_, _, status)| status.as_ref().ok()).find(|status| status.confirmed);
    match leader {
        Some(leader) => result(&format!("node {} leads in term {}", leader.node, leader.term)),
        None => return Err(Failure::Unhealthy),
    };
    Ok(())
}

async fn ask(client: &Client) -> Vec<(u32, String, Result<NodeStatus, Error>)> {
    let nodes = client.nodes().into_iter();
    join_all(nodes.map(|(id, address)| async move { (id, address, client.status(id).await) })).await
}

fn reason(error: &Error) -> String {
    match error {
        Error::Call(error) => error.kind().to_string(),
        error => error.to_string(),
    }
}

fn row(cells: [&str; 10]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

fn node(id: u32, address: &str, status: &NodeStatus) -> Vec<String> {
    let confirmed = if status.role == "leader" && !status.confirmed { " (unconfirmed)" } else { "" };
    vec![
        id.to_string(),
        address.to_owned(),
        format!("{}{confirmed}", status.role),
        status.term.to_string(),
        status.leader.as_ref().map_or("-".to_owned(), |leader| leader.node.to_string()),
        format!("{}..{}", status.purged + 1, status.last_index),
        status.committed.to_string(),
        status.applied.to_string(),
        status.waiting.to_string(),
        status.queued.to_string(),
    ]
}

fn of_peer(peer: &PeerStatus, last: u64) -> Vec<String> {
    let known = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    vec![
        peer.node.to_string(),
        if peer.voter { "yes" } else { "no" }.to_owned(),
        if peer.reachable { "yes" } else { "no" }.to_owned(),
        peer.acknowledged_ms.map_or("-".to_owned(), |ms| format!("{ms} ms ago")),
        known(peer.matched),
        known(peer.matched.map(|matched| last.saturating_sub(matched))),
        peer.queued.to_string(),
        peer.dropped.to_string(),
        format!("{} us", peer.latency_us),
        String::new(),
    ]
}

fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        result(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
