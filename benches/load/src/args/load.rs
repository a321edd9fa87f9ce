//! What is measured: who calls whom, how, how often and for how long.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use regex::Regex;

use super::values::{bytes, positive};
use crate::call_type::CallType;
use crate::contender::Kind;
use crate::plan::Plan;
use crate::setup::{Environment, FullQueue, QueueOptions, Scenario, Setup, Timing};

/// Options of the load.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// The call types whose names this regular expression finds; `gorums-bench list` names them [default: quorum-majority,
    /// or quorum-all where connections are what is measured]
    #[arg(long, short, value_name = "REGEX")]
    pub(crate) calls: Option<Regex>,
    /// Who is measured, in the order in which they take turns; `all` are all
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "gorums")]
    pub(crate) contenders: Vec<String>,
    /// Whom the ratios compare with, if it is among the contenders
    #[arg(long, value_enum, value_name = "NAME", default_value = "raw-tcp")]
    pub(crate) baseline: Kind,
    /// How many nodes there are [default: as many as --remotes, or else 3; 100 idle ones]
    #[arg(long, short, value_name = "NUMBER", value_parser = positive)]
    pub(crate) nodes: Option<usize>,
    /// How many replies a call waits for, where its type does not say it [default: a majority]
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub(crate) quorum_size: Option<usize>,
    /// The payload of requests, as in `16`, `1k` or `1MiB`
    #[arg(long, short, value_name = "BYTES", value_parser = bytes, default_value = "16")]
    pub(crate) payload: usize,
    /// The payload of replies [default: that of the request, which is sent back]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) reply: Option<usize>,
    /// How many calls are open at once [default: 64]
    #[arg(long, short, value_name = "NUMBER", value_parser = positive)]
    pub(crate) in_flight: Option<usize>,
    /// How many of these each caller of the type `async` has open
    #[arg(long, value_name = "NUMBER", value_parser = positive, default_value = "16")]
    pub(crate) pipeline: usize,
    /// How many clients there are, each with connections of its own to all nodes
    #[arg(long, value_name = "NUMBER", value_parser = positive, default_value = "1")]
    pub(crate) clients: usize,
    /// Start so many calls each second, whether others have ended or not: latency counts from when each was meant to
    /// start. At most --in-flight are open at once, and further ones wait
    #[arg(long, value_name = "CALLS", value_parser = positive)]
    pub(crate) rate: Option<usize>,
    /// How often each node replies to a streaming call
    #[arg(long, value_name = "NUMBER", value_parser = positive, default_value = "10")]
    pub(crate) updates: usize,
    /// The first node is this process itself
    #[arg(long)]
    pub(crate) local_node: bool,
    /// Servers that run already, with `gorums-bench serve`
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    pub(crate) remotes: Vec<String>,
    /// Worker threads of the runtime; 0 is a current-thread runtime [default: one for each core]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) workers: Option<usize>,
    /// Messages that wait for a node at most [default: 256 of gorums, 1,024 of raw-tcp, and at least --in-flight]
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub(crate) queue_messages: Option<usize>,
    /// Bytes that wait for a node of gorums at most [default: 1 MiB, and at least what is in flight]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) queue_bytes: Option<usize>,
    /// What raw-tcp does when the queue to a node is full
    #[arg(long, value_enum, value_name = "POLICY", default_value = "wait")]
    pub(crate) raw_tcp_queue: FullQueue,
    #[command(flatten)]
    pub(crate) timing: TimingArgs,
}

/// Options of time.
#[derive(Args, Clone, Debug)]
pub(crate) struct TimingArgs {
    /// How long it runs before anything counts
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "500ms")]
    pub(crate) warm_up: Duration,
    /// How long each measurement takes, as in `500ms` or `10s` [default: 2s; 10s with a node that never reads]
    #[arg(long, short, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// In how many rounds the contenders take turns
    #[arg(long, value_name = "NUMBER", value_parser = positive, default_value = "3")]
    pub(crate) rounds: usize,
}

/// What a scenario takes where no option says otherwise.
struct Defaults {
    calls: &'static str,
    nodes: usize,
    in_flight: usize,
    duration: Duration,
}

impl Defaults {
    fn of(scenario: Scenario) -> Self {
        let (calls, nodes, in_flight, seconds) = match scenario {
            Scenario::Calls => ("^quorum-majority$", 3, 64, 2),
            Scenario::BlackHole => ("^quorum-majority$", 3, 64, 10),
            Scenario::Idle => ("^quorum-all$", 100, 1, 1),
            Scenario::Connect => ("^quorum-all$", 3, 1, 1),
        };
        Self { calls, nodes, in_flight, duration: Duration::from_secs(seconds) }
    }
}

impl LoadArgs {
    /// The measurements that these options ask for.
    pub(crate) fn plan(&self, scenario: Scenario) -> Result<Plan> {
        let defaults = Defaults::of(scenario);
        let contenders = self.contenders()?;
        let call_types = match &self.calls {
            Some(pattern) => CallType::matching(pattern)?,
            None => CallType::matching(&Regex::new(defaults.calls)?)?,
        };
        let cells = call_types.into_iter().map(|call| self.cell(scenario, call, contenders[0], &defaults));
        let cells: Vec<_> = cells.collect::<Result<_>>()?;
        ensure!(
            cells.iter().any(|cell| contenders.iter().any(|kind| kind.can_do(cell))),
            "no contender can do this: only gorums has one-way messages that wait for the transport, streams, local nodes \
             and asynchronous calls, and raw-tcp has one-way messages that are queued; `gorums-bench list` says more"
        );
        if !self.remotes.is_empty() {
            ensure!(
                contenders.len() == 1,
                "servers at --remotes are of one contender: name it with --contenders"
            );
            ensure!(
                scenario == Scenario::Calls,
                "this is measured with servers of this process: leave --remotes out"
            );
        }
        let timing = Timing {
            warm_up: self.timing.warm_up,
            duration: self.timing.duration.unwrap_or(defaults.duration),
        };
        ensure!(!timing.duration.is_zero(), "--duration has to be longer than 0");
        Ok(Plan {
            cells,
            contenders,
            baseline: self.baseline,
            timing,
            rounds: self.timing.rounds,
            environment: self.environment(),
        })
    }

    fn contenders(&self) -> Result<Vec<Kind>> {
        let mut kinds = Vec::new();
        for name in &self.contenders {
            match Kind::from_str(name, true) {
                Ok(kind) if kinds.contains(&kind) => bail!("--contenders names {kind} twice"),
                Ok(kind) => kinds.push(kind),
                Err(_) if name == "all" && self.contenders.len() == 1 => {
                    kinds = Kind::value_variants().to_vec();
                }
                Err(_) => {
                    let names: Vec<_> = Kind::value_variants().iter().map(|kind| kind.name()).collect();
                    bail!("there is no contender `{name}`: they are {}, or `all` of them", names.join(", "));
                }
            }
        }
        Ok(kinds)
    }

    fn cell(
        &self,
        scenario: Scenario,
        call: CallType,
        contender: Kind,
        defaults: &Defaults,
    ) -> Result<Setup> {
        let local = call == CallType::Local;
        let remotes = self.remotes.len() + usize::from(self.local_node);
        let given = if self.remotes.is_empty() { defaults.nodes } else { remotes };
        let nodes = if local { 1 } else { self.nodes.unwrap_or(given) };
        let local_node = local || self.local_node;
        ensure!(
            self.remotes.is_empty() || nodes <= remotes,
            "{nodes} nodes need {} more --remotes: start them with `gorums-bench serve`, or ask for fewer --nodes",
            nodes - remotes
        );
        ensure!(
            scenario != Scenario::BlackHole || nodes > 1,
            "of one node, none can fail: give at least 2 --nodes"
        );
        let quorum_size = self.quorum_size.unwrap_or(nodes / 2 + 1);
        ensure!(
            local || quorum_size <= nodes,
            "a quorum of {quorum_size} needs as many nodes: there are {nodes}, see --nodes"
        );
        let needed = call.needed(nodes, quorum_size);
        ensure!(
            scenario != Scenario::BlackHole || needed < nodes,
            "{call} waits for all {nodes} nodes, of which one never replies: choose another type with --calls"
        );
        let pipelined = call == CallType::Async;
        let in_flight = self.in_flight.unwrap_or(defaults.in_flight);
        let pipeline = if pipelined && self.rate.is_none() { self.pipeline.min(in_flight) } else { 1 };
        Ok(Setup {
            scenario,
            contender,
            call,
            nodes,
            needed,
            request_bytes: self.payload,
            reply_bytes: self.reply.unwrap_or(self.payload),
            in_flight,
            pipeline,
            clients: self.clients,
            rate: self.rate.map(|rate| rate as u64),
            updates: self.updates,
            workers: self.workers(),
            local_node,
        })
    }

    fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn environment(&self) -> Environment {
        Environment {
            remotes: self.remotes.clone(),
            queue: QueueOptions {
                messages: self.queue_messages,
                bytes: self.queue_bytes,
                raw_tcp: self.raw_tcp_queue,
            },
        }
    }
}
