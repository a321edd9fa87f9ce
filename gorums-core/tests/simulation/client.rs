//! A client that runs its program.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::poll_immediate;
use gorums_core::testing::TurmoilConnector;
use gorums_core::{Configuration, ConfigurationBuilder, Node, QuorumError, Replies};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{OnConfiguration, OnNode};
use crate::faults::server_name;
use crate::plan::{Call, HEALED, Kind, MS, Plan};
use crate::record::{CallId, End, Event, Record, Report, Told, Verdict};
use crate::service::{ADD, Done, NOTE, SET, WATCH, Work};

pub const PORT: u16 = 9_000;

/// Runs the program of a client, and looks at what is left when all faults are over.
pub async fn run(plan: &Plan, client: u32, record: Record) -> turmoil::Result {
    let configuration = builder(plan, client).connect_lazy()?;
    let mut number = 0;
    let mut background = JoinSet::new();
    for step in &plan.programs[client as usize - 1] {
        sleep(step.pause).await;
        let mut calls = JoinSet::new();
        for call in &step.calls {
            number += 1;
            let id = CallId { client, number };
            record.add(Event::Called { id, call: call.clone() });
            let mut running = Box::pin(execute(configuration.clone(), id, call.clone(), record.clone()));
            // Started here and now, so that the order of the calls is that of the program.
            if poll_immediate(&mut running).await.is_none() {
                if step.waits { &mut calls } else { &mut background }.spawn(running);
            }
        }
        join(calls).await;
    }
    join(background).await;
    let pending = pending(&configuration);
    sleep(HEALED.saturating_sub(turmoil::sim_elapsed().unwrap_or_default())).await;
    let recovered = recover(plan, &configuration, CallId { client, number: number + 1 }).await;
    let nodes = configuration.nodes().to_vec();
    let stats = drained(&nodes).await;
    let closing = Instant::now();
    configuration.close().await;
    let report = Report { pending, recovered, stats, closed_after: closing.elapsed() };
    record.add(Event::Finished { client, report });
    Ok(())
}

fn builder(plan: &Plan, client: u32) -> ConfigurationBuilder {
    let options = plan.options;
    Configuration::builder()
        .nodes((1..=plan.servers).map(|server| format!("{}:{PORT}", server_name(server))))
        .connector(TurmoilConnector)
        .jitter_seed(plan.seed ^ u64::from(client) << 32)
        .keepalive(options.keepalive.0, options.keepalive.1)
        .backoff(options.backoff)
        .connect_timeout(options.connect_timeout)
        .queue_limits(options.queue)
}

/// Waits for the ends of calls. What panicked panics here too.
async fn join(mut calls: JoinSet<()>) {
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
}

fn pending(configuration: &Configuration) -> Vec<usize> {
    std::iter::once(configuration.pending()).chain(configuration.iter().map(Node::pending)).collect()
}

/// A call to all nodes, once nothing fails any more.
async fn recover(plan: &Plan, configuration: &Configuration, id: CallId) -> Result<Duration, String> {
    let start = Instant::now();
    let work = Work { client: id.client, number: id.number, ..Work::default() };
    let call = configuration.quorum_call(&SET, work).wait_for_ready(true).timeout(2 * plan.recovery());
    call.all().await.map(|_| start.elapsed()).map_err(|error| error.to_string())
}

/// The counters when what waited for the nodes has gone.
async fn drained(nodes: &[Node]) -> Vec<gorums_core::NodeStats> {
    let stats = || nodes.iter().map(Node::stats).collect::<Vec<_>>();
    let empty = async {
        while stats().iter().any(|stats| stats.queue.queued > 0) {
            sleep(5 * MS).await;
        }
    };
    let _ = timeout(5_000 * MS, empty).await;
    stats()
}

/// Makes a call and records how it ends.
async fn execute(configuration: Configuration, id: CallId, call: Call, record: Record) {
    let start = Instant::now();
    let mut end = End::default();
    let dropped_after = call.dropped_after;
    let running = make(&configuration, id, call, &mut end);
    match dropped_after {
        Some(after) => drop(timeout(after, running).await),
        None => running.await,
    }
    end.after = start.elapsed();
    for node in &configuration {
        let stats = node.stats();
        let queue = stats.queue;
        if queue.offered != queue.sent + queue.dropped + queue.failed + queue.queued {
            end.wrong.push(format!("G6: the counters of {node} do not add up: {queue:?}"));
        }
    }
    record.add(Event::Ended { id, end });
}

async fn make(configuration: &Configuration, id: CallId, call: Call, end: &mut End) {
    let mut work = Work {
        client: id.client,
        number: id.number,
        pause_ms: call.handling.pause.as_millis() as u32,
        releases: call.handling.releases,
        fails: call.handling.fails,
        updates: 0,
        padding: vec![7; call.padding],
    };
    let method = if call.idempotent { &SET } else { &ADD };
    let quorum_call = |work| {
        let described = configuration.quorum_call(method, work);
        described.timeout(call.timeout).wait_for_ready(call.wait_for_ready)
    };
    let size = configuration.len();
    match call.kind {
        Kind::Rpc { node } => {
            let rpc = configuration.node(node).unwrap().rpc(method, work);
            match rpc.timeout(call.timeout).wait_for_ready(call.wait_for_ready).await {
                Ok(done) => {
                    end.reply(id, node, &done);
                    end.verdict = Verdict::Succeeded { needed: 1 };
                }
                Err(error) => {
                    end.told(node, Told::Failed(error));
                    end.verdict = Verdict::Failed;
                }
            }
        }
        Kind::Unicast { node, awaited, overflow } => {
            let unicast = configuration.node(node).unwrap().unicast(&NOTE, work);
            let unicast =
                unicast.timeout(call.timeout).wait_for_ready(call.wait_for_ready).overflow(overflow);
            end.verdict = match if awaited { unicast.await } else { unicast.send() } {
                Ok(()) => Verdict::Succeeded { needed: 0 },
                Err(error) => {
                    end.told(node, Told::Failed(error));
                    Verdict::Failed
                }
            };
        }
        Kind::Multicast { awaited, overflow } => {
            let multicast = OnConfiguration::multicast(configuration, &NOTE, work);
            let multicast =
                multicast.timeout(call.timeout).wait_for_ready(call.wait_for_ready).overflow(overflow);
            let result = if awaited { multicast.await } else { multicast.send() };
            end.quorum(id, 0, result.map(|()| None));
        }
        Kind::First => end.quorum(id, 1, quorum_call(work).first().await.map(Some)),
        Kind::Majority => end.quorum(id, size / 2 + 1, quorum_call(work).majority().await.map(Some)),
        Kind::All => end.quorum(id, size, quorum_call(work).all().await.map(Some)),
        Kind::Threshold(needed) => {
            end.quorum(id, needed, quorum_call(work).threshold(needed).await.map(Some));
        }
        Kind::Replies { read, then } => {
            let mut replies = quorum_call(work).send();
            if end.read(id, &mut replies, read).await
                && let Some(needed) = then
                && needed > read
            {
                end.quorum(id, needed, replies.threshold(needed).await.map(Some));
            }
        }
        Kind::Correctable { level } => {
            let mut correctable = quorum_call(work).correctable(level);
            let result = correctable.done().await.map(|done| Some(done.clone()));
            end.quorum(id, level, result);
        }
        Kind::Streaming { updates, read } => {
            work.updates = updates;
            let streaming = OnConfiguration::streaming_call(configuration, &WATCH, work);
            let streaming = streaming.timeout(call.timeout).wait_for_ready(call.wait_for_ready);
            end.read(id, &mut streaming.send(), read).await;
        }
    }
}

impl End {
    fn told(&mut self, node: u32, told: Told) {
        // A node that has replied to a streaming call may still fail; then what it did is known.
        self.nodes.entry(node).or_insert(told);
    }

    fn reply(&mut self, id: CallId, node: u32, done: &Done) {
        if (done.node, done.number) != (node, id.number) {
            self.wrong.push(format!("I1: {done:?} is the reply of node {node}"));
        }
        self.told(node, Told::Replied);
    }

    fn quorum(&mut self, id: CallId, needed: usize, result: Result<Option<Done>, QuorumError>) {
        match result {
            Ok(done) => {
                if let Some(done) = done {
                    self.reply(id, done.node, &done);
                }
                self.verdict = Verdict::Succeeded { needed };
            }
            Err(error) => {
                for failed in error.nodes() {
                    self.told(failed.node().get(), Told::Failed(failed.clone()));
                }
                self.verdict = Verdict::OutOfReach(error);
            }
        }
    }

    /// Reads some of the replies. False if there are no more.
    async fn read(&mut self, id: CallId, replies: &mut Replies<Done>, count: usize) -> bool {
        let mut expected = BTreeMap::new();
        for _ in 0..count {
            let Some(reply) = replies.next().await else {
                self.verdict = Verdict::Read;
                return false;
            };
            let node = reply.node.get();
            match reply.result {
                Ok(done) => {
                    let next: &mut u32 = expected.entry(node).or_default();
                    if done.update != *next {
                        self.wrong.push(format!("G1: node {node} sent {done:?} as reply number {next}"));
                    }
                    *next += 1;
                    self.reply(id, node, &done);
                }
                Err(error) => self.told(node, Told::Failed(error)),
            }
        }
        self.verdict = Verdict::Read;
        true
    }
}
