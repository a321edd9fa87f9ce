//! The calls in flight of one pool, found by message id.
//!
//! Ids are slots with a generation: `generation << 20 | slot`. A slot is reused at once, and a reply that
//! comes late meets a newer generation and finds nothing, so no entry outlives its call (I1, G4). Slots
//! lie in segments that only grow, each behind a lock of its own that is held for a few statements.
//! Lock order: one slot, or the list of free slots, never both.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use tokio::time::Instant;

use crate::error::Fault;
use crate::id::{Initiator, MessageId};
use crate::router::entry::{Effect, Entry, Incoming, Look, Progress, Started};
use crate::sync::{Apart, AtomicU64, AtomicUsize, Mutex, MutexGuard};

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
    segments: [OnceLock<Segment>; SEGMENTS],
    free: Apart<Mutex<FreeList>>,
    /// What the list of free slots says, for those who only want to know.
    open: Apart<AtomicUsize>,
    one_way: Apart<AtomicU64>,
}

type Segment = Box<[Apart<Mutex<Slot>>]>;

#[derive(Debug)]
#[repr(C)]
struct Slot {
    generation: u64,
    is_open: bool,
    /// Its memory is used again by the next call.
    entry: Entry,
    /// When the call of the last generation started, for the latency of replies that come after its end.
    last_started: Option<Started>,
}

/// What came from a node was not taken: the call has ended, or was never made.
#[derive(Debug, Default)]
pub(crate) struct Late {
    /// When the node was asked, unless the slot of the call has been used several times since.
    pub(crate) asked: Option<Instant>,
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
            free: Apart::default(),
            open: Apart::default(),
            one_way: Apart(AtomicU64::new(1)),
        }
    }

    pub(crate) fn initiator(&self) -> Initiator {
        self.initiator
    }

    /// How many calls are in flight.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Registers a call, which `begin` puts into its entry; `None` when there are a million calls in flight.
    pub(crate) fn register(&self, begin: impl FnOnce(&mut Entry)) -> Option<MessageId> {
        let index = self.take_free()?;
        let mut slot = self.slot(index).lock();
        begin(&mut slot.entry);
        slot.is_open = true;
        Some(MessageId::new(self.initiator, slot.generation << SLOT_BITS | u64::from(index)))
    }

    /// An id for a one-way call that nobody waits for.
    pub(crate) fn one_way_id(&self) -> MessageId {
        let generation = self.one_way.fetch_add(1, Relaxed);
        MessageId::new(self.initiator, generation << SLOT_BITS | NO_SLOT)
    }

    /// Ends a call: its entry is gone when this returns, after `last` has looked at it.
    pub(crate) fn end<T>(&self, id: MessageId, last: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut slot = self.lock(id)?;
        let result = last(&mut slot.entry);
        slot.last_started = slot.entry.started().cloned();
        let kept = slot.entry.clear();
        slot.is_open = false;
        slot.generation += 1;
        drop(slot);
        // What other code may have a part in is dropped with no lock held.
        drop(kept);
        let mut free = self.free.lock();
        free.returned.push(Self::index(id));
        self.open.store(free.open(), Relaxed);
        Some(result)
    }

    /// Marks a request as handed to a connection. False if nobody waits for it any more at this node.
    pub(crate) fn sent(&self, id: MessageId, ordinal: u32, epoch: u32) -> bool {
        self.change(id, ordinal, |entry, target| entry.sent(target, epoch))
    }

    /// Marks a request that was handed to the connection with number `epoch` as waiting for a connection again. False if it is
    /// not out there: the node has answered, and may be asked once more by another request of the same id.
    pub(crate) fn requeued(&self, id: MessageId, ordinal: u32, epoch: u32) -> bool {
        self.change(id, ordinal, |entry, target| {
            let taken = entry.requeued(target, epoch);
            Effect { taken, ..Effect::default() }
        })
    }

    /// Delivers what came from a node.
    pub(crate) fn deliver(
        &self,
        id: MessageId,
        ordinal: u32,
        incoming: Incoming,
        now: Instant,
    ) -> Result<(), Late> {
        let Some(mut slot) = self.slot_of(id).map(|slot| slot.lock()) else { return Err(Late::default()) };
        let generation = id.sequence() >> SLOT_BITS;
        if generation != slot.generation || !slot.is_open {
            let last = slot.last_started.as_ref().filter(|_| generation == slot.generation - 1);
            return Err(Late { asked: last.map(|started| started.of(ordinal)) });
        }
        let Some(target) = slot.position(ordinal) else { return Err(Late::default()) };
        let effect = slot.entry.deliver(target, incoming, now);
        drop(slot);
        let taken = effect.taken;
        wake(effect);
        if taken { Ok(()) } else { Err(Late::default()) }
    }

    /// Whether a call still waits for a node.
    pub(crate) fn is_open(&self, id: MessageId, ordinal: u32) -> bool {
        let open = |entry: &mut Entry| {
            entry.position(ordinal).is_some_and(|target| entry.progress(target) != Progress::Settled)
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
            let Some(target) = slot.position(ordinal) else { continue };
            if slot.entry.progress(target) == Progress::Sent(epoch) {
                let effect = slot.entry.fail(target, fault.clone());
                drop(slot);
                wake(effect);
            }
        }
    }

    /// How many calls a node still owes a reply.
    pub(crate) fn owed(&self, ordinal: u32) -> usize {
        let used = self.free.lock().unused;
        let owes = |index: &u32| {
            let slot = self.slot(*index).lock();
            slot.position(ordinal).is_some_and(|target| slot.entry.owes(target))
        };
        (0..used).filter(owes).count()
    }

    /// How many calls each node still owes a reply, by ordinal, if it owes any: in one pass, whose cost does not depend on
    /// how many nodes there are.
    pub(crate) fn owed_by_node(&self) -> HashMap<u32, usize> {
        let used = self.free.lock().unused;
        let mut owed = HashMap::new();
        for index in 0..used {
            let slot = self.slot(index).lock();
            if slot.is_open {
                slot.entry.owing().for_each(|ordinal| *owed.entry(ordinal).or_default() += 1);
            }
        }
        owed
    }

    /// Takes what has come for a call.
    pub(crate) fn look(&self, id: MessageId, waker: &Waker) -> Look {
        match self.lock(id) {
            Some(mut slot) => slot.entry.look(waker),
            None => Look::Done,
        }
    }

    /// Changes an entry in any other way.
    pub(crate) fn with<T>(&self, id: MessageId, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.lock(id).map(|mut slot| change(&mut slot.entry))
    }

    fn change(&self, id: MessageId, ordinal: u32, change: impl FnOnce(&mut Entry, usize) -> Effect) -> bool {
        let Some(mut slot) = self.lock(id) else { return false };
        let Some(target) = slot.position(ordinal) else { return false };
        let effect = change(&mut slot.entry, target);
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
        let slot = self.slot_of(id)?.lock();
        (slot.generation == id.sequence() >> SLOT_BITS && slot.is_open).then_some(slot)
    }

    /// The slot that a call has or had, if there is one.
    fn slot_of(&self, id: MessageId) -> Option<&Mutex<Slot>> {
        let index = Self::index(id);
        if id.initiator() != self.initiator || index == MAX_SLOTS {
            return None;
        }
        let (segment, offset) = place(index);
        Some(&self.segments[segment].get()?[offset])
    }

    fn slot(&self, index: u32) -> &Mutex<Slot> {
        let (segment, offset) = place(index);
        let slots = self.segments[segment].get_or_init(|| {
            let len = FIRST_SEGMENT << segment;
            (0..len).map(|_| Apart(Mutex::new(Slot::new()))).collect()
        });
        &slots[offset]
    }

    fn take_free(&self) -> Option<u32> {
        let mut free = self.free.lock();
        let index = free.take()?;
        self.open.store(free.open(), Relaxed);
        Some(index)
    }
}

impl Slot {
    fn new() -> Self {
        // Generations start at 1, so that no id is 0.
        Self { generation: 1, is_open: false, entry: Entry::vacant(), last_started: None }
    }

    /// The target with this ordinal of the call that is here, if there is one.
    fn position(&self, ordinal: u32) -> Option<usize> {
        if self.is_open { self.entry.position(ordinal) } else { None }
    }
}

impl FreeList {
    fn take(&mut self) -> Option<u32> {
        self.returned.pop().or_else(|| {
            let index = self.unused;
            (index < MAX_SLOTS).then(|| {
                self.unused += 1;
                index
            })
        })
    }

    /// How many slots are in use.
    fn open(&self) -> usize {
        self.unused as usize - self.returned.len()
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
    use crate::router::entry::{Mode, RawReplies};

    fn register(table: &PendingTable) -> MessageId {
        let targets = crate::node::Targets::Many(crate::Node::detached(2).members().clone());
        table.register(|entry| entry.begin(targets, Mode::Each, Instant::now())).unwrap()
    }

    fn end(table: &PendingTable, id: MessageId) -> Option<RawReplies> {
        table.end(id, Entry::take_replies)
    }

    fn reply(table: &PendingTable, id: MessageId, ordinal: u32) -> bool {
        table.deliver(id, ordinal, Incoming::Reply(Payload::default()), Instant::now()).is_ok()
    }

    #[test]
    fn a_late_reply_finds_nothing_although_its_slot_is_in_use_again() {
        let table = PendingTable::new(Initiator::Client);
        let old = register(&table);
        assert!(table.sent(old, 0, 1));
        assert!(reply(&table, old, 0));
        end(&table, old).unwrap();
        let new = register(&table);
        assert_eq!(PendingTable::index(old), PendingTable::index(new));
        assert_ne!(old, new);
        assert!(table.sent(new, 1, 1));
        assert!(!reply(&table, old, 1));
        assert!(end(&table, old).is_none());
        assert!(reply(&table, new, 1));
        assert_eq!(table.open(), 1);
    }

    #[test]
    fn ids_that_were_never_given_find_nothing() {
        let table = PendingTable::new(Initiator::Client);
        let id = register(&table);
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
        let [queued, sent, resent] = [(); 3].map(|()| register(&table));
        assert!(table.sent(sent, 0, 1) && table.sent(resent, 0, 1) && table.sent(resent, 0, 2));
        table.fail_sent(0, 1, &Fault::sent(crate::NodeErrorKind::ConnectionLost, None));
        let failed = |id| !table.is_open(id, 0);
        assert_eq!([queued, sent, resent].map(failed), [false, true, false]);
    }

    #[test]
    fn what_nodes_owe_is_the_same_for_all_at_once() {
        let table = PendingTable::new(Initiator::Client);
        assert_eq!(table.owed_by_node(), HashMap::new());
        let [both, one, ended] = [(); 3].map(|()| register(&table));
        assert!(table.sent(both, 0, 1) && table.sent(one, 1, 1) && reply(&table, one, 1));
        end(&table, ended).unwrap();
        assert_eq!(table.owed_by_node(), HashMap::from([(0, 2), (1, 1)]));
        assert_eq!([0, 1].map(|ordinal| table.owed(ordinal)), [2, 1]);
    }

    /// I1: however many threads race, a call at a node ends exactly once.
    #[test]
    fn exactly_one_of_many_ends_a_call() {
        let table = PendingTable::new(Initiator::Client);
        for _ in 0..2_000 {
            let id = register(&table);
            assert!(table.sent(id, 0, 1));
            let ended = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| ended.fetch_add(usize::from(reply(&table, id, 0)), Relaxed));
                let lost = Fault::sent(crate::NodeErrorKind::ConnectionLost, None);
                scope.spawn(|| ended.fetch_add(usize::from(table.fail(id, 0, lost)), Relaxed));
            });
            assert_eq!(ended.into_inner(), 1);
            assert_eq!(end(&table, id).unwrap().len(), 1);
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
