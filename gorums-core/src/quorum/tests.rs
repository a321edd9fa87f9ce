//! Every rule against a naive model of it: it decides what the model decides, at the earliest reply possible, finds the
//! result out of reach at the earliest reply possible, and never changes its mind.

use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::Quorum;
use crate::error::{ErrorClass, Fault, NodeError, NodeErrorKind};
use crate::id::NodeId;

/// What a node says, or that it failed.
type Said = (NodeId, Option<u8>);

/// What nodes may say.
const VALUES: u8 = 3;
/// A node that is in no configuration.
const STRANGER: u32 = 99;

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn nodes(size: u32) -> Vec<NodeId> {
    (1..=size).map(node).collect()
}

fn reply((node, value): Said) -> Result<u8, NodeError> {
    value.ok_or_else(|| Fault::sent(NodeErrorKind::ConnectionLost, None).at(node, "host:1".into()))
}

/// The replies of up to five nodes in any order.
fn replies() -> impl Strategy<Value = Vec<Said>> {
    (1..=5_u32).prop_flat_map(|size| Just(nodes(size)).prop_shuffle()).prop_flat_map(|nodes| {
        let values = prop::collection::vec(prop::option::weighted(0.7, 0..VALUES), nodes.len());
        values.prop_map(move |values| nodes.iter().copied().zip(values).collect())
    })
}

/// Whether there is a way to go on after which the model decides.
fn can_decide(so_far: &mut Vec<Said>, outstanding: &[NodeId], model: &impl Fn(&[Said]) -> bool) -> bool {
    let Some((next, rest)) = outstanding.split_first() else { return model(so_far) };
    std::iter::once(None).chain((0..VALUES).map(Some)).any(|value| {
        so_far.push((*next, value));
        let decides = can_decide(so_far, rest, model);
        so_far.pop();
        decides
    })
}

/// Feeds a rule with replies, each of them twice and with strangers in between, and compares each of its verdicts.
fn check<R: QuorumRule<u8>>(
    mut rule: R,
    replies: &[Said],
    model: impl Fn(&[Said]) -> bool,
) -> Result<Option<R::Output>, TestCaseError> {
    let mut nodes: Vec<_> = replies.iter().map(|(node, _)| *node).collect();
    nodes.sort_unstable();
    let mut last = rule.begin(&nodes);
    for seen in 0..=replies.len() {
        let (so_far, to_come) = replies.split_at(seen);
        let outstanding: Vec<_> = to_come.iter().map(|(node, _)| *node).collect();
        let expected = if model(so_far) {
            "Decided"
        } else if can_decide(&mut so_far.to_vec(), &outstanding, &model) {
            "Undecided"
        } else {
            "Impossible"
        };
        let got = format!("{last:?}");
        prop_assert!(
            got.starts_with(expected),
            "{got} instead of {expected} after {so_far:?}, to come: {to_come:?}"
        );
        let Some(&next) = to_come.first() else { break };
        let verdict = rule.reply(next.0, reply(next));
        if last != Verdict::Undecided {
            prop_assert_eq!(&verdict, &last, "it changed its mind");
        }
        last = verdict;
        for again in [(next.0, Some(0)), (node(STRANGER), Some(0)), (node(STRANGER), None)] {
            prop_assert_eq!(&rule.reply(again.0, reply(again)), &last, "{:?} counted", again);
        }
    }
    let output = rule.output();
    prop_assert_eq!(output.is_some(), last == Verdict::Decided);
    Ok(output)
}

fn successes(replies: &[Said]) -> Vec<(NodeId, u8)> {
    replies.iter().filter_map(|(node, value)| value.map(|value| (*node, value))).collect()
}

fn succeeded(replies: &[Said], node: NodeId) -> bool {
    replies.iter().any(|reply| reply.0 == node && reply.1.is_some())
}

fn all_of(replies: &[Said], quorum: &[NodeId]) -> bool {
    quorum.iter().all(|node| succeeded(replies, *node))
}

/// Checks a rule that gathers, and that it gives every success.
fn check_gather<S: QuorumSystem>(
    system: S,
    replies: &[Said],
    model: impl Fn(&[Said]) -> bool,
) -> Result<(), TestCaseError> {
    let output = check(gather(system), replies, model)?;
    prop_assert!(output.is_none_or(|output| output == successes(replies)));
    Ok(())
}

/// How many times the most frequent value was said.
fn most(replies: &[Said], key: impl Fn(u8) -> u8) -> usize {
    let of = |wanted| successes(replies).iter().filter(|(_, value)| key(*value) == wanted).count();
    (0..VALUES).map(of).max().unwrap_or(0)
}

fn quorums() -> impl Strategy<Value = Vec<Vec<NodeId>>> {
    prop::collection::vec(prop::collection::vec((1..=6_u32).prop_map(node), 1..4), 0..4)
}

proptest! {
    #[test]
    fn counting(replies in replies(), needed in 0..7_usize) {
        let size = replies.len();
        check_gather(Quorum::First, &replies, |said| !successes(said).is_empty())?;
        check_gather(Quorum::Majority, &replies, |said| 2 * successes(said).len() > size)?;
        check_gather(Quorum::All, &replies, |said| successes(said).len() == size)?;
        check_gather(Quorum::Threshold(needed), &replies, |said| successes(said).len() >= needed.max(1))?;
    }

    #[test]
    fn byzantine(replies in replies(), faults in 0..3_usize) {
        let size = replies.len();
        // Two sets of so many nodes have more than `faults` nodes in common.
        let model = |said: &[Said]| size > 3 * faults && 2 * successes(said).len() > size + faults;
        check_gather(Byzantine { faults }, &replies, model)?;
    }

    #[test]
    fn weighted(replies in replies(), weights in prop::collection::vec(0..4_u64, 1..7), needed in 0..9_u64) {
        let weight = |said: &[Said]| -> u64 {
            (1..).zip(&weights).filter(|(id, _)| succeeded(said, node(*id))).map(|(_, weight)| *weight).sum()
        };
        let system = Weighted::new((1..).map(node).zip(weights.iter().copied()));
        let total: u64 = weights.iter().sum();
        check_gather(system.clone(), &replies, |said| 2 * weight(said) > total)?;
        check_gather(system.needing(needed), &replies, |said| weight(said) >= needed.max(1))?;
    }

    #[test]
    fn grid(replies in replies(), height in 1..=2_u32, width in 1..=3_u32) {
        let at = |row: u32, column: u32| node(row * width + column + 1);
        let grid = Grid::new((0..height).map(|row| (0..width).map(move |column| at(row, column)))).unwrap();
        let row = |said: &[Said]| (0..height).any(|row| (0..width).all(|column| succeeded(said, at(row, column))));
        let column = |said: &[Said]| (0..width).any(|column| (0..height).all(|row| succeeded(said, at(row, column))));
        check_gather(grid.rows(), &replies, row)?;
        check_gather(grid.columns(), &replies, column)?;
        check_gather(grid.rows().and(grid.columns()), &replies, |said| row(said) && column(said))?;
        check_gather(grid.rows().or(grid.columns()), &replies, |said| row(said) || column(said))?;
    }

    #[test]
    fn listed(replies in replies(), quorums in quorums()) {
        let system = Quorums::new(quorums.clone());
        check_gather(&system, &replies, |said| quorums.iter().any(|quorum| all_of(said, quorum)))?;
    }

    #[test]
    fn matches(replies in replies(), needed in 0..5_usize) {
        let enough = needed.max(1);
        let same = |key: fn(u8) -> u8| move |said: &[Said]| most(said, key) >= enough;
        let by_value = check(matching(needed), &replies, same(|value| value))?;
        let by_hash = check(matching_by_hash(needed), &replies, same(|value| value))?;
        prop_assert_eq!(&by_value, &by_hash);
        if let Some(output) = by_value {
            let (_, value) = output[0];
            let same: Vec<_> = successes(&replies).into_iter().filter(|(_, other)| *other == value).collect();
            prop_assert_eq!(output, same, "it gives all that match, and nothing else");
        }
        check(matching_by(needed, |value: &u8| value % 2), &replies, same(|value| value % 2))?;
    }

    #[test]
    fn newest_and_its_holders(replies in replies(), quorums in quorums()) {
        let size = replies.len();
        let output = check(newest(|value: &u8| *value), &replies, |said| 2 * successes(said).len() > size)?;
        if let Some(newest) = output {
            let all = successes(&replies);
            let value = all.iter().map(|(_, value)| *value).max().unwrap();
            let holders: Vec<_> = all.iter().filter(|reply| reply.1 == value).map(|reply| reply.0).collect();
            prop_assert_eq!((newest.value, &newest.holders), (value, &holders));
            prop_assert_eq!(newest.needs_write_back, 2 * holders.len() <= size);
        }
        let rule = newest_of(Quorum::First, Quorums::new(quorums.clone()), |value: &u8| *value);
        if let Some(newest) = check(rule, &replies, |said| !successes(said).is_empty())? {
            let is_held = quorums.iter().any(|quorum| quorum.iter().all(|node| newest.holders.contains(node)));
            prop_assert_eq!(newest.needs_write_back, !is_held);
        }
    }

    #[test]
    fn both_or_either(replies in replies(), quorums in quorums(), needed in 1..4_usize) {
        let listed = || gather(Quorums::new(quorums.clone()));
        let first = |said: &[Said]| quorums.iter().any(|quorum| all_of(said, quorum));
        let second = |said: &[Said]| most(said, |value| value) >= needed;
        let both = check(listed().and(matching(needed)), &replies, |said| first(said) && second(said))?;
        prop_assert!(both.is_none_or(|(gathered, same)| gathered.len() >= same.len()));
        let either = check(listed().or(matching(needed)), &replies, |said| first(said) || second(said))?;
        // The first of the two that has decided, at the reply at which it has.
        let decided = (0..=replies.len()).map(|seen| &replies[..seen]).find(|said| first(said) || second(said));
        prop_assert_eq!(
            either.map(|output| matches!(output, OneOf::First(_))),
            decided.map(first)
        );
        let counted = check(listed().map(|gathered| gathered.len()), &replies, first)?;
        prop_assert!(counted.is_none_or(|count| count == successes(&replies).len()));
    }

    /// Compared with all pairs of subsets.
    #[test]
    fn disjoint(first in quorums(), second in quorums(), old in 1..=5_u32, new in 1..=6_u32, weights: [u8; 5]) {
        let weights = weights.iter().map(|weight| u64::from(weight % 4));
        let weighted = Weighted::new((1..).map(node).zip(weights));
        let (first, second) = (Quorums::new(first), Quorums::new(second));
        let (old, new) = (nodes(old), nodes(new).split_off(new as usize / 3));
        compare(&first, &old, &second, &new)?;
        compare(&Quorum::Majority, &old, &Quorum::Majority, &new)?;
        compare(&weighted, &old, &first.clone().or(weighted.clone()), &old)?;
        compare(&Quorum::Threshold(2), &old, &weighted, &new)?;
    }
}

fn compare<A: QuorumSystem + Debug, B: QuorumSystem + Debug>(
    first: &A,
    first_nodes: &[NodeId],
    second: &B,
    second_nodes: &[NodeId],
) -> Result<(), TestCaseError> {
    let has = |set: u32, nodes: &[NodeId], node: NodeId| nodes.contains(&node) && set >> node.get() & 1 == 1;
    let is_first = |set: u32| first.is_quorum(first_nodes, &|node| has(set, first_nodes, node));
    let is_second = |set: u32| second.is_quorum(second_nodes, &|node| has(set, second_nodes, node));
    let sets = || (0..1_u32 << 6).map(|set| set << 1);
    let exists = sets().filter(|set| is_first(*set)).any(|set| {
        sets().any(|other| {
            let meet =
                first_nodes.iter().any(|&node| has(set, first_nodes, node) && has(other, second_nodes, node));
            !meet && is_second(other)
        })
    });
    let found = disjoint_quorums((first, first_nodes), (second, second_nodes)).unwrap();
    prop_assert_eq!(found.is_some(), exists, "{:?}: {:?} {:?}", found, first, second);
    if let Some(found) = found {
        prop_assert!(!found.first.iter().any(|node| found.second.contains(node)));
        prop_assert!(first.is_quorum(first_nodes, &|node| found.first.contains(&node)));
        prop_assert!(second.is_quorum(second_nodes, &|node| found.second.contains(&node)));
    }
    Ok(())
}

#[test]
fn systems_for_reading_and_writing() {
    let four = nodes(4);
    let grid = Grid::new([[node(1), node(2)], [node(3), node(4)]]).unwrap();
    assert!(ReadWrite::new(&four, grid.rows(), grid.rows().and(grid.columns())).is_ok());
    let error = ReadWrite::new(&four, grid.rows(), grid.columns()).unwrap_err();
    assert!(matches!(error, NoReadWrite::WritesMiss(_)), "{error}");
    let error = ReadWrite::new(&four, Quorum::Threshold(2), Quorum::Threshold(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a read may miss a write: the quorums [NodeId(1), NodeId(2)] and [NodeId(3), NodeId(4)] have no node in common"
    );
    assert!(ReadWrite::new(&four, Quorum::Threshold(2), Quorum::Threshold(3)).is_ok());
    assert!(ReadWrite::new(&four, Quorum::First, Quorum::All).is_ok());
    let error = ReadWrite::new(&nodes(21), Quorum::Majority, Quorum::Majority).unwrap_err();
    assert_eq!(error, NoReadWrite::TooManyNodes(TooManyNodes { nodes: 21 }));
}

#[test]
fn two_byzantine_quorums_have_a_correct_node_in_common() {
    for (faults, size) in [(1, 4), (1, 5), (1, 6), (2, 7), (2, 8)] {
        let nodes = nodes(size);
        // Even if the nodes that lie are in both, which is as if they were in neither configuration.
        let (liars, correct) = nodes.split_at(faults);
        let system = Byzantine { faults };
        let with_liars = WithLiars(system, nodes.len(), liars.to_vec());
        assert_eq!(
            disjoint_quorums((&with_liars, correct), (&with_liars, correct)),
            Ok(None),
            "{faults} of {size}"
        );
        assert!(system.is_quorum(&nodes, &|node| correct.contains(&node)), "liars cannot hold it up");
    }
}

/// Quorums in which nodes that lie always take part.
struct WithLiars(Byzantine, usize, Vec<NodeId>);

impl QuorumSystem for WithLiars {
    fn is_quorum(&self, _: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        let all: Vec<_> = (1..).map(node).take(self.1).collect();
        self.0.is_quorum(&all, &|node| self.2.contains(&node) || has(node))
    }
}

#[test]
fn what_is_no_grid() {
    assert_eq!(Grid::new([vec![node(1), node(2)], vec![node(3)]]), Err(NoGrid));
    assert_eq!(Grid::new([[node(1), node(1)]]), Err(NoGrid));
    assert_eq!(Grid::new([vec![], vec![]]), Err(NoGrid));
    assert_eq!(Grid::new(Vec::<Vec<NodeId>>::new()), Err(NoGrid));
}

#[test]
fn reasons() {
    let mut rule = all::<u8>().or(matching(2));
    rule.begin(&nodes(2));
    let verdict = rule.reply(node(2), reply((node(2), None)));
    let Verdict::Impossible(reason) = verdict else { panic!("{verdict:?}") };
    assert_eq!(
        reason.to_string(),
        "there is no quorum without 2, and 2 nodes had to say the same, and at most 1 can"
    );
    let reason = threshold::<u8>(4).begin(&nodes(3));
    let (failed, class) = (Vec::new(), ErrorClass::Permanent);
    assert_eq!(reason, Verdict::Impossible(Reason::NoQuorum { failed, class }));
}

#[test]
fn what_is_impossible_has_the_class_of_the_failures_that_would_have_to_pass() {
    use ErrorClass::{Permanent, SteppedDown, Transient};
    fn class(
        mut rule: impl QuorumRule<u8>,
        size: u32,
        replies: &[Result<u8, ErrorClass>],
    ) -> Option<ErrorClass> {
        rule.begin(&nodes(size));
        let fault = |class| match class {
            Transient => NodeErrorKind::ConnectionLost,
            SteppedDown => NodeErrorKind::Status(tonic::Status::failed_precondition("")),
            Permanent => NodeErrorKind::Decode,
        };
        let verdicts = nodes(size).into_iter().zip(replies).map(|(node, reply)| {
            let error = |class| Fault::sent(fault(class), None).at(node, "host:1".into());
            rule.reply(node, reply.map_err(error))
        });
        match verdicts.last() {
            Some(Verdict::Impossible(reason)) => reason.class(),
            verdict => panic!("{verdict:?}"),
        }
    }
    let of_majority = |replies: &[_]| class(majority(), 3, replies);
    assert_eq!(of_majority(&[Err(Permanent), Err(Transient)]), Some(Transient));
    assert_eq!(of_majority(&[Err(Permanent), Err(SteppedDown)]), Some(SteppedDown));
    assert_eq!(of_majority(&[Err(SteppedDown), Err(SteppedDown), Err(Transient)]), Some(SteppedDown));
    assert_eq!(of_majority(&[Err(Permanent), Err(Permanent), Err(Transient)]), Some(Permanent));
    let heavy = Weighted::new([(node(1), 3), (node(2), 1), (node(3), 1)]);
    assert_eq!(class(gather(heavy), 3, &[Err(SteppedDown), Err(Transient)]), Some(SteppedDown));
    // That all have said something else does not pass.
    assert_eq!(class(matching(2), 3, &[Ok(1), Ok(2), Err(Transient)]), Some(Transient));
    assert_eq!(class(matching(2), 3, &[Ok(1), Ok(2), Ok(3)]), Some(Permanent));
    let either = matching(2).or(all());
    assert_eq!(class(either, 3, &[Err(SteppedDown), Err(SteppedDown)]), Some(SteppedDown));
}

/// Three times the largest weight is more than the largest number.
#[test]
fn weights_are_added_up_as_they_are() {
    let heavy = Weighted::new(nodes(3).into_iter().map(|node| (node, u64::MAX)));
    assert!(!heavy.is_quorum(&nodes(3), &|it| it == node(1)));
    assert!(heavy.is_quorum(&nodes(3), &|it| it != node(1)));
}
