//! What a client does.

use std::process::ExitCode;

use raft::program::output::result;
use tso::Timestamp;

use crate::cli::args::Connection;
use crate::cli::failure::Failure;

/// Prints timestamps, a line each: the timestamp, its milliseconds, and its number.
pub(crate) async fn get(connection: &Connection, count: u32) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    let stamps = client.get_batch(count).await?;
    for stamp in stamps.iter() {
        if !result(&line(stamp)) {
            break;
        }
    }
    client.close().await;
    Ok(ExitCode::SUCCESS)
}

fn line(stamp: Timestamp) -> String {
    format!("{stamp}  {} ms + {}", stamp.physical(), stamp.logical())
}

/// Prints a line for each node. Fails if none of them serves.
pub(crate) async fn status(connection: &Connection) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    let mut serving = false;
    for (id, address) in client.nodes() {
        let said = match client.status(id).await {
            Ok(status) => {
                let left = (status.end >> 18).saturating_sub(status.next >> 18);
                match status.phase.as_str() {
                    "serving" => {
                        serving = true;
                        let next = Timestamp::from_raw(status.next);
                        format!(
                            "serving in term {}, next {}; granted {left} ms ahead",
                            status.epoch,
                            line(next)
                        )
                    }
                    "poisoned" => format!("stopped for good: {}", status.reason),
                    _ => status.leader.map_or("idle".to_owned(), |leader| {
                        format!("idle; node {} leads in term {}", leader.node, leader.epoch)
                    }),
                }
            }
            Err(error) => error.to_string(),
        };
        result(&format!("node {id}  {address}  {said}"));
    }
    client.close().await;
    Ok(if serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
