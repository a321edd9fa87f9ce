//! Tests of what streams that break, and callers that go, do to the calls of others.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::payload::Payload;

use super::*;
use crate::error::NodeErrorKind;
use crate::router::entry::{MailboxOverflow, Mode};

fn register(table: &PendingTable, mode: Mode) -> MessageId {
    let targets = crate::node::Targets::Many(crate::Node::detached(1).members().clone());
    table.register(|entry| entry.begin(targets, mode, Instant::now())).unwrap()
}

fn reply(table: &PendingTable, id: MessageId) -> bool {
    table.deliver(id, 0, Incoming::Reply(Payload::default()), Instant::now()).is_ok()
}

fn lost() -> Fault {
    Fault::sent(NodeErrorKind::ConnectionLost, None)
}

/// I3: what waits to be sent again, and what was sent again, is no business of the stream that broke: neither of its
/// end, nor of a reply that comes from it after all.
///
/// After `TestChannelStaleReceiverDoesNotRequeueCurrentPending` of Go Gorums.
#[test]
fn a_stream_that_broke_does_not_touch_what_has_left_it() {
    let table = PendingTable::new(Initiator::Client);
    let [waits, resent, new] = [(); 3].map(|()| register(&table, Mode::Each));
    for id in [waits, resent] {
        assert!(table.sent(id, 0, 1) && table.requeued(id, 0, 1));
    }
    assert!(!reply(&table, waits), "a reply of a stream that has ended");
    assert!(table.sent(resent, 0, 2) && table.sent(new, 0, 2));
    table.fail_sent(0, 1, &lost());
    assert!([waits, resent, new].iter().all(|&id| table.is_open(id, 0)));
    assert!(table.sent(waits, 0, 2));
    assert!([waits, resent, new].iter().all(|&id| reply(&table, id)));
}

/// I1: the end of a stream fails each call on it, also those after one that was given up.
///
/// After `TestChannelLateCancelWatcherRequeuesPending` of Go Gorums.
#[test]
fn a_call_that_is_given_up_late_keeps_no_other_from_its_end() {
    let table = PendingTable::new(Initiator::Client);
    let [cancelled, other] = [(); 2].map(|()| register(&table, Mode::Each));
    assert!(table.sent(cancelled, 0, 1) && table.sent(other, 0, 1));
    assert!(table.end(cancelled, |_| ()).is_some());
    table.fail_sent(0, 1, &lost());
    assert!(table.end(cancelled, |_| ()).is_none());
    let Look::Replies(replies) = table.look(other, Waker::noop()) else { panic!("stranded") };
    assert!(matches!(&replies[0].result, Err(fault) if matches!(fault.kind, NodeErrorKind::ConnectionLost)));
}

/// G2, I6: a reader that delivers to a full mailbox, while its caller goes, is not held up.
///
/// After `TestRouterDeliverPendingDoesNotBlockOnCanceledRequest` of Go Gorums.
#[test]
fn a_caller_that_goes_does_not_block_the_reader() {
    for overflow in [MailboxOverflow::Fail, MailboxOverflow::KeepNewest] {
        let table = PendingTable::new(Initiator::Client);
        for _ in 0..200 {
            let id = register(&table, Mode::Streaming { limit: 1, overflow });
            assert!(table.sent(id, 0, 1));
            let (reads, gone) = (AtomicUsize::new(0), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !gone.load(SeqCst) {
                        reply(&table, id);
                        reads.fetch_add(1, SeqCst);
                    }
                    assert!(!reply(&table, id), "delivered to nobody");
                });
                // More than the mailbox holds.
                while reads.load(SeqCst) < 3 {
                    std::thread::yield_now();
                }
                assert!(table.end(id, |_| ()).is_some());
                gone.store(true, SeqCst);
            });
        }
        assert_eq!(table.open(), 0);
    }
}
