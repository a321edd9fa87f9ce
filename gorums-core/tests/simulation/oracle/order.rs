//! G1: the order in which handlers start, and that each waits for its turn.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::record::{Event, Run};
use crate::world::Outcome;

/// What one node has handled for one client so far.
#[derive(Default)]
struct Line {
    /// The last number that was started over each connection.
    last: BTreeMap<u16, u32>,
    /// Every number that was started.
    started: BTreeSet<u32>,
    /// Handlers that let nobody start as yet.
    holding: Vec<Run>,
}

pub fn judge(outcome: &Outcome, verdict: &mut Verdict) {
    let mut lines: BTreeMap<(u32, u32), Line> = BTreeMap::new();
    for (at, event) in &outcome.events {
        match event {
            Event::Started(run) => {
                let line = lines.entry((run.call.client, run.node)).or_default();
                line.start(*run, &mut |what| verdict.add("G1", format!("at {at:?}, {run:?} {what}")));
            }
            Event::Passed(run) => {
                let line = lines.entry((run.call.client, run.node)).or_default();
                line.holding.retain(|holding| holding != run);
            }
            Event::Crashed(node) => {
                let dead = lines.iter_mut().filter(|((_, at), _)| at == node);
                dead.for_each(|(_, line)| line.holding.clear());
            }
            _ => {}
        }
    }
}

impl Line {
    fn start(&mut self, run: Run, wrong: &mut impl FnMut(String)) {
        let number = run.call.number;
        if let Some(last) = self.last.get(&run.connection)
            && *last >= number
        {
            wrong(format!("starts after number {last} of the same connection"));
        }
        if let Some((newer, _)) = self.last.range(run.connection + 1..).next() {
            wrong(format!("starts although connection {newer} is in use"));
        }
        if let Some(later) = self.started.range(number + 1..).next_back()
            && !self.started.contains(&number)
        {
            wrong(format!("starts for the first time after number {later}"));
        }
        if let Some(before) = self.holding.first() {
            wrong(format!("starts while number {} holds the turn", before.call.number));
        }
        self.last.insert(run.connection, number);
        self.started.insert(number);
        self.holding.push(run);
    }
}
