//! What the handlers of one stream share: whose turn it is, who is running, and the way back to the caller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
};
use std::task::Waker;

use bytes::BytesMut;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;

use crate::channel::Channel;
use crate::id::MessageId;
use crate::node::Node;
use crate::payload::Payload;
use crate::router::entry::Incoming;
use crate::server::handler::Running;
use crate::server::registry::Registry;
use crate::server::tasks::Tasks;
use crate::sync::Mutex;
use crate::transport::PeerCertificates;
use crate::wire::{self, RpcStatus};

/// Who is at the other end of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) metadata: MetadataMap,
    pub(crate) certificates: Option<PeerCertificates>,
    /// Has said at once that it wants to be told of the end of a streaming call.
    pub(crate) hears_end: bool,
    /// It can be called.
    pub(crate) node: Option<Node>,
}

/// How replies reach the caller.
pub(crate) enum Way {
    /// Through the stream.
    Stream(Arc<Channel>),
    /// The caller is in this process.
    Local(Arc<Channel>),
}

/// A stream, as its handlers see it.
pub(crate) struct Session {
    peer: Peer,
    way: Way,
    tasks: Tasks,
    /// Who else is connected to this process.
    registry: Option<Arc<Registry>>,
    /// The turn of the request that may start.
    turn: AtomicU64,
    running: AtomicUsize,
    hears_end: AtomicBool,
    closed: CancellationToken,
    /// Says the same as `closed`, and is looked at for every request.
    is_closed: AtomicBool,
    /// Requests are being started, and the turn is looked at again before that ends.
    starting: AtomicBool,
    /// By request and turn: a call that asks again after an error does so with the same id, and the handler that has
    /// answered may not be gone yet.
    cancellations: Mutex<BTreeMap<(MessageId, u64), Option<CancellationToken>>>,
    /// Wakes what starts requests after the stream has ended.
    finisher: Mutex<Option<Waker>>,
}

impl Session {
    pub(crate) fn new(peer: Peer, way: Way, tasks: Tasks, registry: Option<Arc<Registry>>) -> Arc<Self> {
        Arc::new(Self {
            hears_end: AtomicBool::new(peer.hears_end),
            peer,
            way,
            tasks,
            registry,
            turn: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            closed: CancellationToken::new(),
            is_closed: AtomicBool::new(false),
            starting: AtomicBool::new(false),
            cancellations: Mutex::default(),
            finisher: Mutex::default(),
        })
    }

    pub(crate) fn set_hears_end(&self) {
        self.hears_end.store(true, Relaxed);
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn registry(&self) -> Option<&Registry> {
        self.registry.as_deref()
    }

    pub(crate) fn channel(&self) -> &Arc<Channel> {
        match &self.way {
            Way::Stream(channel) | Way::Local(channel) => channel,
        }
    }

    /// Whether the caller is in this process.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.way, Way::Local(_))
    }

    /// The longest message that either end accepts, as far as this end knows.
    pub(crate) fn max_message_size(&self) -> usize {
        self.channel().pool().options().transport.max_message_size
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(SeqCst)
    }

    /// Lets the request after the one with this turn start.
    pub(crate) fn pass(&self, turn: u64) {
        if self.turn.compare_exchange(turn, turn + 1, SeqCst, Relaxed).is_ok() && !self.starting.load(SeqCst)
        {
            self.wake();
        }
    }

    /// Whether requests are being started: whose turn ends meanwhile is noticed without a wake-up.
    pub(crate) fn set_starting(&self, starting: bool) {
        self.starting.store(starting, SeqCst);
    }

    fn wake(&self) {
        self.channel().wake();
        let finisher = if self.is_closed() { self.finisher.lock().take() } else { None };
        if let Some(waker) = finisher {
            waker.wake();
        }
    }

    pub(crate) fn park(&self, waker: &Waker) {
        *self.finisher.lock() = Some(waker.clone());
    }

    /// How many handlers run in tasks of their own.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Acquire)
    }

    /// Lets a handler that did not finish at once go on in a task of its own.
    pub(crate) fn spawn(self: &Arc<Self>, id: MessageId, turn: u64, handler: Running) {
        self.running.fetch_add(1, AcqRel);
        self.cancellations.lock().entry((id, turn)).or_default();
        let guard = RunningGuard { session: self.clone(), id, turn };
        self.tasks.spawn_handler(async move {
            let _guard = guard;
            handler.await;
        });
    }

    /// The tasks of the server.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The token that tells the handler of a request that its caller has gone.
    pub(crate) fn cancellation(&self, id: MessageId, turn: u64) -> CancellationToken {
        let mut cancellations = self.cancellations.lock();
        let token = cancellations.entry((id, turn)).or_default();
        token.get_or_insert_with(|| self.closed.child_token()).clone()
    }

    pub(crate) fn forget_cancellation(&self, id: MessageId, turn: u64) {
        self.cancellations.lock().remove(&(id, turn));
    }

    /// The caller has given a request up that may be running.
    pub(crate) fn cancel(&self, id: MessageId) {
        let tokens: SmallVec<[_; 1]> = {
            let mut cancellations = self.cancellations.lock();
            let running = cancellations.range_mut((id, 0)..=(id, u64::MAX));
            running.map(|(_, token)| token.get_or_insert_with(|| self.closed.child_token()).clone()).collect()
        };
        tokens.iter().for_each(CancellationToken::cancel);
    }

    /// Whether the caller is known to have given up a request that runs.
    pub(crate) fn is_cancelled(&self, id: MessageId, turn: u64) -> bool {
        let cancellations = self.cancellations.lock();
        cancellations.get(&(id, turn)).and_then(Option::as_ref).is_some_and(CancellationToken::is_cancelled)
    }

    /// The stream has ended: handlers are told, and nobody is there to get replies.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.closed.cancel();
        self.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Bytes of replies that wait to be written.
    pub(crate) fn reply_bytes(&self) -> usize {
        match &self.way {
            Way::Stream(channel) => channel.reply_bytes(),
            Way::Local(_) => 0,
        }
    }

    /// Waits until there is room for another reply of a streaming call. False if the caller has gone.
    pub(crate) async fn room_for_reply(&self, limit: usize) -> bool {
        if let Way::Stream(channel) = &self.way {
            tokio::select! {
                biased;
                () = channel.wait_for_replies_below(limit) => {}
                () = self.closed.cancelled() => {}
            }
        }
        !self.is_closed()
    }

    /// Sends a reply to a caller elsewhere. `encode` writes `len` bytes. False if the caller has gone.
    pub(crate) fn reply(
        &self,
        id: MessageId,
        method: &str,
        len: usize,
        encode: impl FnOnce(&mut BytesMut),
    ) -> bool {
        let outline = wire::Outline::reply(id.to_wire(), method);
        self.channel().reply(|buf| wire::encode(buf, &outline, len, encode));
        !self.is_closed()
    }

    /// Hands a reply to the caller in this process. False if it has gone.
    pub(crate) fn reply_local(&self, id: MessageId, payload: Payload) -> bool {
        deliver(self.channel(), id, Incoming::Reply(payload))
    }

    /// Sends an error reply.
    pub(crate) fn reply_status(&self, id: MessageId, method: &str, status: &RpcStatus) {
        match &self.way {
            Way::Stream(channel) => {
                channel.reply(|buf| wire::encode_status(buf, id.to_wire(), method, status));
            }
            Way::Local(channel) => {
                deliver(channel, id, wire::incoming_status(status));
            }
        }
    }

    /// Tells the caller that a streaming call has ended well, if it wants to know.
    pub(crate) fn reply_end(&self, id: MessageId, method: &str) {
        if self.hears_end.load(Relaxed) {
            self.reply_status(id, method, &RpcStatus::default());
        }
    }
}

fn deliver(channel: &Channel, id: MessageId, incoming: Incoming) -> bool {
    let now = tokio::time::Instant::now();
    let taken = channel.pool().pending().deliver(id, channel.ordinal(), incoming, now).is_ok();
    if !taken {
        channel.counters().late_reply();
    }
    taken
}

struct RunningGuard {
    session: Arc<Session>,
    id: MessageId,
    turn: u64,
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.session.forget_cancellation(self.id, self.turn);
        self.session.running.fetch_sub(1, AcqRel);
        self.session.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::id::Initiator;

    /// G8: a call that asks again after an error does so while the guard of the handler that has answered is still there.
    #[tokio::test]
    async fn an_attempt_that_ends_leaves_the_next_one_what_cancels_it() {
        let nodes = Node::detached(1);
        let way = Way::Stream(nodes.nodes()[0].channel().clone());
        let session = Session::new(Peer::default(), way, Tasks::default(), None);
        let id = MessageId::new(Initiator::Client, 1);
        // Its task, and so the end of the first attempt, comes to run when this one waits.
        session.spawn(id, 0, Running::new(ready(())));
        session.spawn(id, 1, Running::new(pending()));
        while session.running() > 1 {
            tokio::task::yield_now().await;
        }
        session.cancel(id);
        assert!(session.is_cancelled(id, 1));
        assert!(session.cancellation(id, 1).is_cancelled());
        session.tasks().abort.cancel();
    }
}
