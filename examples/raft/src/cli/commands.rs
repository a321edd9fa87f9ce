//! What a client does.

use bytes::Bytes;
use raft::proto::Written;
use raft::{Client, Consistency};

use crate::cli::args::{ClientCommand, Freshness, MemberCommand};
use crate::cli::failure::Failure;
use crate::cli::status;
use raft::program::output::result;

impl From<Freshness> for Consistency {
    fn from(freshness: Freshness) -> Self {
        match freshness {
            Freshness::Linearizable => Self::Linearizable,
            Freshness::Lease => Self::Lease,
            Freshness::Stale => Self::Stale,
        }
    }
}

/// Runs a command and prints its result.
pub(crate) async fn run(client: &Client, command: ClientCommand) -> Result<(), Failure> {
    match command {
        ClientCommand::Put { key, value } => {
            let Written { revision, .. } = client.put(key, value).await?;
            result(&format!("ok, revision {revision}"));
        }
        ClientCommand::Get { key, consistency } => {
            let found = client.get(key, consistency.into()).await?;
            match found.value {
                Some(value) => result(&format!("{} (revision {})", text(&value), found.revision)),
                None => result("no value"),
            };
        }
        ClientCommand::Delete { key } => {
            let written = client.delete(key).await?;
            result(if written.done { "deleted" } else { "no value" });
        }
        ClientCommand::Cas { key, expect, value } => {
            let swapped =
                client.compare_and_swap(key, expect.map(Bytes::from), value.map(Bytes::from)).await?;
            match (swapped.done, swapped.found) {
                (true, _) => result(&format!("ok, revision {}", swapped.revision)),
                (false, Some(found)) => result(&format!("not swapped: the value is {}", text(&found))),
                (false, None) => result("not swapped: no value"),
            };
        }
        ClientCommand::Watch { prefix, count } => watch(client, prefix, count).await?,
        ClientCommand::Status => status::print(client).await,
        ClientCommand::Health => status::health(client).await?,
        ClientCommand::Member(command) => member(client, command).await?,
        ClientCommand::Transfer { node } => {
            client.transfer(node).await?;
            result("asked");
        }
        ClientCommand::Compact => {
            client.compact().await?;
            result("asked");
        }
    }
    Ok(())
}

async fn watch(client: &Client, prefix: String, count: Option<u64>) -> Result<(), Failure> {
    let mut watch = client.watch(prefix).await?;
    result(&format!("watching after revision {}", watch.revision()));
    let mut seen = 0;
    while count.is_none_or(|count| seen < count) {
        let change = watch.next().await?;
        seen += 1;
        let what = match change.value {
            Some(value) => format!("{} = {}", text(&change.key), text(&value)),
            None => format!("{} deleted", text(&change.key)),
        };
        if !result(&format!("{} {what}", change.revision)) {
            break;
        }
    }
    Ok(())
}

async fn member(client: &Client, command: MemberCommand) -> Result<(), Failure> {
    match command {
        MemberCommand::Add { node: (id, address) } => {
            client.add_learner(id, address).await?;
            result(&format!("node {id} has caught up"));
        }
        MemberCommand::Promote { node } => {
            client.promote(node).await?;
            result(&format!("node {node} votes"));
        }
        MemberCommand::Voters { nodes } => {
            client.set_voters(nodes).await?;
            result("changed");
        }
        MemberCommand::Replace { old, new: (id, address) } => {
            client.replace(old, id, address).await?;
            result(&format!("node {id} is in the place of node {old}"));
        }
        MemberCommand::Remove { node } => {
            client.remove(node).await?;
            result(&format!("node {node} is out"));
        }
    }
    Ok(())
}

/// Bytes as text, with what is none escaped.
fn text(bytes: &[u8]) -> String {
    bytes.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.extend(chunk.valid().chars().flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        }));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_text() {
        assert_eq!(text("hé\tllo".as_bytes()), "hé\\tllo");
        assert_eq!(text(b"a\xffb"), "a\\xffb");
    }
}
