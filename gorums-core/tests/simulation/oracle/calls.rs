//! Calls one by one: when they end, how often they are handled, and what is said of quorums.

use std::collections::BTreeSet;

use gorums_core::{NodeError, NodeErrorKind, QuorumError, QuorumErrorKind};

use super::{Case, SLACK, Verdict};
use crate::plan::{Kind, Plan};
use crate::record::{self, End, Told};
use crate::service::TOLD_TO_FAIL;
use crate::world::TICK;

pub fn judge(plan: &Plan, case: &Case<'_>, verdict: &mut Verdict) {
    let Some((place, end)) = case.end else {
        return verdict.add("G3", format!("{:?} never ends", case.id));
    };
    end.wrong.iter().for_each(|wrong| verdict.wrong.push(format!("{wrong}, in {:?}", case.id)));
    end.nodes.values().for_each(|told| super::count(told, verdict));
    ends_in_time(case, end, verdict);
    for node in 1..=plan.servers {
        handled_as_told(case, node, end.nodes.get(&node), place, verdict);
    }
    match &end.verdict {
        record::Verdict::Succeeded { needed } => has_quorum(case, *needed, place, verdict),
        record::Verdict::OutOfReach(error) => is_out_of_reach(plan, case, error, verdict),
        record::Verdict::Dropped => verdict.count("a call was dropped"),
        record::Verdict::Failed | record::Verdict::Read => {}
    }
    if plan.calm {
        is_calm(case, end, verdict);
    }
}

fn is_late(error: &NodeError) -> bool {
    matches!(error.kind(), NodeErrorKind::DeadlineExceeded)
}

/// A handler did what it was told.
fn is_refusal(error: &NodeError) -> bool {
    error.status().is_some_and(|status| status.code() == TOLD_TO_FAIL)
}

/// G3: not later than the deadline, and not said to be late before it.
fn ends_in_time(case: &Case<'_>, end: &End, verdict: &mut Verdict) {
    let deadline = case.call.timeout;
    if end.after > deadline + SLACK {
        verdict.add("G3", format!("{:?} ended after {:?}, not {deadline:?}", case.id, end.after));
    }
    let late = match &end.verdict {
        record::Verdict::OutOfReach(error) => error.kind() == QuorumErrorKind::DeadlineExceeded,
        _ => false,
    };
    let nodes_late = end.nodes.values().any(|told| matches!(told, Told::Failed(error) if is_late(error)));
    // The clocks of two hosts differ by up to a tick, and each of them may be the one that is asked.
    if (late || nodes_late) && end.after + TICK < deadline {
        let what = format!("{:?} is late after {:?}, with a deadline of {deadline:?}", case.id, end.after);
        verdict.add("G3", what);
    }
}

/// G5: no silent loss, no silent repeat.
fn handled_as_told(case: &Case<'_>, node: u32, told: Option<&Told>, place: usize, verdict: &mut Verdict) {
    let runs = case.runs_at(node);
    let targeted = match case.call.kind {
        Kind::Rpc { node: target } | Kind::Unicast { node: target, .. } => target == node,
        _ => true,
    };
    if !targeted && runs > 0 {
        verdict.add("G5", format!("{:?} was handled at node {node}, which was not called", case.id));
    }
    if runs > 1 {
        verdict.count("a request was repeated");
        if !case.repeats() {
            verdict.add("G5", format!("{:?} was handled {runs} times at node {node}", case.id));
        }
    }
    let before = case.runs.iter().any(|(at, run)| run.node == node && *at < place);
    match told {
        Some(Told::Replied) if !before => {
            verdict.add("G5", format!("{:?} was acknowledged and not handled at node {node}", case.id));
        }
        Some(Told::Failed(error)) if is_refusal(error) && before && case.call.handling.fails => {}
        Some(Told::Failed(error)) if is_refusal(error) => {
            verdict.add("G5", format!("{:?} was refused by nobody at node {node}", case.id));
        }
        Some(Told::Failed(error)) if !error.is_ambiguous() && runs > 0 => {
            verdict.add("G5", format!("{:?} was handled, although it failed for good: {error}", case.id));
        }
        Some(Told::Failed(_)) if runs > 0 => verdict.count("a request that failed was handled"),
        _ => {}
    }
}

/// G3: a quorum that was reached is one.
fn has_quorum(case: &Case<'_>, needed: usize, place: usize, verdict: &mut Verdict) {
    let replied: BTreeSet<_> =
        case.replied.iter().filter(|(at, _)| *at < place).map(|(_, node)| *node).collect();
    if replied.len() < needed {
        verdict.add("G3", format!("{:?} has a quorum of {needed} with replies of {replied:?}", case.id));
    }
}

/// G3: a quorum that is out of reach is so because of nodes that failed, and each node is accounted for.
fn is_out_of_reach(plan: &Plan, case: &Case<'_>, error: &QuorumError, verdict: &mut Verdict) {
    let named: BTreeSet<_> = error.nodes().iter().map(NodeError::node).collect();
    let size = plan.servers as usize;
    if named.len() != error.nodes().len() || error.size() != size || error.replies() + named.len() != size {
        verdict.add("G3", format!("{:?} does not account for each of {size} nodes: {error}", case.id));
    }
    if error.replies() >= error.needed() {
        verdict.add("G3", format!("{:?} had what it needed: {error}", case.id));
    }
    let failed = error.nodes().iter().filter(|node| !matches!(node.kind(), NodeErrorKind::Cancelled)).count();
    let decided = matches!(error.kind(), QuorumErrorKind::Incomplete | QuorumErrorKind::SendFailure);
    if decided && size - failed >= error.needed() {
        verdict.add("G3", format!("{:?} gave up too early: {error}", case.id));
    }
    let replied: BTreeSet<_> = case.replied.iter().map(|(_, node)| node).collect();
    let two_way = !matches!(case.call.kind, Kind::Multicast { .. });
    if two_way && replied.len() < error.replies() {
        verdict.add("G3", format!("{:?} counts replies that were not sent: {error}", case.id));
    }
}

/// When nothing fails, calls end by replies, by their deadlines, and by what the caller does.
fn is_calm(case: &Case<'_>, end: &End, verdict: &mut Verdict) {
    for told in end.nodes.values() {
        if let Told::Failed(error) = told
            && matches!(error.kind(), NodeErrorKind::ConnectionLost | NodeErrorKind::Unavailable)
        {
            verdict.add("G5", format!("{:?} failed although nothing did: {error}", case.id));
        }
    }
}
