//! The task that owns a stream: it alone writes, reads, and decides that the stream is dead (I2).
//!
//! One pass reads what has come and routes it, starts the requests whose turn it is, and writes what has
//! queued up as one batch. Nothing in it waits; what it does is bounded per pass.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, Sleep, sleep};

use crate::channel::Channel;
use crate::channel::batch::Batch;
use crate::channel::queue::{Outgoing, Queue};
use crate::parts::Part;
use crate::router::MessageRouter;
use crate::transport::{Duplex, Received, TransportError, announces};
use crate::wire::{self, Cut, FrameError, Messages};

/// Bytes that are asked of the stream's window for one batch.
const BATCH: usize = 1 << 20;
/// Bytes of the stream's window that requests leave to replies: requests that wait for their turn at the peer keep the
/// window, and the turn may be that of a handler which waits for a reply of this end.
const REPLY_RESERVE: usize = 1 << 20;
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
    router: MessageRouter,
    messages: Messages,
    /// Received bytes that the peer has not got back as window.
    held: usize,
    batch: Batch,
    /// Bytes of the window that requests leave to replies.
    reserve: usize,
    drain_timeout: Duration,
    draining: Option<Pin<Box<Sleep>>>,
    /// A batch was put off so that others may add to it.
    yielded: bool,
    /// Other tasks are to have their turn.
    yields: bool,
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

/// How much waits to be written, and how much of the window is to be left to replies.
struct Waiting {
    bytes: usize,
    leave: usize,
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
            router,
            messages,
            held: 0,
            batch: Batch::new(epoch),
            reserve: 0,
            drain_timeout,
            draining: None,
            yielded: false,
            yields: false,
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
    pub(crate) fn into_parts(self) -> (impl Iterator<Item = Outgoing>, MessageRouter) {
        (self.batch.into_resend(), self.router)
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
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Part<End> {
        self.channel.with_queue(Queue::unpark);
        for _ in 0..MAX_PASSES {
            match self.pass(cx) {
                Err(error) => return Part::Ready(End::Lost(error)),
                Ok(_) if self.is_done(cx) => return Part::Ready(End::Closed),
                Ok(true) => {}
                Ok(false) if self.yields => {
                    self.yields = false;
                    return Part::Yields;
                }
                Ok(false) => return Part::Waits,
            }
        }
        Part::Yields
    }

    /// True if there may be more to do.
    fn pass(&mut self, cx: &mut Context<'_>) -> Result<bool, TransportError> {
        self.router.begin();
        let more_to_read = self.read(cx)?;
        self.router.start_requests(cx);
        let waiting = self.router.waiting_bytes();
        if self.held > waiting {
            self.duplex.release(self.held - waiting);
            self.held = waiting;
        }
        self.write(cx)?;
        // Replies that were written make room for the replies of others.
        Ok(more_to_read || self.router.may_start())
    }

    /// True if there may be more to read.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, TransportError> {
        for _ in 0..MAX_READS {
            if self.ended.output && (self.ended.input || self.shuts_down) {
                return Ok(false);
            }
            if self.ended.input || self.shuts_down {
                // Nothing is read, but the end of the stream is still noticed: handlers may wait for it.
                self.duplex.poll_gone(cx)?;
                return Ok(false);
            }
            match self.duplex.poll_receive(cx)? {
                Poll::Pending => return Ok(false),
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
                    self.route(now, cx)?;
                }
            }
        }
        Ok(true)
    }

    /// Routes the messages that have come.
    fn route(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<(), TransportError> {
        while let Some(cut) = self.messages.next_cut()? {
            match cut {
                Cut::Message(message) => self.router.route(message, now, cx)?,
                Cut::TooLong { head, len, limit } => {
                    self.router.too_long(&head, FrameError::TooLong { len, limit }, now)?;
                }
            }
        }
        match self.messages.take_skipped() {
            0 => {}
            skipped => self.router.waste(skipped),
        }
        Ok(())
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

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), TransportError> {
        if self.phase == Phase::Opening {
            self.channel.with_queue(|queue| queue.park(cx.waker()));
            return Ok(());
        }
        while !self.ended.output {
            let Some(Waiting { bytes, leave }) = self.waiting(cx) else {
                // Room that is not used is kept from the other streams of the connection.
                self.duplex.give_room_back();
                return Ok(());
            };
            let Poll::Ready(room) = self.duplex.poll_room(cx, leave, bytes.min(BATCH) + leave)? else {
                self.channel.with_queue(|queue| queue.park_for_room(cx.waker()));
                return Ok(());
            };
            if self.batch.is_empty() {
                if self.waits_for_more() {
                    return Ok(());
                }
                self.batch.fill(&self.channel, room, self.reserve);
            }
            if let Some(piece) = self.batch.next(room) {
                self.duplex.send(piece)?;
            }
        }
        Ok(())
    }

    /// What waits to be written. If that is nothing, the queue will wake this task.
    fn waiting(&self, cx: &mut Context<'_>) -> Option<Waiting> {
        if !self.batch.is_empty() {
            // What has been begun is finished first.
            return Some(Waiting { bytes: self.batch.len(), leave: 0 });
        }
        self.channel.with_queue(|queue| {
            let (replies, bytes) = (queue.reply_bytes(), queue.bytes());
            if queue.is_empty() {
                queue.park(cx.waker());
                return None;
            }
            Some(Waiting { bytes: replies + bytes, leave: if replies > 0 { 0 } else { self.reserve } })
        })
    }

    /// Lets callers queue more before a batch is made, once.
    fn waits_for_more(&mut self) -> bool {
        self.yielded = !self.yielded && self.channel.pool().pending().open() > FEW_CALLS;
        self.yields = self.yielded;
        self.yielded
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
            && self.batch.is_empty()
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
