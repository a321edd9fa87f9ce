use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::id::Initiator;

fn request(id: u64, len: usize) -> Outgoing {
    Outgoing {
        id: MessageId::new(Initiator::Client, id),
        body: Body::encode(len, |buf| buf.resize(len, id as u8)),
        deadline: Some(Instant::now() + Duration::from_secs(1)),
        awaits: Awaits::Nothing,
        overflow: Overflow::Fail,
        priority: Priority::Normal,
        idempotent: false,
        wait_for_ready: false,
        sent_before: false,
        place: 0,
    }
}

fn ids(queue: &mut Queue) -> Vec<u64> {
    std::iter::from_fn(|| queue.pop()).map(|request| request.id.sequence()).collect()
}

fn limits(messages: usize, bytes: usize) -> QueueLimits {
    QueueLimits { messages, bytes }
}

#[test]
fn one_oversized_request_is_taken_when_nothing_waits() {
    let mut queue = Queue::new(limits(10, 100));
    assert!(matches!(queue.push(&mut request(1, 1_000), Instant::now()), Push::Queued(_)));
    assert!(matches!(
        queue.push(&mut request(2, 1), Instant::now()),
        Push::Refused(NodeErrorKind::QueueFull, _)
    ));
    assert_eq!(ids(&mut queue), [1]);
}

#[test]
fn drop_oldest_spares_requests_that_await_a_reply() {
    let mut queue = Queue::new(limits(3, 1_000));
    queue.push(&mut Outgoing { awaits: Awaits::Reply, ..request(1, 1) }, Instant::now());
    queue.push(&mut request(2, 1), Instant::now());
    queue.push(&mut request(3, 1), Instant::now());
    let mut newest = Outgoing { overflow: Overflow::DropOldest, ..request(4, 1) };
    let Push::Dropped(dropped, _) = queue.push(&mut newest, Instant::now()) else { panic!("not dropped") };
    assert_eq!(dropped[0].id.sequence(), 2);
    assert_eq!(ids(&mut queue), [1, 3, 4]);
}

#[test]
fn drop_oldest_drops_itself_when_nothing_else_may_go() {
    let mut queue = Queue::new(limits(1, 1_000));
    queue.push(&mut Outgoing { awaits: Awaits::Reply, ..request(1, 1) }, Instant::now());
    let mut newest = Outgoing { overflow: Overflow::DropOldest, ..request(2, 1) };
    assert!(
        matches!(queue.push(&mut newest, Instant::now()), Push::Dropped(dropped, _) if dropped[0].id.sequence() == 2)
    );
    assert_eq!(ids(&mut queue), [1]);
}

#[test]
fn what_nobody_waits_for_any_longer_gives_way() {
    let mut queue = Queue::new(limits(3, 1_000));
    for id in 1..=3 {
        queue.push(&mut Outgoing { awaits: Awaits::Reply, ..request(id, 1) }, Instant::now());
    }
    queue.leave(MessageId::new(Initiator::Client, 2), 2);
    assert!(matches!(queue.push(&mut request(4, 1), Instant::now()), Push::Queued(_)));
    assert!(matches!(
        queue.push(&mut request(5, 1), Instant::now()),
        Push::Refused(NodeErrorKind::QueueFull, _)
    ));
    assert_eq!(queue.counts().dropped, 1);
    assert_eq!(ids(&mut queue), [1, 3, 4]);
}

#[test]
fn expired_requests_behind_a_lasting_one_make_room() {
    let mut queue = Queue::new(limits(3, 1_000));
    let now = Instant::now();
    queue.push(&mut Outgoing { deadline: None, ..request(1, 1) }, now);
    queue.push(&mut request(2, 1), now);
    queue.push(&mut request(3, 1), now);
    assert!(matches!(queue.push(&mut request(4, 1), now + Duration::from_secs(10)), Push::Queued(_)));
}

#[test]
fn what_is_sent_again_comes_before_what_is_new() {
    let mut queue = Queue::new(QueueLimits::default());
    for id in 1..=4 {
        queue.push(&mut request(id, 1), Instant::now());
    }
    let sent: Vec<_> = (0..3).filter_map(|_| queue.pop()).collect();
    queue.push(&mut request(5, 1), Instant::now());
    queue.requeue(sent.into_iter().skip(1));
    assert_eq!(ids(&mut queue), [2, 3, 4, 5]);
}

#[test]
fn a_node_that_is_down_keeps_only_what_wants_to_wait() {
    let mut queue = Queue::new(QueueLimits::default());
    queue.push(&mut request(1, 1), Instant::now());
    queue.push(&mut Outgoing { wait_for_ready: true, ..request(2, 1) }, Instant::now());
    let failed = queue.go_down(None);
    assert_eq!(failed.iter().map(|request| request.id.sequence()).collect::<Vec<_>>(), [1]);
    assert!(matches!(
        queue.push(&mut request(3, 1), Instant::now()),
        Push::Refused(NodeErrorKind::Unavailable, _)
    ));
    queue.go_up();
    queue.push(&mut request(4, 1), Instant::now());
    assert_eq!(ids(&mut queue), [2, 4]);
}

#[test]
fn a_closed_queue_takes_nothing_and_keeps_what_waits() {
    let mut queue = Queue::new(QueueLimits::default());
    queue.push(&mut request(1, 1), Instant::now());
    queue.close();
    assert!(matches!(
        queue.push(&mut request(2, 1), Instant::now()),
        Push::Refused(NodeErrorKind::Closed, _)
    ));
    queue.go_up();
    queue.go_down(None);
    assert!(queue.is_closed());
    assert_eq!(ids(&mut queue), [1]);
}

/// A driver that waits for the peer to take more is not woken for each further request, but for anything else.
fn control(id: u64) -> Outgoing {
    Outgoing { priority: Priority::Control, awaits: Awaits::Reply, ..request(id, 1) }
}

#[test]
fn control_passes_what_waits_and_has_room_of_its_own() {
    let mut queue = Queue::new(limits(2, 1_000));
    let now = Instant::now();
    for mut request in [request(1, 1), request(2, 1), control(3), control(4)] {
        assert!(matches!(queue.push(&mut request, now), Push::Queued(_)));
    }
    for mut request in [request(5, 1), control(6)] {
        assert!(!queue.has_room(&request));
        assert!(matches!(queue.push(&mut request, now), Push::Refused(NodeErrorKind::QueueFull, _)));
    }
    assert!(queue.withdraw(MessageId::new(Initiator::Client, 3)));
    queue.push(&mut control(7), now);
    queue.leave(MessageId::new(Initiator::Client, 4), 2);
    // The call of request 4 has ended: it gives way to another one of control, not to a normal one.
    assert!(matches!(queue.push(&mut request(8, 1), now), Push::Refused(..)));
    assert!(matches!(queue.push(&mut control(9), now), Push::Queued(_)));
    assert_eq!(ids(&mut queue), [7, 9, 1, 2]);
}

#[test]
fn nothing_passes_control_that_does_not_fit() {
    let mut queue = Queue::new(QueueLimits::default());
    for mut request in [request(1, 5), Outgoing { priority: Priority::Control, ..request(2, 50) }] {
        queue.push(&mut request, Instant::now());
    }
    let mut taken = VecDeque::new();
    queue.take(20, false, &mut taken);
    assert!(taken.is_empty());
    queue.take(60, false, &mut taken);
    assert_eq!(taken.iter().map(|request| request.id.sequence()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn control_that_is_sent_again_comes_first_again() {
    let mut queue = Queue::new(QueueLimits::default());
    for mut request in [request(1, 1), control(2), request(3, 1)] {
        queue.push(&mut request, Instant::now());
    }
    let sent: Vec<_> = (0..2).filter_map(|_| queue.pop()).collect();
    queue.push(&mut control(4), Instant::now());
    queue.requeue(sent.into_iter());
    assert_eq!(ids(&mut queue), [2, 4, 1, 3]);
}

#[test]
fn requests_do_not_wake_a_driver_that_waits_for_room() {
    let mut queue = Queue::new(QueueLimits::default());
    queue.park_for_room(Waker::noop());
    assert!(matches!(queue.push(&mut request(1, 1), Instant::now()), Push::Queued(None)));
    assert!(queue.push_reply(|_| {}).is_some());
    queue.park_for_room(Waker::noop());
    assert!(queue.close().is_some());
    let mut queue = Queue::new(QueueLimits::default());
    queue.park_for_room(Waker::noop());
    queue.unpark();
    queue.park(Waker::noop());
    assert!(matches!(queue.push(&mut request(1, 1), Instant::now()), Push::Queued(Some(_))));
}

#[derive(Clone, Debug)]
enum Step {
    Push { len: usize, overflow: Overflow, wait_for_ready: bool, awaits: Awaits, priority: Priority },
    Pop { room: usize, any: bool, unsent: bool, requeue: bool },
    Withdraw(u64),
    Leave(u64),
    Down,
    Up,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let overflow = prop_oneof![
        Just(Overflow::Fail),
        Just(Overflow::Wait),
        Just(Overflow::DropNewest),
        Just(Overflow::DropOldest)
    ];
    let awaits = prop_oneof![Just(Awaits::Reply), Just(Awaits::Handover), Just(Awaits::Nothing)];
    let priority = prop_oneof![3 => Just(Priority::Normal), 1 => Just(Priority::Control)];
    prop_oneof![
        4 => (0..60_usize, overflow, any::<bool>(), awaits, priority).prop_map(
            |(len, overflow, wait_for_ready, awaits, priority)| {
                Step::Push { len, overflow, wait_for_ready, awaits, priority }
            },
        ),
        3 => (0..60_usize, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(room, any, unsent, requeue)| Step::Pop { room, any, unsent, requeue }),
        1 => (0..40_u64).prop_map(Step::Withdraw),
        1 => (0..40_u64).prop_map(Step::Leave),
        1 => Just(Step::Down),
        1 => Just(Step::Up),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    /// G6: whatever happens, the counts add up, the bounds hold, and what is left is in order.
    #[test]
    fn counts_add_up_and_bounds_hold(steps in prop::collection::vec(step(), 0..200)) {
        let bounds = limits(8, 100);
        let mut queue = Queue::new(bounds);
        let mut next = 0;
        for step in steps {
            match step {
                Step::Push { len, overflow, wait_for_ready, awaits, priority } => {
                    next += 1;
                    let request = request(next, len);
                    let mut request = Outgoing { awaits, overflow, priority, wait_for_ready, ..request };
                    queue.push(&mut request, Instant::now());
                }
                Step::Pop { room, any, unsent, requeue } => {
                    let mut taken = VecDeque::new();
                    let mut copied = queue.take(room, any, &mut taken);
                    let bytes: usize = taken.iter().map(Outgoing::len).sum();
                    prop_assert!(bytes <= room || any && taken.len() == 1);
                    prop_assert!(taken.iter().is_sorted_by_key(|request| request.priority == Priority::Normal));
                    for request in &mut taken {
                        let message = match &request.body {
                            Body::Shared(message) => message.clone(),
                            _ => copied.split_to(request.copied_len()).freeze(),
                        };
                        prop_assert!(message.iter().all(|byte| *byte == request.id.sequence() as u8));
                        request.body = Body::Shared(message);
                    }
                    prop_assert!(copied.is_empty());
                    if unsent {
                        (0..taken.len()).for_each(|_| queue.unsent());
                    } else if requeue {
                        queue.requeue(taken.into_iter());
                    }
                }
                Step::Withdraw(id) => {
                    queue.withdraw(MessageId::new(Initiator::Client, id));
                }
                Step::Leave(id) => {
                    let id = MessageId::new(Initiator::Client, id);
                    let mut waiting = queue.normal.requests().chain(queue.control.requests());
                    let place = waiting.find(|request| request.id == id).map_or(0, |request| request.place);
                    drop(waiting);
                    queue.leave(id, place);
                }
                Step::Down => drop(queue.go_down(None)),
                Step::Up => queue.go_up(),
                Step::Clear => drop(queue.clear()),
            }
            let counts = queue.counts();
            prop_assert_eq!(counts.offered, counts.sent + counts.dropped + counts.failed + counts.queued);
            let mut queued_bytes = 0;
            for lane in [&queue.normal, &queue.control] {
                let bytes: usize = lane.requests().map(Outgoing::len).sum();
                queued_bytes += bytes;
                prop_assert!(lane.len() <= bounds.messages);
                prop_assert!(lane.len() <= 1 || bytes <= bounds.bytes);
                prop_assert!(lane.requests().map(|request| request.id).is_sorted());
                prop_assert_eq!(lane.copied_len(), lane.requests().map(Outgoing::copied_len).sum::<usize>());
            }
            prop_assert_eq!(counts.queued_bytes as usize, queued_bytes);
            prop_assert_eq!(counts.queued as usize, queue.normal.len() + queue.control.len());
        }
    }
}
