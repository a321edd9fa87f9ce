//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};
use tracing::level_filters::LevelFilter;

use crate::failure::Failure;
use crate::interceptors::Interceptor;
use crate::tls::Tls;

/// A replicated key-value store, and a prompt to try it with.
///
/// Without options, four servers start in this process, with a prompt to make calls on them.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Talk to these servers instead of starting some.
    #[arg(long, short, value_name = "ADDRESSES", value_delimiter = ',', value_parser = address,
        conflicts_with_all = ["listen", "cluster"])]
    connect: Vec<String>,

    /// Be a server at this address, until SIGINT or SIGTERM; port 0 takes a free port.
    ///
    /// Once it serves, it prints `listening on <address>`.
    #[arg(long, short, value_name = "ADDRESS", value_parser = address, conflicts_with = "cluster")]
    listen: Option<String>,

    /// The servers that this one makes nested calls on; it counts as one of them, listed or not.
    ///
    /// Give the same list to every server: a server's id, as in the logs, is its place in the list. If the
    /// list leaves the server itself out, it is sorted first.
    #[arg(long, short, value_name = "ADDRESSES", value_delimiter = ',', value_parser = address, requires = "listen")]
    peers: Vec<String>,

    /// The address by which the others know this server, if it is not the one it listens on.
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "listen")]
    advertise: Option<String>,

    /// Start a server process at each of these addresses, and stop them on Ctrl-C.
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', value_parser = address)]
    cluster: Vec<String>,

    /// Run commands instead of the prompt, separated by `;`. May be given several times.
    #[arg(long = "execute", short, value_name = "COMMANDS", conflicts_with_all = ["listen", "cluster"])]
    execute: Vec<String>,

    /// How long a call may take, as `2s`, `500ms` or `0.5`.
    #[arg(long, short, value_name = "TIME", value_parser = duration, default_value = "2s")]
    timeout: Duration,

    /// Keep the history of the prompt in this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "cluster", "execute"])]
    history: Option<PathBuf>,

    /// What each server does around its handlers, in this order.
    #[arg(long, value_name = "INTERCEPTORS", value_delimiter = ',', conflicts_with = "connect")]
    interceptors: Vec<Interceptor>,

    /// Talk over TLS, with peers and servers whose certificates are signed by this CA (PEM).
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// The own certificate (PEM), with `gorums://node/<id>` among its names for a server.
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The key of the own certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Log more, to stderr; twice for even more. A server process logs each read and write anyway.
    #[arg(long, short, action = ArgAction::Count)]
    verbose: u8,

    /// Log less: of a server process, only what goes wrong.
    #[arg(long, short, action = ArgAction::Count, conflicts_with = "verbose")]
    quiet: u8,

    /// Stop when stdin closes: a server of `--cluster` must not outlive it.
    #[arg(long, hide = true, requires = "listen")]
    until_stdin_closes: bool,
}

/// What the program is to be.
#[derive(Debug)]
pub(crate) enum Mode {
    Client(ClientOptions),
    Server(ServerOptions),
    Cluster(ClusterOptions),
}

/// How to make calls.
#[derive(Debug)]
pub(crate) struct ClientOptions {
    /// Empty for servers in this process.
    pub(crate) servers: Vec<String>,
    /// Empty for the prompt, or for commands from stdin.
    pub(crate) commands: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) history: Option<PathBuf>,
    pub(crate) interceptors: Vec<Interceptor>,
    pub(crate) tls: Option<Tls>,
    pub(crate) log_level: LevelFilter,
}

/// How to be a server.
#[derive(Debug)]
pub(crate) struct ServerOptions {
    pub(crate) listen: String,
    pub(crate) advertise: Option<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) interceptors: Vec<Interceptor>,
    pub(crate) tls: Option<Tls>,
    pub(crate) log_level: LevelFilter,
    pub(crate) until_stdin_closes: bool,
}

/// How to start servers.
#[derive(Debug)]
pub(crate) struct ClusterOptions {
    pub(crate) addresses: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) interceptors: Vec<Interceptor>,
    pub(crate) tls: Option<Tls>,
    pub(crate) verbose: u8,
    pub(crate) quiet: u8,
}

impl Args {
    /// Clap has made sure that most of the options go together.
    pub(crate) fn into_mode(self) -> Result<Mode, Failure> {
        let tls = self.tls()?;
        Ok(self.into_mode_with(tls))
    }

    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let Some(ca) = self.tls_ca.clone() else { return Ok(None) };
        let identity = self.tls_cert.clone().zip(self.tls_key.clone());
        let (is_server, is_client) =
            (self.listen.is_some() || !self.cluster.is_empty(), !self.connect.is_empty());
        if is_server && identity.is_none() {
            return Err(Failure::Usage(
                "a server that has --tls-ca needs --tls-cert and --tls-key too".to_owned(),
            ));
        }
        if !is_server && !is_client {
            return Err(Failure::Usage(
                "--tls-ca is for --connect, --listen and --cluster: servers in this process need no TLS"
                    .to_owned(),
            ));
        }
        Ok(Some(Tls { ca, identity }))
    }

    fn into_mode_with(self, tls: Option<Tls>) -> Mode {
        let (verbose, quiet, timeout) = (self.verbose, self.quiet, self.timeout);
        if let Some(listen) = self.listen {
            let log_level = log_level(SERVER_LEVEL, verbose, quiet);
            let (advertise, peers, until_stdin_closes) =
                (self.advertise, self.peers, self.until_stdin_closes);
            return Mode::Server(ServerOptions {
                listen,
                advertise,
                peers,
                timeout,
                interceptors: self.interceptors,
                tls,
                log_level,
                until_stdin_closes,
            });
        }
        if !self.cluster.is_empty() {
            let (addresses, interceptors) = (self.cluster, self.interceptors);
            return Mode::Cluster(ClusterOptions { addresses, timeout, interceptors, tls, verbose, quiet });
        }
        Mode::Client(ClientOptions {
            servers: self.connect,
            commands: self.execute,
            timeout,
            history: self.history,
            interceptors: self.interceptors,
            tls,
            log_level: log_level(CLIENT_LEVEL, verbose, quiet),
        })
    }
}

fn log_level(usual: usize, verbose: u8, quiet: u8) -> LevelFilter {
    let index = (usual + usize::from(verbose)).saturating_sub(usize::from(quiet));
    LEVELS[index.min(LEVELS.len() - 1)]
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn address(text: &str) -> Result<String, String> {
    Ok(text.trim().to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        other => return Err(format!("`{other}` is not a unit of time: use `s`, `ms` or `m`")),
    };
    let seconds: f64 = number.trim().parse().map_err(|_| "write it as `2s`, `500ms` or `0.5`".to_owned())?;
    match Duration::try_from_secs_f64(seconds * unit) {
        Ok(duration) if duration >= Duration::from_millis(1) => Ok(duration),
        _ => Err("it must be 1 ms or more".to_owned()),
    }
}

const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];
/// The places in `LEVELS` of what is logged unless more or less is asked for.
const SERVER_LEVEL: usize = 3;
const CLIENT_LEVEL: usize = 2;

const EXAMPLES: &str = "\
Examples:
  storage
      Four servers in this process, and a prompt. Type `help` there.

  storage -e 'qc write color \"dark blue\"; qc read color'
      Run commands and leave. The exit code is 0 if all of them succeeded, 1 if one failed,
      2 if the command line is wrong.

  storage --cluster 127.0.0.1:8081,127.0.0.1:8082,127.0.0.1:8083,127.0.0.1:8084
      Four server processes, until Ctrl-C.

  storage --listen 10.0.0.1:8080 --peers 10.0.0.1:8080,10.0.0.2:8080,10.0.0.3:8080
      One server process of three, for instance under systemd.

  storage --interceptors logging,nofoo -vv -e 'qc write k v; qc write foo x'
      Servers that log each request, and refuse those for the key foo.

  storage --connect 10.0.0.1:8080,10.0.0.2:8080,10.0.0.3:8080
      A prompt for servers that run elsewhere, those of Go Gorums included.

  storage --connect 10.0.0.1:8080,10.0.0.2:8080,10.0.0.3:8080 < script
      Commands from a file, one on a line; lines that start with # are comments.

Output is coloured, and in tables, only on a terminal; NO_COLOR turns the colours off.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn durations() {
        for (text, millis) in [("2s", 2_000), ("500ms", 500), ("0.5", 500), ("1", 1_000), (" 1 m ", 60_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1h", "-1s", "0", "nan", "inf", "1e400", "1s1"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn levels_stay_within_bounds() {
        assert_eq!(log_level(SERVER_LEVEL, 0, 0), LevelFilter::INFO);
        assert_eq!(log_level(CLIENT_LEVEL, 0, 0), LevelFilter::WARN);
        assert_eq!(log_level(CLIENT_LEVEL, 200, 0), LevelFilter::TRACE);
        assert_eq!(log_level(CLIENT_LEVEL, 0, 200), LevelFilter::OFF);
    }
}
