//! Options that come from the command line, the environment, and a file, in this order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft::Client;
use serde::{Deserialize, Deserializer};

use crate::cli::failure::Failure;
use raft::program::Tls;
use raft::program::parse;

/// How to reach the cluster.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Connection {
    /// The nodes, as `1=host:port,2=host:port`. For `serve`, the members of the first cluster: the same for all of them.
    #[arg(long, global = true, value_delimiter = ',', value_parser = parse::node, value_name = "NODES", env = "RAFT_NODES")]
    #[serde(deserialize_with = "nodes")]
    pub(crate) nodes: Vec<(u32, String)>,

    /// How long a call may take, with all its attempts, as `2s` or `500ms`; 5s by default.
    #[arg(long, global = true, value_parser = parse::duration, value_name = "TIME", env = "RAFT_TIMEOUT")]
    #[serde(deserialize_with = "duration")]
    pub(crate) timeout: Option<Duration>,

    /// Talk over TLS, with nodes and clients whose certificates are signed by this CA (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "RAFT_TLS_CA")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// The own certificate (PEM), with `gorums://node/<id>` among its names for a node.
    #[arg(long, global = true, value_name = "FILE", env = "RAFT_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of the own certificate (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "RAFT_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// How to be a node.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Serve {
    /// The id of this node.
    #[arg(long, env = "RAFT_ID")]
    pub(crate) id: Option<u32>,

    /// Where to listen for nodes and clients; the address of this node among the members by default.
    #[arg(long, value_name = "HOST:PORT", env = "RAFT_LISTEN")]
    pub(crate) listen: Option<String>,

    /// Where to keep the log and the state.
    #[arg(long, value_name = "DIRECTORY", env = "RAFT_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// Serve `/health`, `/ready` and `/metrics` here, over HTTP.
    #[arg(long, value_name = "HOST:PORT", env = "RAFT_HTTP")]
    pub(crate) http: Option<String>,

    /// Wait to be added to a cluster, by this address, instead of making the first one.
    #[arg(long, value_name = "HOST:PORT", env = "RAFT_JOIN")]
    pub(crate) join: Option<String>,

    /// How often the leader says that it leads; 100ms by default.
    #[arg(long, value_parser = parse::duration, value_name = "TIME", env = "RAFT_HEARTBEAT")]
    #[serde(deserialize_with = "duration")]
    pub(crate) heartbeat: Option<Duration>,

    /// How long a follower waits for the leader, at least; 1s by default.
    #[arg(long, value_parser = parse::duration, value_name = "TIME", env = "RAFT_ELECTION_TIMEOUT")]
    #[serde(deserialize_with = "duration")]
    pub(crate) election_timeout: Option<Duration>,

    /// Calls of clients in progress at once; 4096 by default.
    #[arg(long, value_name = "NUMBER", env = "RAFT_MAX_CALLS")]
    pub(crate) max_calls: Option<usize>,

    /// Entries after which the log is cut; 10000 by default.
    #[arg(long, value_name = "NUMBER", env = "RAFT_COMPACT_EVERY")]
    pub(crate) compact_every: Option<u64>,

    /// Stop when stdin closes: a node of `local` must not outlive it.
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub(crate) until_stdin_closes: bool,
}

/// What a file says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct File {
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, toml::Value>,
    #[serde(skip)]
    pub(crate) connection: Connection,
    pub(crate) serve: Serve,
}

/// Reads the file, if there is one.
pub(crate) fn read(path: Option<&Path>) -> Result<File, Failure> {
    let Some(path) = path else { return Ok(File::default()) };
    let failed = |reason: String| Failure::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    parse(&text).map_err(failed)
}

fn parse(text: &str) -> Result<File, String> {
    let mut file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let rest = std::mem::take(&mut file.rest).into_iter().collect::<toml::Table>();
    file.connection = rest.try_into().map_err(|error: toml::de::Error| error.to_string())?;
    Ok(file)
}

impl Connection {
    /// These options, and those of another source where these say nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            nodes: if self.nodes.is_empty() { other.nodes } else { self.nodes },
            timeout: self.timeout.or(other.timeout),
            tls_ca: self.tls_ca.or(other.tls_ca),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
        }
    }

    /// The certificates, if TLS was asked for.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        let tls = Tls::of(self.tls_ca.as_ref(), self.tls_cert.as_ref(), self.tls_key.as_ref());
        tls.map_err(|missing| Failure::Usage(missing.to_owned()))
    }

    /// A client of the nodes.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        if self.nodes.is_empty() {
            return Err(Failure::Usage("which nodes? give --nodes 1=host:port,.. or RAFT_NODES".into()));
        }
        let mut builder = Client::builder().nodes(self.nodes.clone());
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(tls) = self.tls()? {
            builder = builder.connections(tls.connect(gorums::Configuration::builder())?);
        }
        Ok(builder.build()?)
    }
}

impl Serve {
    /// These options, and those of another source where these say nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            id: self.id.or(other.id),
            listen: self.listen.or(other.listen),
            data: self.data.or(other.data),
            http: self.http.or(other.http),
            join: self.join.or(other.join),
            heartbeat: self.heartbeat.or(other.heartbeat),
            election_timeout: self.election_timeout.or(other.election_timeout),
            max_calls: self.max_calls.or(other.max_calls),
            compact_every: self.compact_every.or(other.compact_every),
            until_stdin_closes: self.until_stdin_closes,
        }
    }
}

fn nodes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(u32, String)>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse::node(text).map_err(serde::de::Error::custom)).collect()
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse::duration(&text).map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file = parse(
            "nodes = ['1=a:1', '2=b:1']\ntimeout = '2s'\n[serve]\nid = 2\nelection-timeout = '500ms'\nhttp = 'a:80'",
        );
        let file = file.unwrap();
        let given = Connection { timeout: Some(Duration::from_secs(1)), ..Connection::default() };
        let connection = given.or(file.connection);
        assert_eq!(connection.nodes, [(1, "a:1".to_owned()), (2, "b:1".to_owned())]);
        assert_eq!(connection.timeout, Some(Duration::from_secs(1)));
        let serve = Serve { id: Some(1), ..Serve::default() }.or(file.serve);
        assert_eq!((serve.id, serve.http.as_deref()), (Some(1), Some("a:80")));
        assert_eq!(serve.election_timeout, Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_misspelt_option_is_told() {
        for text in ["node = ['1=a:1']", "[serve]\nelection = '1s'", "timeout = 'soon'", "nodes = ['a:1']"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
