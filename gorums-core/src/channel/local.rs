//! Calls to the own node: dispatched in process, in order and with release, with no network.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, sleep_until};

use crate::channel::queue::{Awaits, Outgoing, Queue};
use crate::channel::{Channel, Connectivity};
use crate::error::{Fault, NodeErrorKind};
use crate::server::dispatch::{Dispatcher, Request};
use crate::server::handler::Methods;
use crate::server::session::{Peer, Session, Tasks, Way};
use crate::wire::{Envelope, PREFIX};

/// The local channel never breaks, so that there is one stream.
const EPOCH: u32 = 0;

/// Dispatches what callers queue, until the channel is closed.
pub(crate) async fn run(channel: Arc<Channel>, methods: Arc<Methods>) {
    channel.set_connectivity(Connectivity::Up);
    let peer = Peer { hears_end: true, ..Peer::default() };
    let tasks = Tasks::default();
    let session = Session::new(peer, Way::Local(channel.clone()), tasks.clone());
    let mut local = Local { dispatcher: Dispatcher::new(methods, session.clone()), channel: channel.clone() };
    let closing = channel.pool().closing().clone();
    {
        let run = poll_fn(|cx| local.poll(cx));
        tokio::pin!(run);
        tokio::select! {
            () = &mut run => {}
            () = closing.cancelled() => {
                channel.close();
                let drained_by = channel.drained_by().unwrap_or_else(Instant::now);
                tokio::select! {
                    () = &mut run => {}
                    () = sleep_until(drained_by) => {}
                }
            }
        }
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

struct Local {
    dispatcher: Dispatcher,
    channel: Arc<Channel>,
}

impl Local {
    /// Ready when the channel is closed and every handler has finished.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let request = self.channel.with_queue(|queue| {
                let request = if self.dispatcher.is_congested() { None } else { queue.pop(0, true) };
                if request.is_none() {
                    queue.park(cx.waker());
                }
                request
            });
            let progress = request.is_some();
            if let Some(request) = request {
                self.channel.made_room();
                self.take(request);
            }
            if !self.dispatcher.start(cx) && !progress {
                break;
            }
        }
        let finished = self.channel.is_closed() && self.dispatcher.is_idle();
        if finished { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take(&mut self, request: Outgoing) {
        let Outgoing { id, mut frame, awaits, deadline, .. } = request;
        let now = Instant::now();
        if now >= deadline {
            self.channel.with_queue(Queue::unsent);
            return;
        }
        if matches!(awaits, Awaits::Reply | Awaits::Handover) {
            self.channel.pool().pending().sent(id, self.channel.ordinal(), EPOCH);
        }
        let size = frame.len();
        // What this process has encoded it can decode.
        if let Ok(envelope) = Envelope::from_message(frame.split_off(PREFIX)) {
            self.dispatcher.push(Request { id, envelope, size, received: now });
        }
    }
}
