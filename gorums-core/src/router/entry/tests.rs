use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Wake;

use bytes::Bytes;
use tonic::Status;

use super::*;
use crate::call::tally::Quorum;
use crate::node::Node;

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

struct Caller {
    woken: Arc<Woken>,
    waker: Waker,
}

impl Caller {
    fn new() -> Self {
        let woken = Arc::<Woken>::default();
        Self { waker: woken.clone().into(), woken }
    }

    fn times_woken(&self) -> usize {
        self.woken.0.load(SeqCst)
    }
}

fn entry(size: u32, mode: impl FnOnce(usize) -> Mode) -> Entry {
    let targets = Targets::Many(Node::detached(size).members().clone());
    let mut entry = Entry::vacant();
    entry.begin(targets, mode(size as usize), Instant::now());
    entry
}

fn majority(size: usize) -> Mode {
    Mode::Counted(Tally::new(Quorum::Majority, size))
}

fn send(entry: &mut Entry) {
    for target in 0..entry.progress.len() {
        assert!(entry.sent(target, 1).taken);
    }
}

/// Does what the table does with an effect.
fn wake(effect: Effect) -> bool {
    effect.wake.into_iter().for_each(Waker::wake);
    effect.taken
}

fn reply(entry: &mut Entry, target: usize, payload: &'static str) -> bool {
    wake(entry.deliver(target, Incoming::Reply(Payload::Encoded(payload.into())), Instant::now()))
}

fn fail(entry: &mut Entry, target: usize) -> bool {
    let fault = Fault::sent(NodeErrorKind::Status(Status::aborted("")), None);
    wake(entry.deliver(target, Incoming::Failure(fault), Instant::now()))
}

fn replies(look: Look) -> Vec<(usize, bool)> {
    match look {
        Look::Replies(replies) => replies.iter().map(|reply| (reply.target, reply.result.is_ok())).collect(),
        Look::Wait => panic!("nothing to report"),
        Look::Done => Vec::new(),
    }
}

#[test]
fn a_counted_call_wakes_once_at_the_decision() {
    let caller = Caller::new();
    let mut entry = entry(5, majority);
    send(&mut entry);
    assert!(matches!(entry.look(&caller.waker), Look::Wait));
    assert!(reply(&mut entry, 3, "a") && fail(&mut entry, 1) && reply(&mut entry, 0, "b"));
    assert_eq!(caller.times_woken(), 0);
    assert!(reply(&mut entry, 4, "c"));
    assert_eq!(caller.times_woken(), 1);
    assert_eq!(replies(entry.look(&caller.waker)), [(3, true), (1, false), (0, true), (4, true)]);
}

#[test]
fn an_impossible_quorum_wakes_at_once() {
    let caller = Caller::new();
    let mut entry = entry(3, majority);
    send(&mut entry);
    assert!(matches!(entry.look(&caller.waker), Look::Wait));
    fail(&mut entry, 0);
    assert_eq!(caller.times_woken(), 0);
    fail(&mut entry, 1);
    assert_eq!(caller.times_woken(), 1);
}

#[test]
fn a_reply_is_taken_once_and_only_after_the_request_was_sent() {
    let mut entry = entry(2, |_| Mode::Each);
    assert!(!reply(&mut entry, 0, "too early"));
    send(&mut entry);
    assert!(reply(&mut entry, 0, "first"));
    assert!(!reply(&mut entry, 0, "again"));
    assert!(!fail(&mut entry, 0));
    assert!(!entry.owes(0) && entry.owes(1));
    let _ = entry.clear();
    assert!(!entry.owes(1));
}

#[test]
fn an_undecodable_reply_is_counted_out_again() {
    let caller = Caller::new();
    let mut entry = entry(3, majority);
    send(&mut entry);
    reply(&mut entry, 0, "good");
    reply(&mut entry, 1, "bad");
    assert_eq!(replies(entry.look(&caller.waker)).len(), 2);
    assert_eq!(entry.retract(), Outcome::Pending);
    assert!(matches!(entry.look(&caller.waker), Look::Wait));
    reply(&mut entry, 2, "good");
    assert_eq!(caller.times_woken(), 1);
}

#[test]
fn a_one_way_call_ends_with_the_hand_over() {
    let caller = Caller::new();
    let mut entry = entry(2, |size| Mode::Handover(Tally::new(Quorum::All, size)));
    assert!(matches!(entry.look(&caller.waker), Look::Wait));
    assert!(wake(entry.sent(0, 1)));
    assert!(wake(entry.sent(1, 1)));
    assert_eq!(caller.times_woken(), 1);
    assert!(!entry.sent(1, 2).taken);
}

#[test]
fn a_full_mailbox_fails_the_call_everywhere() {
    let mut entry = entry(2, |_| Mode::Streaming { limit: 2, overflow: MailboxOverflow::Fail });
    send(&mut entry);
    for _ in 0..3 {
        reply(&mut entry, 0, "update");
    }
    assert!(!reply(&mut entry, 1, "too late"));
    assert!(!entry.owes(0) && !entry.owes(1));
    let outcomes = replies(entry.look(Waker::noop()));
    assert_eq!(outcomes, [(0, true), (0, true), (0, false), (1, false)]);
}

#[test]
fn keep_newest_replaces_what_was_not_taken() {
    let mut entry = entry(2, |_| Mode::Streaming { limit: 1, overflow: MailboxOverflow::KeepNewest });
    send(&mut entry);
    for update in ["1", "2", "3"] {
        reply(&mut entry, 0, update);
        reply(&mut entry, 1, update);
    }
    let Look::Replies(kept) = entry.look(Waker::noop()) else { panic!("nothing to report") };
    let kept: Vec<_> =
        kept.into_iter().map(|reply| (reply.target, reply.result.unwrap().into_bytes().unwrap())).collect();
    assert_eq!(kept, [(0, Bytes::from("3")), (1, Bytes::from("3"))]);
    assert_eq!(entry.take_dropped(), 4);
}

#[test]
fn a_streaming_call_is_done_when_every_node_has_ended() {
    let caller = Caller::new();
    let mut entry = entry(2, |_| Mode::Streaming { limit: 8, overflow: MailboxOverflow::Fail });
    send(&mut entry);
    assert!(matches!(entry.look(&caller.waker), Look::Wait));
    wake(entry.deliver(0, Incoming::End, Instant::now()));
    assert_eq!(caller.times_woken(), 0);
    wake(entry.deliver(1, Incoming::End, Instant::now()));
    assert_eq!(caller.times_woken(), 1);
    assert!(matches!(entry.look(&caller.waker), Look::Done));
}
