//! Judges what happened in a simulation by the guarantees of ARCHITECTURE.md.

#[path = "oracle/calls.rs"]
mod calls;
#[path = "oracle/lost.rs"]
mod lost;
#[path = "oracle/order.rs"]
mod order;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use gorums_core::NodeErrorKind;

use crate::plan::{Call, Kind, Plan};
use crate::record::{CallId, End, Event, Report, Run, Told};
use crate::world::Outcome;

/// What is wrong, each with the number of the guarantee that it breaks.
#[derive(Default)]
pub struct Verdict {
    pub wrong: Vec<String>,
    /// How often calls ended in each way, as evidence that the simulation is worth something.
    pub seen: BTreeMap<&'static str, usize>,
}

/// All there is to know of one call. Places are those of events.
pub struct Case<'a> {
    pub id: CallId,
    pub call: &'a Call,
    pub end: Option<(usize, &'a End)>,
    pub runs: Vec<(usize, Run)>,
    /// The nodes that returned a reply.
    pub replied: Vec<(usize, u32)>,
}

/// Time that a call may take beyond its deadline: clocks go by milliseconds.
const SLACK: Duration = Duration::from_millis(5);
/// The drain timeout of a configuration, and some time for its tasks to end.
const CLOSING: Duration = Duration::from_millis(1_200);

pub fn judge(outcome: &Outcome) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(error) = &outcome.error {
        verdict.add("G3", format!("the simulation did not end well: {error}"));
    }
    for panic in &outcome.panics {
        verdict.add("G9", panic);
    }
    for (node, stats) in &outcome.left_open {
        verdict.add("G4", format!("server {node} has open long after its clients have gone: {stats:?}"));
    }
    let cases = cases(outcome);
    for case in cases.values() {
        calls::judge(&outcome.plan, case, &mut verdict);
    }
    order::judge(outcome, &mut verdict);
    lost::judge(&cases, &mut verdict);
    let mut finished = 0;
    for (_, event) in &outcome.events {
        if let Event::Finished { client, report } = event {
            finished += 1;
            judge_report(&outcome.plan, *client, report, &mut verdict);
        }
    }
    if finished != outcome.plan.clients {
        verdict.add("G3", format!("{finished} of {} clients came to their end", outcome.plan.clients));
    }
    verdict
}

impl Verdict {
    fn add(&mut self, guarantee: &str, what: impl Display) {
        self.wrong.push(format!("{guarantee}: {what}"));
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

fn cases(outcome: &Outcome) -> BTreeMap<CallId, Case<'_>> {
    let mut cases: BTreeMap<CallId, Case<'_>> = BTreeMap::new();
    for (place, (_, event)) in outcome.events.iter().enumerate() {
        match event {
            Event::Called { id, call } => {
                let case = Case { id: *id, call, end: None, runs: Vec::new(), replied: Vec::new() };
                cases.insert(*id, case);
            }
            Event::Started(run) => {
                cases.entry(run.call).and_modify(|case| case.runs.push((place, *run)));
            }
            Event::Replied(run) => {
                cases.entry(run.call).and_modify(|case| case.replied.push((place, run.node)));
            }
            Event::Ended { id, end } => {
                cases.entry(*id).and_modify(|case| case.end = Some((place, end)));
            }
            Event::Passed(_) | Event::Crashed(_) | Event::Finished { .. } => {}
        }
    }
    cases
}

impl Case<'_> {
    /// Whether its requests may be handled more than once.
    pub fn repeats(&self) -> bool {
        let one_reply =
            !matches!(self.call.kind, Kind::Unicast { .. } | Kind::Multicast { .. } | Kind::Streaming { .. });
        self.call.idempotent && one_reply
    }

    pub fn runs_at(&self, node: u32) -> usize {
        self.runs.iter().filter(|(_, run)| run.node == node).count()
    }
}

/// G4, G6, G7 and I7: what is left when all is over.
fn judge_report(plan: &Plan, client: u32, report: &Report, verdict: &mut Verdict) {
    if report.pending.iter().any(|&pending| pending > 0) {
        verdict
            .add("G4", format!("client {client} has calls in flight after all ended: {:?}", report.pending));
    }
    match &report.recovered {
        Ok(time) if *time > plan.recovery() => {
            verdict.add("G7", format!("client {client} recovered after {time:?}, not {:?}", plan.recovery()));
        }
        Ok(_) => {}
        Err(error) => verdict.add("G7", format!("client {client} did not recover: {error}")),
    }
    for (index, stats) in report.stats.iter().enumerate() {
        let queue = stats.queue;
        if stats.pending > 0 || queue.queued > 0 || queue.queued_bytes > 0 {
            verdict.add("G4", format!("client {client} has left to node {}: {stats:?}", index + 1));
        }
        if queue.offered != queue.sent + queue.dropped + queue.failed {
            verdict.add("G6", format!("client {client} has lost count at node {}: {queue:?}", index + 1));
        }
        if stats.connections > 1 {
            verdict.count("a node was connected to again");
        }
    }
    if report.closed_after > CLOSING {
        verdict.add("I7", format!("closing took client {client} {:?}", report.closed_after));
    }
}

/// Counts in which ways nodes failed.
fn count(told: &Told, verdict: &mut Verdict) {
    let Told::Failed(error) = told else {
        return verdict.count("a node replied");
    };
    verdict.count(match error.kind() {
        NodeErrorKind::Status(_) => "a handler said no",
        NodeErrorKind::Unavailable => "a node was unavailable",
        NodeErrorKind::ConnectionLost => "a connection was lost",
        NodeErrorKind::DeadlineExceeded => "a deadline passed",
        NodeErrorKind::Cancelled => "a node was not waited for",
        NodeErrorKind::QueueFull => "a queue was full",
        _ => "another failure",
    });
}
