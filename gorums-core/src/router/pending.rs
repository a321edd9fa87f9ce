//! The calls in flight of one pool, found by message id.
//!
//! Ids are slots with a generation: `generation << 20 | slot`. A slot is reused at once, and a reply that
//! comes late meets a newer generation and finds nothing, so no entry outlives its call (I1, G4). Slots
//! lie in segments that only grow, each behind a lock of its own that is held for a few statements.
//! Lock order: one slot, or the list of free slots, never both.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use tokio::time::Instant;

use crate::error::Fault;
use crate::id::{Initiator, MessageId};
use crate::router::entry::{Effect, Entry, Incoming, Look, Progress, Started};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard};

const SLOT_BITS: u32 = 20;
const MAX_SLOTS: u32 = (1 << SLOT_BITS) - 1;
/// The slot that no call has: ids of one-way calls, which nobody waits for.
const NO_SLOT: u64 = MAX_SLOTS as u64;
/// A model is explored the faster the fewer slots there are.
const FIRST_SEGMENT: u32 = if cfg!(gorums_model) { 1 } else { 64 };
const SEGMENTS: usize = 15;

#[derive(Debug)]
pub(crate) struct PendingTable {
    initiator: Initiator,
    segments: [OnceLock<Box<[Mutex<Slot>]>>; SEGMENTS],
    free: Mutex<FreeList>,
    open: AtomicUsize,
    one_way: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    generation: u64,
    entry: Option<Entry>,
    /// When the call of the last generation started, for the latency of replies that come after its end.
    last_started: Option<Started>,
}

#[derive(Debug, Default)]
struct FreeList {
    returned: Vec<u32>,
    /// Slots from here on were never used.
    unused: u32,
}

impl PendingTable {
    pub(crate) fn new(initiator: Initiator) -> Self {
        Self {
            initiator,
            segments: std::array::from_fn(|_| OnceLock::new()),
            free: Mutex::new(FreeList::default()),
            open: AtomicUsize::new(0),
            one_way: AtomicU64::new(1),
        }
    }

    pub(crate) fn initiator(&self) -> Initiator {
        self.initiator
    }

    /// How many calls are in flight.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Registers a call; `None` when there are a million calls in flight.
    pub(crate) fn register(&self, entry: Entry) -> Option<MessageId> {
        let index = self.take_free()?;
        let mut slot = self.slot(index).lock();
        slot.entry = Some(entry);
        let sequence = slot.generation << SLOT_BITS | u64::from(index);
        drop(slot);
        self.open.fetch_add(1, Relaxed);
        Some(MessageId::new(self.initiator, sequence))
    }

    /// An id for a one-way call that nobody waits for.
    pub(crate) fn one_way_id(&self) -> MessageId {
        let generation = self.one_way.fetch_add(1, Relaxed);
        MessageId::new(self.initiator, generation << SLOT_BITS | NO_SLOT)
    }

    /// Ends a call: its entry is gone when this returns.
    pub(crate) fn remove(&self, id: MessageId) -> Option<Entry> {
        let mut slot = self.lock(id)?;
        let entry = slot.entry.take();
        slot.last_started = entry.as_ref().and_then(Entry::started).cloned();
        slot.generation += 1;
        drop(slot);
        self.free.lock().returned.push(Self::index(id));
        self.open.fetch_sub(1, Relaxed);
        entry
    }

    /// Marks a request as handed to a connection. False if nobody waits for it any more at this node.
    pub(crate) fn sent(&self, id: MessageId, ordinal: u32, epoch: u32) -> bool {
        self.change(id, ordinal, |entry, target| entry.sent(target, epoch))
    }

    /// Marks a request as waiting for a connection again.
    pub(crate) fn requeued(&self, id: MessageId, ordinal: u32) -> bool {
        self.change(id, ordinal, |entry, target| {
            let open = entry.progress(target) != Progress::Settled;
            entry.requeued(target);
            Effect { taken: open, ..Effect::default() }
        })
    }

    /// Delivers what came from a node. False if it came too late, or for a call that was never made.
    pub(crate) fn deliver(&self, id: MessageId, ordinal: u32, incoming: Incoming, now: Instant) -> bool {
        self.change(id, ordinal, |entry, target| entry.deliver(target, incoming, now))
    }

    /// When a node that replies late was asked, unless the slot of the call has been used several times since.
    pub(crate) fn started(&self, id: MessageId, ordinal: u32) -> Option<Instant> {
        let index = Self::index(id);
        if id.initiator() != self.initiator || index == MAX_SLOTS {
            return None;
        }
        let (segment, offset) = place(index);
        let slot = self.segments[segment].get()?[offset].lock();
        let last = slot.generation - 1 == id.sequence() >> SLOT_BITS;
        slot.last_started.as_ref().filter(|_| last).map(|started| started.of(ordinal))
    }

    /// Whether a call still waits for a node.
    pub(crate) fn is_open(&self, id: MessageId, ordinal: u32) -> bool {
        let open = |entry: &mut Entry| {
            entry.targets.position(ordinal).is_some_and(|target| entry.progress(target) != Progress::Settled)
        };
        self.with(id, open).unwrap_or(false)
    }

    /// Fails a call at a node.
    pub(crate) fn fail(&self, id: MessageId, ordinal: u32, fault: Fault) -> bool {
        self.change(id, ordinal, |entry, target| entry.fail(target, fault))
    }

    /// Fails the calls whose request was handed to connection `epoch` of a node.
    pub(crate) fn fail_sent(&self, ordinal: u32, epoch: u32, fault: &Fault) {
        let used = self.free.lock().unused;
        for index in 0..used {
            let mut slot = self.slot(index).lock();
            let Some(entry) = &mut slot.entry else { continue };
            let Some(target) = entry.targets.position(ordinal) else { continue };
            if entry.progress(target) == Progress::Sent(epoch) {
                let effect = entry.fail(target, fault.clone());
                drop(slot);
                wake(effect);
            }
        }
    }

    /// Takes what has come for a call.
    pub(crate) fn look(&self, id: MessageId, waker: &Waker) -> Look {
        match self.lock(id) {
            Some(mut slot) => slot.entry.as_mut().map_or(Look::Done, |entry| entry.look(waker)),
            None => Look::Done,
        }
    }

    /// Changes an entry in any other way.
    pub(crate) fn with<T>(&self, id: MessageId, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.lock(id)?.entry.as_mut().map(change)
    }

    fn change(&self, id: MessageId, ordinal: u32, change: impl FnOnce(&mut Entry, usize) -> Effect) -> bool {
        let Some(mut slot) = self.lock(id) else { return false };
        let Some(entry) = &mut slot.entry else { return false };
        let Some(target) = entry.targets.position(ordinal) else { return false };
        let effect = change(entry, target);
        drop(slot);
        let taken = effect.taken;
        wake(effect);
        taken
    }

    fn index(id: MessageId) -> u32 {
        (id.sequence() & u64::from(MAX_SLOTS)) as u32
    }

    /// The slot of a call, if it is still in flight.
    fn lock(&self, id: MessageId) -> Option<MutexGuard<'_, Slot>> {
        let index = Self::index(id);
        if id.initiator() != self.initiator || index == MAX_SLOTS {
            return None;
        }
        let (segment, offset) = place(index);
        let slot = self.segments[segment].get()?[offset].lock();
        (slot.generation == id.sequence() >> SLOT_BITS && slot.entry.is_some()).then_some(slot)
    }

    fn slot(&self, index: u32) -> &Mutex<Slot> {
        let (segment, offset) = place(index);
        let slots = self.segments[segment].get_or_init(|| {
            let len = FIRST_SEGMENT << segment;
            (0..len).map(|_| Mutex::new(Slot { generation: 1, entry: None, last_started: None })).collect()
        });
        &slots[offset]
    }

    fn take_free(&self) -> Option<u32> {
        let mut free = self.free.lock();
        free.returned.pop().or_else(|| {
            let index = free.unused;
            (index < MAX_SLOTS).then(|| {
                free.unused += 1;
                index
            })
        })
    }
}

/// Wakes the caller; to be called with no lock held.
fn wake(effect: Effect) {
    if let Some(waker) = effect.wake {
        waker.wake();
    }
}

/// Segment `n` has the 64 * 2^n slots from 64 * (2^n - 1) on.
fn place(index: u32) -> (usize, usize) {
    let segment = (index / FIRST_SEGMENT + 1).ilog2();
    let first = FIRST_SEGMENT * ((1 << segment) - 1);
    (segment as usize, (index - first) as usize)
}

#[cfg(test)]
mod streams;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use crate::router::entry::Mode;

    fn entry() -> Entry {
        let nodes = crate::Node::detached(2);
        Entry::new(crate::node::Targets::Many(nodes.members().clone()), Mode::Each, Instant::now())
    }

    fn reply(table: &PendingTable, id: MessageId, ordinal: u32) -> bool {
        table.deliver(id, ordinal, Incoming::Reply(Payload::default()), Instant::now())
    }

    #[test]
    fn a_late_reply_finds_nothing_although_its_slot_is_in_use_again() {
        let table = PendingTable::new(Initiator::Client);
        let old = table.register(entry()).unwrap();
        assert!(table.sent(old, 0, 1));
        assert!(reply(&table, old, 0));
        table.remove(old).unwrap();
        let new = table.register(entry()).unwrap();
        assert_eq!(PendingTable::index(old), PendingTable::index(new));
        assert_ne!(old, new);
        assert!(table.sent(new, 1, 1));
        assert!(!reply(&table, old, 1));
        assert!(table.remove(old).is_none());
        assert!(reply(&table, new, 1));
        assert_eq!(table.open(), 1);
    }

    #[test]
    fn ids_that_were_never_given_find_nothing() {
        let table = PendingTable::new(Initiator::Client);
        let id = table.register(entry()).unwrap();
        assert!(table.sent(id, 0, 1));
        for wrong in [
            MessageId::from_wire(0),
            MessageId::from_wire(u64::MAX),
            MessageId::from_wire(id.to_wire() + 1),
            MessageId::new(Initiator::Server, id.sequence()),
            table.one_way_id(),
        ] {
            assert!(!reply(&table, wrong, 0), "{wrong}");
        }
        assert!(!reply(&table, id, 7), "from a node that was not called");
        assert!(reply(&table, id, 0));
    }

    #[test]
    fn only_what_was_sent_on_the_stream_that_broke_fails() {
        let table = PendingTable::new(Initiator::Client);
        let [queued, sent, resent] = [(); 3].map(|()| table.register(entry()).unwrap());
        assert!(table.sent(sent, 0, 1) && table.sent(resent, 0, 1) && table.sent(resent, 0, 2));
        table.fail_sent(0, 1, &Fault::sent(crate::NodeErrorKind::ConnectionLost, None));
        let failed = |id| !table.is_open(id, 0);
        assert_eq!([queued, sent, resent].map(failed), [false, true, false]);
    }

    /// I1: however many threads race, a call at a node ends exactly once.
    #[test]
    fn exactly_one_of_many_ends_a_call() {
        let table = PendingTable::new(Initiator::Client);
        for _ in 0..2_000 {
            let id = table.register(entry()).unwrap();
            assert!(table.sent(id, 0, 1));
            let ended = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| ended.fetch_add(usize::from(reply(&table, id, 0)), Relaxed));
                let lost = Fault::sent(crate::NodeErrorKind::ConnectionLost, None);
                scope.spawn(|| ended.fetch_add(usize::from(table.fail(id, 0, lost)), Relaxed));
            });
            assert_eq!(ended.into_inner(), 1);
            let mut entry = table.remove(id).unwrap();
            assert_eq!(entry.take_replies().len(), 1);
        }
        assert_eq!(table.open(), 0);
    }

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for index in 0..MAX_SLOTS {
            assert_eq!(place(index), expected);
            expected.1 += 1;
            if expected.1 == (FIRST_SEGMENT as usize) << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(place(MAX_SLOTS - 1).0 < SEGMENTS);
    }
}
