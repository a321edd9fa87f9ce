//! The proposer alone: what it makes of what acceptors say, and of the order in which they say it.
#![allow(clippy::unwrap_used, reason = "a test may")]

use gorums::QuorumErrorKind;
use gorums::testing::MockNodes;

use super::*;

const fn ballot(round: u64, proposer: u32) -> Ballot {
    Ballot { round, proposer }
}

/// An acceptor that has accepted a value in an earlier ballot.
const fn accepted(round: u64, value: u64) -> Promise {
    Promise { accepted: Some(Proposal { ballot: ballot(round, 9), value }) }
}

const NOTHING: Promise = Promise { accepted: None };

/// Three acceptors that accept whatever they are asked to.
fn acceptors() -> (MockNodes<AcceptorMock>, Proposer) {
    let nodes = AcceptorMock::nodes(3);
    for node in &nodes {
        node.accept.replies(());
    }
    let proposer = Proposer::new(1, nodes.configuration());
    (nodes, proposer)
}

#[tokio::test(start_paused = true)]
async fn an_own_value_is_proposed_if_nothing_was_accepted() {
    let (nodes, mut proposer) = acceptors();
    for node in &nodes {
        node.prepare.replies(NOTHING);
    }
    assert_eq!(proposer.propose(7).await.unwrap(), 7);
    for node in &nodes {
        node.accept.received(1).await;
        assert_eq!(node.prepare.requests(), [ballot(1, 1)]);
        assert_eq!(node.accept.requests(), [Proposal { ballot: ballot(1, 1), value: 7 }]);
    }
}

/// Of a majority, and not of whoever else there is: so it matters who answers first.
#[tokio::test(start_paused = true)]
async fn the_value_of_the_latest_ballot_of_a_majority_is_proposed_again() {
    for (order, value) in
        [([0, 1, 2], 11), ([1, 0, 2], 11), ([0, 2, 1], 22), ([2, 1, 0], 22), ([1, 2, 0], 22)]
    {
        let (nodes, mut proposer) = acceptors();
        let mut held: Vec<_> = nodes.iter().map(|node| Some(node.prepare.hold())).collect();
        let promises = [NOTHING, accepted(1, 11), accepted(2, 22)];
        let release = async {
            for node in &nodes {
                node.prepare.received(1).await;
            }
            for node in order {
                held[node].take().unwrap().release(Ok(promises[node]));
            }
        };
        let (chosen, ()) = tokio::join!(proposer.propose(7), release);
        assert_eq!(chosen.unwrap(), value, "{order:?}");
        nodes[0].accept.received(1).await;
        assert_eq!(nodes[0].accept.requests()[0].value, value);
    }
}

/// An acceptor that follows a later ballot is no obstacle; two are, and then nobody is asked to accept.
#[tokio::test(start_paused = true)]
async fn a_majority_that_follows_another_ends_the_attempt() {
    let (nodes, mut proposer) = acceptors();
    let refusal = || Status::failed_precondition("promised to follow a later ballot");
    nodes[0].prepare.fails(refusal());
    nodes[1].prepare.replies(NOTHING);
    nodes[2].prepare.replies(NOTHING);
    assert_eq!(proposer.propose(7).await.unwrap(), 7);

    nodes[1].prepare.fails(refusal());
    let asked = nodes[2].accept.calls();
    let error = proposer.propose(8).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
    assert_eq!(nodes[2].accept.calls(), asked);
    assert_eq!(nodes[2].prepare.requests(), [ballot(1, 1), ballot(2, 1)], "each attempt is a new ballot");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_overtaken_between_its_phases_fails() {
    let (nodes, mut proposer) = acceptors();
    for node in &nodes {
        node.prepare.replies(NOTHING);
    }
    nodes[0].accept.fails(Status::failed_precondition("promised to follow a later ballot"));
    nodes.stop(2).await;
    // One acceptor has promised and then followed another, one is gone: there is no majority.
    let error = proposer.propose(7).await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::Incomplete);
    nodes.start(2).await;
    nodes[0].accept.replies(());
    assert_eq!(proposer.propose(7).await.unwrap(), 7);
}
