//! The requests of one stream that wait for their turn, in order. Pure.

use std::collections::{HashMap, VecDeque};
use std::mem;

use tokio::time::Instant;

use crate::channel::queue::LocalRequest;
use crate::id::MessageId;
use crate::wire::Message;

/// Requests that make a crowd.
const CROWD: usize = 1024;
/// Room for so many requests is kept when none waits. What bounds their number is the stream's window, which they keep.
const MAX_KEPT: usize = 4096;
/// With more requests than this, those that are cancelled are found through an index.
const MAX_SCANNED: usize = 64;
/// Bytes of other messages that may be kept by requests that came together with them, beyond some times their own size.
const MAX_WASTED: usize = 1 << 20;

/// A request as it arrived.
pub(crate) struct Request {
    pub(crate) id: MessageId,
    pub(crate) content: Content,
    /// Its length on the wire.
    pub(crate) size: usize,
    pub(crate) received: Instant,
}

/// The message of a request.
pub(crate) enum Content {
    Received(Message),
    /// From a caller in this process.
    Local(Box<LocalRequest>),
    /// Cancelled before its turn.
    Cancelled,
}

impl Content {
    pub(crate) fn method(&self) -> &str {
        match self {
            Self::Received(message) => message.method(),
            Self::Local(request) => request.method,
            Self::Cancelled => "",
        }
    }

    /// Whether the method has this name.
    pub(crate) fn is_of(&self, method: &str) -> bool {
        match self {
            Self::Received(message) => message.method_bytes() == method.as_bytes(),
            Self::Local(request) => request.method == method,
            Self::Cancelled => false,
        }
    }
}

#[derive(Default)]
pub(crate) struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    /// How many requests have left.
    left: u64,
    /// How many came before each; made when it is first needed, and kept until the queue is empty or tidied up.
    index: Option<HashMap<MessageId, u64>>,
    /// How many have a place only.
    cancelled: usize,
    /// Bytes of what came together with the requests and would be free without them: a request is a slice of what was
    /// received.
    wasted: usize,
    /// How many requests, from the first on, have memory of their own.
    owned: usize,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The size of the requests.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether further requests had better wait elsewhere, if they can.
    pub(crate) fn is_crowded(&self) -> bool {
        self.requests.len() >= CROWD
    }

    pub(crate) fn push(&mut self, request: Request) {
        if let Some(index) = &mut self.index {
            index.insert(request.id, self.left + self.requests.len() as u64);
        }
        self.bytes += request.size;
        self.requests.push_back(request);
    }

    /// The next request that was not cancelled.
    pub(crate) fn pop(&mut self) -> Option<Request> {
        loop {
            let request = self.requests.pop_front()?;
            self.left += 1;
            self.bytes -= request.size;
            self.owned = self.owned.saturating_sub(1);
            let cancelled = matches!(request.content, Content::Cancelled);
            self.cancelled -= usize::from(cancelled);
            if let Some(index) = &mut self.index {
                index.remove(&request.id);
            }
            if self.requests.is_empty() {
                (self.wasted, self.index) = (0, None);
                if self.requests.capacity() > MAX_KEPT {
                    self.requests = VecDeque::new();
                }
            }
            if !cancelled {
                return Some(request);
            }
        }
    }

    /// Forgets a request. False if it does not wait here.
    pub(crate) fn cancel(&mut self, id: MessageId) -> bool {
        let Some(position) = self.position(id) else { return false };
        let request = &mut self.requests[position];
        if matches!(request.content, Content::Cancelled) {
            return false;
        }
        self.bytes -= request.size;
        self.cancelled += 1;
        let size = mem::take(&mut request.size);
        request.content = Content::Cancelled;
        self.waste(size);
        true
    }

    /// So many bytes have come that are none of a request that waits.
    pub(crate) fn waste(&mut self, bytes: usize) {
        if self.requests.is_empty() {
            return;
        }
        self.wasted += bytes;
        let many = self.cancelled > MAX_SCANNED && 2 * self.cancelled > self.requests.len();
        if many || self.wasted > MAX_WASTED + 4 * self.bytes {
            self.tidy_up();
        }
    }

    /// Frees what is kept for nothing. Each request is copied once at most, and so seldom that it costs little.
    fn tidy_up(&mut self) {
        for request in self.requests.iter_mut().skip(self.owned) {
            if let Content::Received(message) = &mut request.content {
                message.detach();
            }
        }
        self.requests.retain(|request| !matches!(request.content, Content::Cancelled));
        (self.owned, self.cancelled, self.wasted, self.index) = (self.requests.len(), 0, 0, None);
    }

    /// Forgets what is behind the last request of a kind.
    pub(crate) fn drop_behind_last(&mut self, of_kind: impl Fn(&str) -> bool) {
        let is_of_kind = |request: &Request| {
            !matches!(request.content, Content::Cancelled) && of_kind(request.content.method())
        };
        let kept = self.requests.iter().rposition(is_of_kind).map_or(0, |last| last + 1);
        self.bytes -= self.requests.drain(kept..).map(|request| request.size).sum::<usize>();
        self.tidy_up();
    }

    fn position(&mut self, id: MessageId) -> Option<usize> {
        if self.index.is_none() && self.requests.len() <= MAX_SCANNED {
            return self.requests.iter().position(|request| request.id == id);
        }
        let (left, requests) = (self.left, &self.requests);
        let index =
            self.index.get_or_insert_with(|| requests.iter().map(|request| request.id).zip(left..).collect());
        index.get(&id).map(|before| (before - left) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use bytes::Bytes;

    use super::*;
    use crate::id::Initiator;

    fn id(number: u64) -> MessageId {
        MessageId::new(Initiator::Client, number)
    }

    fn request(number: u64) -> Request {
        let content = Content::Received(Message::parse(Bytes::new()).unwrap());
        Request { id: id(number), content, size: number as usize % 7, received: Instant::now() }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Pop,
        Cancel(u64),
        Waste(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![4 => Just(Step::Push), 3 => Just(Step::Pop), 2 => (0..400_u64).prop_map(Step::Cancel), 1 => (0..1_usize << 19).prop_map(Step::Waste)];
        prop::collection::vec(step, 0..600)
    }

    /// Behind a request that does not go, others come and are cancelled.
    #[test]
    fn what_is_cancelled_keeps_no_place() {
        let mut waiting = Waiting::default();
        waiting.push(request(0));
        for number in 1..100_000 {
            waiting.push(request(number));
            if number % 10 != 0 {
                assert!(waiting.cancel(id(number)));
            }
        }
        assert!(waiting.requests.len() < 25_000, "{} for 10,000", waiting.requests.len());
        assert!((0..10_000).all(|number| waiting.pop().is_some_and(|request| request.id == id(10 * number))));
        assert!(waiting.pop().is_none());
    }

    #[test]
    fn what_waits_keeps_nothing_that_came_with_it() {
        let piece = Bytes::from([8, 1].repeat(1 << 19));
        let mut waiting = Waiting::default();
        for number in 0..10 {
            let content = Content::Received(Message::parse(piece.slice(..10)).unwrap());
            waiting.push(Request { content, ..request(number) });
        }
        assert!(!piece.is_unique());
        waiting.waste(2 << 20);
        assert!(piece.is_unique(), "requests of 100 bytes keep a mebibyte");
    }

    proptest! {
        #[test]
        fn gives_what_was_not_cancelled_in_order(pushed in 0..300_u64, steps in steps()) {
            let mut waiting = Waiting::default();
            let mut model = VecDeque::new();
            let mut next = 0;
            let steps = std::iter::repeat_n(Step::Push, pushed as usize).chain(steps);
            for step in steps {
                match step {
                    Step::Push => {
                        waiting.push(request(next));
                        model.push_back(next);
                        next += 1;
                    }
                    Step::Pop => prop_assert_eq!(waiting.pop().map(|request| request.id), model.pop_front().map(id)),
                    Step::Cancel(number) => {
                        let found = model.iter().position(|&waits| waits == number);
                        prop_assert_eq!(waiting.cancel(id(number)), found.is_some());
                        found.and_then(|position| model.remove(position));
                    }
                    Step::Waste(bytes) => waiting.waste(bytes),
                }
                prop_assert_eq!(waiting.bytes(), model.iter().map(|number| *number as usize % 7).sum::<usize>());
            }
            let rest: Vec<_> = std::iter::from_fn(|| waiting.pop().map(|request| request.id)).collect();
            prop_assert_eq!(rest, model.into_iter().map(id).collect::<Vec<_>>());
            prop_assert!(waiting.is_empty());
        }
    }
}
