//! Models of what tasks share, in which loom explores every interleaving up to a number of preemptions.
//!
//! A wake-up that is lost shows as a deadlock.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use loom::future::block_on;
use loom::thread;
use tokio::time::Instant;

use crate::Configuration;
use crate::channel::Channel;
use crate::channel::queue::{Awaits, Body, Outgoing, Overflow, Queue, QueueLimits};
use crate::error::{Fault, NodeErrorKind};
use crate::id::MessageId;
use crate::node::{Node, Targets};
use crate::parts::{Part, Parts};
use crate::payload::Payload;
use crate::pool::Pool;
use crate::router::entry::{Entry, Incoming, Look, Mode, Progress, RawReplies};
use crate::sync::{AtomicUsize, Ordering::SeqCst};

/// Explores every interleaving with up to three preemptions: more have not been found to show more.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// A client of one node that nothing drives: the model does.
#[derive(Clone)]
struct Client {
    configuration: Configuration,
}

const FIRST_STREAM: u32 = 1;
const SECOND_STREAM: u32 = 2;

impl Client {
    fn new() -> Self {
        Self { configuration: Node::detached(1) }
    }

    fn channel(&self) -> &Arc<Channel> {
        self.configuration.nodes()[0].channel()
    }

    fn pool(&self) -> &Arc<Pool> {
        self.configuration.pool()
    }

    fn register(&self) -> MessageId {
        let targets = Targets::Many(self.configuration.members().clone());
        self.pool().pending().register(|entry| entry.begin(targets, Mode::Each, Instant::now())).unwrap()
    }

    /// Registers a call and offers its request.
    fn start(&self) -> MessageId {
        let id = self.register();
        if let Err(fault) = self.channel().offer(&mut request(id), Instant::now()) {
            self.pool().pending().fail(id, self.channel().ordinal(), fault);
        }
        id
    }

    fn deliver(&self, id: MessageId) -> bool {
        let reply = Incoming::Reply(Payload::default());
        self.pool().pending().deliver(id, self.channel().ordinal(), reply, Instant::now()).is_ok()
    }

    fn sent(&self, id: MessageId, epoch: u32) -> bool {
        self.pool().pending().sent(id, self.channel().ordinal(), epoch)
    }

    /// What a caller does: waits until there is something to take.
    fn replies(&self, id: MessageId) -> RawReplies {
        block_on(poll_fn(|cx| match self.pool().pending().look(id, cx.waker()) {
            Look::Wait => Poll::Pending,
            Look::Replies(replies) => Poll::Ready(replies),
            Look::Done => Poll::Ready(RawReplies::new()),
        }))
    }

    /// What a driver does: takes the next request, or waits for one; `None` once the channel is closed.
    fn take(&self) -> Option<Outgoing> {
        block_on(poll_fn(|cx| {
            self.channel().with_queue(|queue| match queue.pop() {
                Some(request) => Poll::Ready(Some(request)),
                None if queue.is_closed() => Poll::Ready(None),
                None => {
                    queue.park(cx.waker());
                    Poll::Pending
                }
            })
        }))
    }

    /// What a driver does at its end.
    fn end(&self) {
        self.channel().close();
        let failed = self.channel().with_queue(Queue::clear);
        self.channel().fail_unsent(failed, &NodeErrorKind::Closed, None);
    }

    /// What a caller does at its end.
    fn give_up(&self, id: MessageId) {
        let sent = |entry: &mut Entry| matches!(entry.progress(0), Progress::Sent(_));
        if let Some(sent) = self.pool().pending().end(id, sent) {
            self.channel().give_up(id, sent);
        }
    }

    fn check_counts(&self) {
        let counts = self.channel().stats().queue;
        assert_eq!(counts.offered, counts.sent + counts.dropped + counts.failed + counts.queued);
    }
}

fn request(id: MessageId) -> Outgoing {
    Outgoing {
        id,
        body: Body::Shared(Bytes::from_static(b"request")),
        deadline: None,
        awaits: Awaits::Reply,
        overflow: Overflow::Fail,
        priority: crate::Priority::Normal,
        idempotent: false,
        wait_for_ready: false,
        sent_before: false,
        place: 0,
    }
}

/// I1: a reply and a lost connection at once: the call ends once, and its caller is woken.
#[test]
fn a_call_ends_once_and_its_caller_hears_of_it() {
    explore(|| {
        let client = Client::new();
        let id = client.register();
        assert!(client.sent(id, FIRST_STREAM));
        let reader = thread::spawn({
            let client = client.clone();
            move || client.deliver(id)
        });
        let detaching = thread::spawn({
            let client = client.clone();
            move || {
                let lost = Fault::sent(NodeErrorKind::ConnectionLost, None);
                client.pool().pending().fail_sent(client.channel().ordinal(), FIRST_STREAM, &lost);
            }
        });
        let replies = client.replies(id);
        assert_eq!(replies.len(), 1);
        let delivered = reader.join().unwrap();
        detaching.join().unwrap();
        assert_eq!(replies[0].result.is_ok(), delivered);
        assert!(client.replies(id).is_empty());
        client.give_up(id);
        assert_eq!(client.pool().pending().open(), 0);
    });
}

/// I6: at its end a call has taken every reply that was not refused as late: none is lost between two looks.
#[test]
fn a_reply_is_taken_or_late() {
    explore(|| {
        let client = Client::new();
        let id = client.register();
        assert!(client.sent(id, FIRST_STREAM));
        let reader = thread::spawn({
            let client = client.clone();
            move || client.deliver(id)
        });
        let looked = match client.pool().pending().look(id, futures_util::task::noop_waker_ref()) {
            Look::Replies(replies) => replies.len(),
            Look::Wait | Look::Done => 0,
        };
        let last = |entry: &mut Entry| (entry.progress(0), entry.take_replies().len());
        let (progress, left) = client.pool().pending().end(id, last).unwrap();
        let (settled, taken) = (progress == Progress::Settled, looked + left);
        let delivered = reader.join().unwrap();
        assert_eq!((taken, settled), (usize::from(delivered), delivered));
    });
}

/// G4, I3: a reply to a call that is given up at that moment never reaches the call that gets its slot.
#[test]
fn a_late_reply_never_reaches_the_successor() {
    explore(|| {
        let client = Client::new();
        let old = client.register();
        assert!(client.sent(old, FIRST_STREAM));
        let reader = thread::spawn({
            let client = client.clone();
            move || client.deliver(old)
        });
        client.give_up(old);
        let new = client.register();
        assert!(client.sent(new, FIRST_STREAM));
        reader.join().unwrap();
        let open = client.pool().pending().is_open(new, client.channel().ordinal());
        assert!(open, "the reply to {old} has ended {new}");
        client.give_up(new);
        assert_eq!(client.pool().pending().open(), 0);
    });
}

/// I3: what ends with a stream is what was sent on it, whatever calls come and go meanwhile.
#[test]
fn detaching_a_stream_leaves_the_next_one_alone() {
    explore(|| {
        let client = Client::new();
        let old = client.register();
        assert!(client.sent(old, FIRST_STREAM));
        let driver = thread::spawn({
            let client = client.clone();
            move || {
                let lost = Fault::sent(NodeErrorKind::ConnectionLost, None);
                client.pool().pending().fail_sent(client.channel().ordinal(), FIRST_STREAM, &lost);
                let next = client.take().unwrap();
                client.sent(next.id, SECOND_STREAM);
                client.pool().pending().fail_sent(client.channel().ordinal(), FIRST_STREAM, &lost);
            }
        });
        client.give_up(old);
        let new = client.start();
        driver.join().unwrap();
        let progress = client.pool().pending().with(new, |entry| entry.progress(0));
        assert_eq!(progress, Some(Progress::Sent(SECOND_STREAM)));
        client.give_up(new);
    });
}

/// G5: every request that callers queue reaches the driver, whenever that goes to sleep.
#[test]
fn the_driver_hears_of_every_request() {
    explore(|| {
        let client = Client::new();
        let callers = [(); 2].map(|()| {
            let client = client.clone();
            thread::spawn(move || client.start())
        });
        let mut taken = [(); 2].map(|()| client.take().unwrap().id);
        let mut started = callers.map(|caller| caller.join().unwrap());
        taken.sort_by_key(|id| id.to_wire());
        started.sort_by_key(|id| id.to_wire());
        assert_eq!(taken, started);
        client.check_counts();
    });
}

/// G4, G6: a request that is given up was either sent, or is withdrawn and never sent; and it is counted once.
#[test]
fn a_request_is_sent_or_withdrawn() {
    explore(|| {
        let client = Client::new();
        let id = client.start();
        let caller = thread::spawn({
            let client = client.clone();
            move || client.give_up(id)
        });
        let sent = client.channel().with_queue(|queue| queue.pop());
        let awaited = sent.is_some() && client.sent(id, FIRST_STREAM);
        caller.join().unwrap();
        let counts = client.channel().stats().queue;
        assert_eq!((counts.sent, counts.failed), if sent.is_some() { (1, 0) } else { (0, 1) });
        assert!(!awaited || sent.is_some());
        client.check_counts();
        assert_eq!(client.pool().pending().open(), 0);
    });
}

/// G3, I7: a call that starts while its node is closed ends, and nothing stays in the queue.
#[test]
fn a_call_ends_although_its_node_closes() {
    explore(|| {
        let client = Client::new();
        let driver = thread::spawn({
            let client = client.clone();
            move || client.end()
        });
        let id = client.start();
        let replies = client.replies(id);
        assert!(matches!(replies[0].result.as_ref().unwrap_err().kind, NodeErrorKind::Closed));
        driver.join().unwrap();
        assert_eq!(client.channel().stats().queue.queued, 0);
        client.check_counts();
    });
}

/// G6: whoever waits for room in a full queue hears of it.
#[test]
fn who_waits_for_room_hears_of_it() {
    explore(|| {
        let client = Client::new();
        client.channel().with_queue(|queue| {
            *queue = Queue::new(QueueLimits { messages: 1, bytes: 1 });
        });
        let first = client.start();
        let driver = thread::spawn({
            let client = client.clone();
            move || {
                assert_eq!(client.take().unwrap().id, first);
                client.channel().made_room();
            }
        });
        let mut second = request(client.register());
        block_on(client.channel().wait_for_room(&second));
        assert!(client.channel().offer(&mut second, Instant::now()).is_ok());
        driver.join().unwrap();
    });
}

/// A part of a task that is woken is polled, whatever the others do.
#[test]
fn every_part_that_is_woken_is_polled() {
    explore(|| {
        let parts = Arc::new(Parts::<2>::new());
        let woken = Arc::new([(); 2].map(|()| AtomicUsize::new(0)));
        let wakers = [0, 1].map(|part| {
            let (parts, woken) = (parts.clone(), woken.clone());
            thread::spawn(move || {
                woken[part].store(1, SeqCst);
                parts.wake(part);
            })
        });
        let mut seen = [false; 2];
        block_on(poll_fn(|cx| {
            parts.poll(cx, |part, _| {
                seen[part] |= woken[part].load(SeqCst) == 1;
                if seen == [true; 2] { Part::Ready(()) } else { Part::Waits }
            })
        }));
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}
