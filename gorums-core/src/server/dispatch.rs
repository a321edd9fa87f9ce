//! Takes the requests of one stream in turn: the next starts when the one before it returned or released.

use std::fmt::Write;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use crate::channel::queue::LocalRequest;
use crate::id::MessageId;
use crate::payload::Payload;
use crate::server::active::{Facts, Metadata, Place};
use crate::server::context::ServerContext;
use crate::server::handler::{Handler, Methods, Running};
use crate::server::nested;
use crate::server::replier::Replier;
use crate::server::services::Services;
use crate::server::session::Session;
use crate::server::waiting::{Content, Request, Waiting};
use crate::wire;

/// While so many bytes of replies wait to be written, no more requests are started: a client that stops
/// reading is soon no longer read from.
pub(crate) const MAX_REPLY_BYTES: usize = 1 << 20;

pub(crate) struct Dispatcher {
    services: Services,
    /// Taken from the services when the first request starts.
    methods: Option<Arc<Methods>>,
    session: Arc<Session>,
    waiting: Waiting,
    /// While so many handlers run, released or not, no more are started.
    max_running: usize,
    /// The method of the last request that was started.
    last: Option<usize>,
    /// Memory for the next request and its handler.
    place: Place,
    running: Option<Running>,
    /// The turn of the next request.
    next: u64,
    /// Until all of these, nothing starts.
    after: Vec<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Dispatcher {
    pub(crate) fn new(services: Services, session: Arc<Session>) -> Self {
        let offered = services.offered().clone();
        let max_running = session.channel().pool().options().transport.max_concurrent_requests;
        let waiting = Waiting::default();
        Self {
            services,
            methods: None,
            session,
            waiting,
            max_running,
            last: None,
            place: Place::default(),
            running: None,
            next: 0,
            after: Vec::new(),
        }
        .after(offered)
    }

    /// Starts nothing until this is cancelled.
    pub(crate) fn after(mut self, event: CancellationToken) -> Self {
        if !event.is_cancelled() {
            self.after.push(Box::pin(event.cancelled_owned()));
        }
        self
    }

    /// The stream has ended.
    pub(crate) fn close(&self) {
        self.session.close();
    }

    /// The caller wants to know of the ends of streaming calls.
    pub(crate) fn set_hears_end(&self) {
        self.session.set_hears_end();
    }

    /// Requests are about to be [pushed](Self::push). To be followed by [`start`](Self::start), until which turns are
    /// passed on without a wake-up.
    pub(crate) fn begin(&self) {
        self.session.set_starting(true);
    }

    /// Takes a request, and starts it if it is its turn. A handler that finishes at once does so here.
    pub(crate) fn push(&mut self, request: Request, cx: &mut Context<'_>) {
        if self.waiting.is_empty() && self.after.is_empty() && self.has_turn() {
            let now = request.received;
            self.start_one(request, now, cx);
        } else {
            self.waiting.push(request);
        }
    }

    /// The caller has given a request up.
    pub(crate) fn cancel(&mut self, id: MessageId) {
        if !self.waiting.cancel(id) {
            self.session.cancel(id);
        }
    }

    /// So many bytes have come that are none of a request.
    pub(crate) fn waste(&mut self, bytes: usize) {
        self.waiting.waste(bytes);
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// Whether further requests had better wait elsewhere, if they can.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.is_crowded()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.session.running() == 0
    }

    /// Starts the requests whose turn it is. True if there was one. A handler that finishes at once does so
    /// here; another one goes on in a task of its own.
    pub(crate) fn start(&mut self, cx: &mut Context<'_>) -> bool {
        self.after.retain_mut(|event| event.as_mut().poll(cx).is_pending());
        let mut progress = false;
        loop {
            // Whose turn has ended until here is seen below, and who passes it on later wakes this task.
            self.session.set_starting(false);
            if !self.may_start() {
                return progress;
            }
            self.session.set_starting(true);
            while self.has_turn() {
                let Some(request) = self.waiting.pop() else { break };
                progress = true;
                self.start_one(request, Instant::now(), cx);
            }
        }
    }

    /// Whether a request waits and it is its turn.
    pub(crate) fn may_start(&self) -> bool {
        !self.waiting.is_empty() && self.after.is_empty() && self.has_turn()
    }

    /// Whether the next request may start.
    fn has_turn(&self) -> bool {
        self.session.turn() == self.next
            && self.session.running() < self.max_running
            && (self.session.is_closed() || self.session.reply_bytes() < MAX_REPLY_BYTES)
    }

    fn start_one(&mut self, request: Request, now: Instant, cx: &mut Context<'_>) {
        let Request { id, content, received, .. } = request;
        let methods = self.methods.get_or_insert_with(|| self.services.methods());
        // Most requests are of the same method as the one before.
        let again = self.last.filter(|&last| content.is_of(methods.handler(last).name()));
        let Some(found) = again.or_else(|| methods.find(content.method())) else {
            let status = wire::no_handler(content.method());
            self.session.reply_status(id, content.method(), &status);
            return;
        };
        let handler = methods.handler(found);
        let (payload, deadline, metadata) = match content {
            Content::Received(message) => {
                let deadline = message.timeout().and_then(|timeout| received.checked_add(timeout));
                let metadata = message.with_metadata().map_or(Metadata::None, Metadata::Encoded);
                (Payload::Encoded(message.into_payload()), deadline, metadata)
            }
            Content::Local(request) => {
                let LocalRequest { payload, deadline, metadata, .. } = *request;
                (payload, deadline, metadata.map_or(Metadata::None, Metadata::Local))
            }
            Content::Cancelled => return,
        };
        let (turn, method, one_way) = (self.next, handler.name(), handler.is_one_way());
        let last = self.last.map(|last| methods.handler(last).name());
        let refusal = refusal(&self.session, handler, last, deadline, now);
        let facts = Facts { id, turn, method, one_way, deadline, metadata };
        let request = self.place.start(&self.session, facts);
        let replier = Replier::new(request.clone());
        if let Some(refusal) = refusal {
            return replier.refuse(&refusal);
        }
        self.next += 1;
        self.last = Some(found);
        let context = ServerContext::new(request.clone());
        let start = || handler.start(context, payload, replier, &mut self.running, cx);
        let (started, request) = nested::lend(request, start);
        if started.is_pending()
            && let Some(running) = self.running.take()
        {
            self.session.spawn(id, turn, running);
        }
        self.place.end(request);
    }

    /// Starts what still waits after the stream has ended, in turn, until the last has passed its turn on: the one-way
    /// requests, and before them those that will come again. What is behind the last one-way request is dropped, as
    /// nobody gets its reply.
    pub(crate) async fn finish(mut self) {
        self.services.offered().cancelled().await;
        let methods = self.services.methods();
        let one_way = |method: &str| methods.get(method).is_some_and(Handler::is_one_way);
        self.waiting.drop_behind_last(one_way);
        poll_fn(|cx| {
            self.session.park(cx.waker());
            self.start(cx);
            let passed = self.waiting.is_empty() && self.session.turn() == self.next;
            if passed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Why a request need not be started: its deadline has passed, or nobody is there to get the reply. One that will
/// come again is started all the same, as it must not come to run behind the one-way requests that follow it (G1).
fn refusal(
    session: &Session,
    handler: &Handler,
    last: Option<&str>,
    deadline: Option<Instant>,
    now: Instant,
) -> Option<Status> {
    if deadline.is_some_and(|deadline| now >= deadline) {
        let mut reason = "the deadline passed before the handler could start".to_owned();
        if let Some(last) = last {
            let _ = write!(reason, ", behind that of {last}: one that waits should call `ctx.release()`");
        }
        return Some(Status::deadline_exceeded(reason));
    }
    (session.is_closed() && !handler.is_one_way() && !handler.is_sent_again())
        .then(|| Status::cancelled("the caller disconnected before the handler could start"))
}
