//! Calls to the own node: dispatched in process, in order and with release, with no network.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use tokio::time::{Instant, sleep_until};

use crate::channel::queue::{Body, Outgoing, Queue};
use crate::channel::{Channel, Connectivity};
use crate::error::{Fault, NodeErrorKind};
use crate::id::MessageId;
use crate::node::Node;
use crate::server::dispatch::Dispatcher;
use crate::server::registry::Registry;
use crate::server::services::Services;
use crate::server::session::{Peer, Session, Way};
use crate::server::tasks::Tasks;
use crate::server::waiting::{Content, Request};
use crate::wire::{Message, Messages};

/// The local channel never breaks, so that there is one stream.
const EPOCH: u32 = 0;

/// Dispatches what callers queue, until the channel is closed.
pub(crate) async fn run(channel: Arc<Channel>, services: Services, registry: Option<Arc<Registry>>) {
    channel.set_connectivity(Connectivity::Up);
    channel.set_hears_cancel();
    let node = Some(Node::borrowed(channel.clone()));
    let peer = Peer { hears_end: true, node, ..Peer::default() };
    let tasks = Tasks::default();
    let session = Session::new(peer, Way::Local(channel.clone()), tasks.clone(), registry);
    let messages = Messages::new(usize::MAX);
    let dispatcher = Dispatcher::new(services, session.clone());
    let mut local = Local { dispatcher, channel: channel.clone(), taken: VecDeque::new(), messages };
    tokio::select! {
        biased;
        () = poll_fn(|cx| local.poll(cx)) => {}
        () = drained(&channel) => {}
        () = channel.pool().aborting().cancelled() => {}
    }
    session.close();
    tasks.abort.cancel();
    tasks.tracker.close();
    tasks.tracker.wait().await;
    channel.set_connectivity(Connectivity::Closed);
    let failed = channel.with_queue(Queue::clear);
    channel.fail_unsent(failed, &NodeErrorKind::Closed, None);
    let fault = Fault::sent(NodeErrorKind::Closed, None);
    channel.pool().pending().fail_sent(channel.ordinal(), EPOCH, &fault);
}

/// Resolves when the channel has been closed for as long as closing may wait.
async fn drained(channel: &Channel) {
    tokio::select! {
        biased;
        () = poll_fn(|cx| channel.poll_closed(cx)) => {}
        () = channel.pool().closing().cancelled() => channel.close(),
    }
    if let Some(end) = channel.drained_by() {
        sleep_until(end).await;
    }
}

struct Local {
    dispatcher: Dispatcher,
    channel: Arc<Channel>,
    /// Kept for its memory.
    taken: VecDeque<Outgoing>,
    /// What callers have to say of calls that they have given up.
    messages: Messages,
}

/// Passes in one go, before other tasks have their turn.
const MAX_PASSES: usize = 4;

impl Local {
    /// Ready when the channel is closed and every handler has finished.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.channel.with_queue(Queue::unpark);
        for _ in 0..MAX_PASSES {
            let cancelled = self.channel.with_queue(|queue| {
                if !self.dispatcher.is_crowded() {
                    queue.take(usize::MAX, true, &mut self.taken);
                }
                if self.taken.is_empty() {
                    queue.park(cx.waker());
                }
                queue.take_replies()
            });
            let progress = !self.taken.is_empty();
            self.dispatcher.begin();
            if progress {
                self.channel.made_room();
                let mut taken = mem::take(&mut self.taken);
                let now = Instant::now();
                taken.drain(..).for_each(|request| self.take(request, now, cx));
                self.taken = taken;
            }
            if !cancelled.is_empty() {
                self.cancel(cancelled.freeze());
            }
            if !self.dispatcher.start(cx) && !progress {
                let finished = self.channel.is_closed() && self.dispatcher.is_idle();
                return if finished { Poll::Ready(()) } else { Poll::Pending };
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take(&mut self, request: Outgoing, now: Instant, cx: &mut Context<'_>) {
        if request.is_late(now) {
            self.channel.with_queue(Queue::unsent);
            return;
        }
        if request.is_awaited() {
            self.channel.pool().pending().sent(request.id, self.channel.ordinal(), EPOCH);
        }
        let (id, size) = (request.id, request.len());
        let content = match request.body {
            Body::Local(request) => Content::Local(request),
            Body::Short(_) | Body::Shared(_) | Body::Copied(_) => unreachable!("it is the own node's queue"),
        };
        self.dispatcher.push(Request { id, content, size, received: now }, cx);
    }

    /// Takes the cancellations that callers have queued.
    fn cancel(&mut self, messages: Bytes) {
        self.messages.add(messages);
        while let Ok(Some(message)) = self.messages.next_message() {
            if let Ok(message) = Message::parse(message) {
                self.dispatcher.cancel(MessageId::from_wire(message.id()));
            }
        }
    }
}
