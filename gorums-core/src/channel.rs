//! The way to one node: what its handles, and the task that owns its connection, share.
//!
//! Callers put requests into the [queue] and never wait. One task, the [driver], takes them out and writes
//! them; it runs over a dialled connection ([outbound]), over one that was accepted, or in process
//! ([local]). The lock on the queue is held for a few statements, takes no other lock, and no waker runs
//! under it (I4).

pub(crate) mod batch;
pub(crate) mod callbacks;
pub(crate) mod driver;
mod drops;
pub(crate) mod keepalive;
pub(crate) mod link;
pub(crate) mod local;
pub(crate) mod outbound;
pub(crate) mod queue;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderValue;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::channel::drops::DropLog;
use crate::channel::queue::{Awaits, Outgoing, Push, Queue, QueueLimits};
use crate::error::{Fault, NodeErrorKind, Source};
use crate::id::{MessageId, NodeId};
use crate::pool::Pool;
use crate::stats::{Counters, NodeStats};
use crate::sync::{Apart, Mutex};
use crate::wire;

/// A day: what counts as never.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// How it stands with the connection.
#[derive(Clone, Debug)]
pub(crate) enum Connectivity {
    /// Not asked for yet, or being dialled.
    Waiting,
    Up,
    /// The last dial failed, or the connection broke.
    Down(Source),
    /// There will be no connection any more.
    Closed,
}

pub(crate) struct Channel {
    id: NodeId,
    address: Arc<str>,
    /// Numbers the channels of a pool, so that calls need not compare ids.
    ordinal: u32,
    /// Drawn at random, as a secret of this end and the node.
    name: u128,
    pool: Arc<Pool>,
    counters: Apart<Counters>,
    queue: Apart<Mutex<Queue>>,
    /// The replies in the queue, in bytes: looked at for every request that is started.
    reply_bytes: Apart<AtomicUsize>,
    /// Notified when there may be room in the queue.
    room: Notify,
    connectivity: watch::Sender<Connectivity>,
    /// The peer wants to hear of requests that are given up.
    hears_cancel: AtomicBool,
    drop_log: DropLog,
    /// A connection is wanted although nothing waits to be sent.
    wanted: AtomicBool,
    /// The node has shown that it runs, and no dial has succeeded since.
    sighted: AtomicBool,
    closed_at: OnceLock<Instant>,
    is_local: bool,
}

impl Channel {
    /// The way to another process.
    pub(crate) fn new(pool: Arc<Pool>, id: NodeId, address: Arc<str>, limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self::to(pool, id, address, limits, false))
    }

    /// The way to the handlers of this process.
    pub(crate) fn local(pool: Arc<Pool>, id: NodeId, address: Arc<str>, limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self::to(pool, id, address, limits, true))
    }

    fn to(pool: Arc<Pool>, id: NodeId, address: Arc<str>, limits: QueueLimits, is_local: bool) -> Self {
        Self {
            id,
            address,
            ordinal: pool.next_ordinal(),
            name: rand::random(),
            pool,
            counters: Apart::default(),
            queue: Apart(Mutex::new(Queue::new(limits))),
            reply_bytes: Apart::default(),
            room: Notify::new(),
            connectivity: watch::Sender::new(Connectivity::Waiting),
            hears_cancel: AtomicBool::new(false),
            drop_log: DropLog::default(),
            wanted: AtomicBool::new(false),
            sighted: AtomicBool::new(false),
            closed_at: OnceLock::new(),
            is_local,
        }
    }

    /// Whether it leads to the handlers of this process.
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn address(&self) -> &Arc<str> {
        &self.address
    }

    pub(crate) fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// What tells the node that the streams of this channel are one client's, and which of them is the newest. No other
    /// node learns this name, so that none can end a stream by opening a newer one in its place.
    pub(crate) fn client_name(&self, dial: u64) -> HeaderValue {
        let name = format!("{:032x}-{dial}", self.name);
        HeaderValue::try_from(name).unwrap_or_else(|_| unreachable!("digits and punctuation"))
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn drop_log(&self) -> &DropLog {
        &self.drop_log
    }

    /// How many calls the node still owes a reply. Looks at all calls in flight.
    pub(crate) fn pending(&self) -> usize {
        self.pool.pending().owed(self.ordinal)
    }

    pub(crate) fn stats(&self) -> NodeStats {
        self.stats_owing(self.pending())
    }

    /// The counters, where it is known how many calls the node owes a reply.
    pub(crate) fn stats_owing(&self, pending: usize) -> NodeStats {
        let queue = self.queue.lock().counts();
        self.counters.snapshot(queue, pending)
    }

    pub(crate) fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.connectivity.subscribe()
    }

    pub(crate) fn set_connectivity(&self, state: Connectivity) {
        if let Connectivity::Down(_) = &state {
            self.hears_cancel.store(false, Relaxed);
        }
        self.connectivity.send_replace(state);
    }

    /// Why there is no connection, if the last attempt failed.
    pub(crate) fn down_because(&self) -> Option<Source> {
        match &*self.connectivity.borrow() {
            Connectivity::Down(source) => Some(source.clone()),
            Connectivity::Waiting | Connectivity::Up | Connectivity::Closed => None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(*self.connectivity.borrow(), Connectivity::Up)
    }

    pub(crate) fn set_hears_cancel(&self) {
        self.hears_cancel.store(true, Relaxed);
    }

    /// Offers a request to the queue, without waiting. One that is to wait for room is
    /// [`QueueFull`](NodeErrorKind::QueueFull) as any other, but is not counted as failed: that is up to whoever waits.
    pub(crate) fn offer(self: &Arc<Self>, request: &mut Outgoing, now: Instant) -> Result<(), Fault> {
        let (pushed, drops) = self.with_queue(|queue| {
            let before = queue.dropped();
            let pushed = queue.push(request, now);
            (pushed, queue.dropped() > before)
        });
        if drops {
            drops::dropped(self);
        }
        match pushed {
            Push::Queued(waker) => wake(waker),
            Push::Dropped(dropped, waker) => {
                wake(waker);
                self.dropped(&dropped);
            }
            Push::Full => return Err(Fault::unsent(NodeErrorKind::QueueFull, None)),
            Push::Refused(kind, source) => {
                self.counters.failed(kind.clone());
                return Err(Fault::unsent(kind, source));
            }
        }
        Ok(())
    }

    /// Waits until a request has room, or would be refused for good.
    pub(crate) async fn wait_for_room(&self, request: &Outgoing) {
        loop {
            let notified = self.room.notified();
            if self.queue.lock().has_room(request) {
                return;
            }
            notified.await;
        }
    }

    /// A request that was to wait for room was given up before there was any.
    pub(crate) fn gave_up_waiting(&self) {
        self.with_queue(Queue::gave_up);
        self.counters.failed(NodeErrorKind::QueueFull);
    }

    /// A call was given up: its request is withdrawn if it was not sent, else the node is told.
    pub(crate) fn give_up(&self, id: MessageId, sent: bool) {
        if !sent && self.queue.lock().withdraw(id) {
            self.room.notify_waiters();
        } else if self.hears_cancel.load(Relaxed) {
            self.reply(|buf| wire::encode(buf, &wire::Outline::reply(id.to_wire(), wire::CANCEL), 0, |_| {}));
        }
    }

    /// The call of a request, which got this place in the queue, has succeeded: if it still waits here, it no longer counts.
    pub(crate) fn leave(&self, id: MessageId, place: u64) {
        self.queue.lock().leave(id, place);
    }

    /// Queues a reply or a control message, which always has room.
    pub(crate) fn reply(&self, encode: impl FnOnce(&mut BytesMut)) {
        wake(self.with_queue(|queue| queue.push_reply(encode)));
    }

    /// Bytes of replies that wait to be written.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.reply_bytes.load(Relaxed)
    }

    pub(crate) async fn wait_for_replies_below(&self, bytes: usize) {
        loop {
            let notified = self.room.notified();
            if self.with_queue(|queue| queue.reply_bytes() < bytes || queue.is_closed()) {
                return;
            }
            notified.await;
        }
    }

    /// Makes the driver look again.
    pub(crate) fn wake(&self) {
        let waker = self.queue.lock().wake();
        wake(waker);
    }

    /// Takes no more requests; the driver writes what waits, if it can, and then ends.
    pub(crate) fn close(&self) {
        self.closed_at.get_or_init(Instant::now);
        let waker = self.queue.lock().close();
        wake(waker);
        self.room.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().is_closed()
    }

    /// When the driver of a closed channel gives up what it could not write.
    pub(crate) fn drained_by(&self) -> Option<Instant> {
        let closed_at = *self.closed_at.get()?;
        closed_at.checked_add(self.pool.options().drain_timeout).or_else(|| closed_at.checked_add(NEVER))
    }

    /// Asks for a connection although nothing waits to be sent.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Relaxed);
        self.wake();
    }

    /// Ready when a connection is wanted, or never will be.
    pub(crate) fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_queue(cx, |queue| !queue.is_empty() || queue.is_closed() || self.wanted.load(Relaxed))
    }

    /// The node has dialled this process, so it runs: what was learnt from dials that failed is out of date. Requests
    /// wait for the next dial, which begins at once.
    pub(crate) fn sighted(&self) {
        if !self.is_up() {
            self.sighted.store(true, Relaxed);
            self.with_queue(Queue::go_up);
            self.wake();
        }
    }

    /// Whether the node was sighted since this was last asked.
    pub(crate) fn take_sighting(&self) -> bool {
        self.sighted.swap(false, Relaxed)
    }

    /// Ready when the node was sighted.
    pub(crate) fn poll_sighted(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_queue(cx, |_| self.take_sighting())
    }

    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_queue(cx, Queue::is_closed)
    }

    fn poll_queue(&self, cx: &mut Context<'_>, ready: impl FnOnce(&Queue) -> bool) -> Poll<()> {
        let mut queue = self.queue.lock();
        if ready(&queue) {
            return Poll::Ready(());
        }
        queue.park(cx.waker());
        Poll::Pending
    }

    /// Access to the queue, of callers, handlers and the driver.
    pub(crate) fn with_queue<T>(&self, access: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue.lock();
        let result = access(&mut queue);
        self.reply_bytes.store(queue.reply_bytes(), Relaxed);
        result
    }

    /// The driver has taken something out of the queue.
    pub(crate) fn made_room(&self) {
        self.room.notify_waiters();
    }

    /// Fails requests that were taken out of the queue without having been sent on this stream.
    pub(crate) fn fail_unsent(&self, requests: Vec<Outgoing>, kind: &NodeErrorKind, source: Option<&Source>) {
        for request in requests {
            if request.is_awaited() {
                let fault = if request.sent_before {
                    Fault::sent(NodeErrorKind::ConnectionLost, source.cloned())
                } else {
                    Fault::unsent(kind.clone(), source.cloned())
                };
                self.pool.pending().fail(request.id, self.ordinal, fault);
            }
        }
        self.room.notify_waiters();
    }

    /// Whoever waited for the hand-over of a message that was dropped is told that it is done.
    fn dropped(&self, requests: &[Outgoing]) {
        for request in requests.iter().filter(|request| request.awaits == Awaits::Handover) {
            self.pool.pending().sent(request.id, self.ordinal, 0);
        }
    }
}

#[cfg(feature = "metrics")]
impl Drop for Channel {
    /// What was counted since the last publication would be lost.
    fn drop(&mut self) {
        if let Some(metrics) = self.pool.metrics() {
            metrics.gone(self);
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("id", &self.id)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
