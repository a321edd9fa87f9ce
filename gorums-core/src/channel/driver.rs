//! The task that owns a stream: it alone writes, reads, and decides that the stream is dead (I2).
//!
//! One pass reads what has come and routes it, starts the requests whose turn it is, and writes what has
//! queued up as one batch. Nothing in it waits; what it does is bounded per pass.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::time::{Instant, Sleep, sleep};

use crate::channel::Channel;
use crate::channel::queue::{Awaits, Body, Outgoing, Queue};
use crate::router::MessageRouter;
use crate::transport::{Duplex, Received, TransportError, announces};
use crate::wire::{self, Frame, Messages};

/// Bytes that are asked of the stream's window for one batch.
const BATCH: usize = 1 << 20;
/// Bytes of the stream's window that requests leave to replies: requests that wait for their turn at the peer keep the
/// window, and the turn may be that of a handler which waits for a reply of this end.
const REPLY_RESERVE: usize = 1 << 20;
/// A message from this size on is sent as it is; smaller ones are copied into one frame.
const LARGE: usize = 16 << 10;
/// With more calls than this in flight, a batch waits one pass for more to write.
const FEW_CALLS: usize = 8;
/// Passes and DATA frames in one go, before other tasks have their turn.
const MAX_PASSES: usize = 16;
const MAX_READS: usize = 32;

/// How a stream ended.
pub(crate) enum End {
    /// This end closed it, or the peer did after this end had finished.
    Closed,
    Lost(TransportError),
}

pub(crate) struct Driver {
    duplex: Duplex,
    channel: Arc<Channel>,
    epoch: u32,
    router: MessageRouter,
    messages: Messages,
    /// Received bytes that the peer has not got back as window.
    held: usize,
    buffer: BytesMut,
    /// A batch that did not go out whole.
    pieces: VecDeque<Bytes>,
    taken: Vec<Outgoing>,
    resend: Resend,
    /// Bytes of the window that requests leave to replies.
    reserve: usize,
    drain_timeout: Duration,
    draining: Option<Pin<Box<Sleep>>>,
    yielded: bool,
    /// The server is shutting down: no more requests are read.
    shuts_down: bool,
    /// What may happen on the stream.
    phase: Phase,
    ended: Ended,
}

/// How far the stream has come in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is written yet.
    Opening,
    /// Requests go.
    Open,
    /// The peer has shown that it speaks the protocol.
    Answered,
}

/// Which directions of the stream have come to their end.
#[derive(Default)]
struct Ended {
    input: bool,
    output: bool,
}

impl Driver {
    pub(crate) fn new(duplex: Duplex, channel: Arc<Channel>, epoch: u32, router: MessageRouter) -> Self {
        let options = channel.pool().options();
        let messages = Messages::new(options.transport.max_message_size);
        let drain_timeout = options.drain_timeout;
        Self {
            duplex,
            channel,
            epoch,
            router,
            messages,
            held: 0,
            buffer: BytesMut::new(),
            pieces: VecDeque::new(),
            taken: Vec::new(),
            resend: Resend::default(),
            reserve: 0,
            drain_timeout,
            draining: None,
            yielded: false,
            shuts_down: false,
            phase: Phase::Open,
            ended: Ended::default(),
        }
    }

    /// Holds requests back until [`open`](Self::open) is called.
    pub(crate) fn hold(mut self) -> Self {
        self.phase = Phase::Opening;
        self
    }

    /// The peer has told what it understands, and how large its window is.
    pub(crate) fn announced(&mut self, headers: &HeaderMap) {
        self.router.announced(headers);
        if announces(headers, wire::FEATURE_WINDOW) && self.router.serves() {
            self.reserve = REPLY_RESERVE;
        }
    }

    /// Lets requests go. To be followed by [`poll`](Self::poll).
    pub(crate) fn open(&mut self) {
        if self.phase == Phase::Opening {
            self.phase = Phase::Open;
        }
    }

    /// The peer has shown that it speaks the protocol.
    pub(crate) fn answered(&self) -> bool {
        self.phase == Phase::Answered
    }

    /// Requests that were sent and may be sent again, oldest first, and the router with what it holds.
    pub(crate) fn into_parts(self) -> (impl DoubleEndedIterator<Item = Outgoing>, MessageRouter) {
        (self.resend.requests.into_iter(), self.router)
    }

    /// Ready when the stream was reset or its connection has ended. Nothing is read for that.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<TransportError> {
        match self.duplex.poll_gone(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    /// Tells the peer why its stream ends here.
    pub(crate) fn refuse(&mut self, status: &tonic::Status) {
        if !self.ended.output {
            self.duplex.finish_with_status(status);
        }
    }

    /// Does what can be done now. Ready at the end of the stream.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..MAX_PASSES {
            match self.pass(cx) {
                Err(error) => return Poll::Ready(End::Lost(error)),
                Ok(_) if self.is_done(cx) => return Poll::Ready(End::Closed),
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// True if there was anything to do.
    fn pass(&mut self, cx: &mut Context<'_>) -> Result<bool, TransportError> {
        let read = self.read(cx)?;
        let started = self.router.start_requests(cx);
        let waiting = self.router.waiting_bytes();
        if self.held > waiting {
            self.duplex.release(self.held - waiting);
            self.held = waiting;
        }
        let wrote = self.write(cx)?;
        Ok(read || started || wrote)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, TransportError> {
        let mut progress = false;
        for _ in 0..MAX_READS {
            if self.ended.output && (self.ended.input || self.shuts_down) {
                return Ok(progress);
            }
            if self.ended.input || self.shuts_down {
                // Nothing is read, but the end of the stream is still noticed: handlers may wait for it.
                self.duplex.poll_gone(cx)?;
                return Ok(progress);
            }
            match self.duplex.poll_receive(cx)? {
                Poll::Pending => return Ok(progress),
                Poll::Ready(None) => self.end_of_input()?,
                Poll::Ready(Some(Received::Headers(headers))) => {
                    self.phase = Phase::Answered;
                    self.announced(&headers);
                }
                Poll::Ready(Some(Received::Data(data))) => {
                    self.phase = Phase::Answered;
                    self.held += data.len();
                    self.messages.add(data);
                    let now = Instant::now();
                    while let Some(message) = self.messages.next_message()? {
                        self.router.route(message, now, cx)?;
                    }
                }
            }
            progress = true;
        }
        Ok(progress)
    }

    /// The peer has no more to say. If it dialled, it still gets the replies to what it has asked.
    fn end_of_input(&mut self) -> Result<(), TransportError> {
        self.ended.input = true;
        if self.ended.output || self.router.serves_accepted_stream() {
            Ok(())
        } else {
            Err(TransportError::Ended)
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, TransportError> {
        let mut progress = false;
        if self.phase == Phase::Opening {
            self.channel.with_queue(|queue| queue.park(cx.waker()));
            return Ok(false);
        }
        while !self.ended.output {
            if self.pieces.is_empty() && self.nothing_waits(cx) {
                // Room that is not used is kept from the other streams of the connection.
                self.duplex.give_room_back();
                return Ok(progress);
            }
            // What has been begun is finished first.
            let replies = !self.pieces.is_empty() || self.channel.reply_bytes() > 0;
            let above = if replies { 0 } else { self.reserve };
            let Poll::Ready(room) = self.duplex.poll_room(cx, above, BATCH + self.reserve)? else {
                self.channel.with_queue(|queue| queue.park(cx.waker()));
                return Ok(progress);
            };
            if let Some(piece) = self.pieces.front_mut() {
                let part = piece.split_to(room.min(piece.len()));
                if piece.is_empty() {
                    self.pieces.pop_front();
                }
                self.duplex.send(part)?;
                progress = true;
                continue;
            }
            if self.waits_for_more(cx) || !self.fill_batch(room, cx) {
                return Ok(progress);
            }
            self.yielded = false;
        }
        Ok(progress)
    }

    /// True if nothing waits; then the queue will wake this task.
    fn nothing_waits(&self, cx: &mut Context<'_>) -> bool {
        self.channel.with_queue(|queue| {
            if queue.is_empty() {
                queue.park(cx.waker());
            }
            queue.is_empty()
        })
    }

    /// Lets callers queue more before a batch is made, once.
    fn waits_for_more(&mut self, cx: &mut Context<'_>) -> bool {
        if self.yielded || self.channel.pool().pending().open() <= FEW_CALLS {
            return false;
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        true
    }

    /// Takes the next batch out of the queue. False if there is nothing to write; then the queue will wake
    /// this task.
    fn fill_batch(&mut self, room: usize, cx: &mut Context<'_>) -> bool {
        let reserve = self.reserve;
        let mut taken = std::mem::take(&mut self.taken);
        let replies = self.channel.with_queue(|queue| {
            let replies = queue.take_replies();
            let mut room = room.saturating_sub(replies.len() + reserve);
            let mut first = replies.is_empty() && room > 0;
            while let Some(request) = queue.pop(room, first) {
                room = room.saturating_sub(request.len());
                first = false;
                taken.push(request);
            }
            if replies.is_empty() && taken.is_empty() {
                queue.park(cx.waker());
            }
            replies
        });
        let found = !replies.is_empty() || !taken.is_empty();
        if !replies.is_empty() {
            self.pieces.push_back(replies.freeze());
        }
        let now = if taken.is_empty() { None } else { Some(Instant::now()) };
        for request in taken.drain(..) {
            self.append(request, now);
        }
        self.taken = taken;
        if !self.buffer.is_empty() {
            self.pieces.push_back(self.buffer.split().freeze());
        }
        if found {
            self.channel.made_room();
        }
        found
    }

    fn append(&mut self, request: Outgoing, now: Option<Instant>) {
        if now.is_some_and(|now| now >= request.deadline) {
            self.channel.with_queue(Queue::unsent);
            return;
        }
        let pending = self.channel.pool().pending();
        let awaited = request.is_awaited() && pending.sent(request.id, self.channel.ordinal(), self.epoch);
        let resent = awaited && request.idempotent && request.awaits == Awaits::Reply;
        // Requests of a remote node are encoded.
        if let Body::Encoded(frame) = &request.body {
            match frame {
                Frame::Long(message) if message.len() >= LARGE => {
                    if !self.buffer.is_empty() {
                        self.pieces.push_back(self.buffer.split().freeze());
                    }
                    self.pieces.push_back(message.clone());
                }
                frame => self.buffer.extend_from_slice(frame),
            }
        }
        if resent {
            self.resend.remember(request, &self.channel);
        }
    }

    /// Whether the stream has come to its end in good order.
    fn is_done(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.channel.is_closed() && !self.ended.input {
            return false;
        }
        self.shuts_down = self.channel.is_closed() && self.router.serves_accepted_stream();
        let drain_timeout = self.drain_timeout;
        let draining = self.draining.get_or_insert_with(|| Box::pin(sleep(drain_timeout)));
        let late = self.channel.is_closed() && draining.as_mut().poll(cx).is_ready();
        let idle = self.router.is_idle()
            && self.pieces.is_empty()
            && self.channel.with_queue(|queue| queue.is_empty());
        if idle && !self.ended.output {
            self.ended.output = true;
            if self.router.serves_accepted_stream() {
                self.duplex.finish_with_status(&tonic::Status::ok(""));
            } else {
                self.duplex.finish();
            }
        }
        let done = self.ended.output && (self.ended.input || self.router.serves_accepted_stream());
        if late && !done {
            self.duplex.reset();
        }
        done || late
    }
}

/// The idempotent requests that were sent and not yet answered, in the order in which they were sent.
#[derive(Default)]
struct Resend {
    requests: VecDeque<Outgoing>,
    bytes: usize,
    /// When there are more than this, those that were answered are removed.
    prune_above: (usize, usize),
}

/// Requests and bytes that were answered and may be kept for a while, to look for them less often.
const KEPT: (usize, usize) = (64, 256 << 10);

impl Resend {
    fn remember(&mut self, request: Outgoing, channel: &Channel) {
        self.bytes += request.len();
        self.requests.push_back(request);
        if self.requests.len() > self.prune_above.0 || self.bytes > self.prune_above.1 {
            self.requests.retain(|request| channel.pool().pending().is_open(request.id, channel.ordinal()));
            self.bytes = self.requests.iter().map(Outgoing::len).sum();
            self.prune_above = (2 * self.requests.len() + KEPT.0, 2 * self.bytes + KEPT.1);
        }
    }
}
