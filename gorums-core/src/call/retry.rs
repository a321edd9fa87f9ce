//! Asking nodes again that have failed transiently.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::metadata::MetadataMap;

use crate::call::description::Description;
use crate::call::flight::Call;
use crate::call::intercept::Own;
use crate::call::offer::{fail, offer_or_fail};
use crate::call::template::{Template, Timing};
use crate::channel::link::Backoff;
use crate::channel::queue::Awaits;
use crate::error::{Fault, NodeError, NodeErrorKind};
use crate::payload::Payload;
use crate::router::entry::{RawReplies, RawReply};

/// Which nodes are asked again, how often, and when.
///
/// A node is asked again if its error is [transient](NodeError::is_transient) and it is safe to do so (G5): the request
/// cannot have taken effect, or its method is idempotent. Nodes that have replied are not asked again, and a failure that is
/// still to be made good does not count against the quorum: the call is decided as early as if the node had not answered
/// yet. The call ends at its deadline, whatever is left to be tried; its error then names what each node answered last. If an
/// earlier attempt may have taken effect, the error is [ambiguous](NodeError::is_ambiguous), whatever the last one was.
///
/// The waits before the second, third, .. attempt are those of the [`Backoff`]: exponential with full jitter, so that
/// callers that failed together do not come back together.
///
/// Of use for rpcs and quorum calls. One-way and streaming calls are not retried, nor are [staged](crate::StagedCall) ones,
/// which ask the next node instead; requests that wait for a lost connection are sent again without any of this.
///
/// - *Order*: at a node that is asked again, the request takes its place when that is done, which may be after calls that
///   were started later.
/// - *Cancel safety*: nodes are asked again while the call is polled. Dropping it ends that.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    attempts: u32,
    backoff: Backoff,
    filter: Option<fn(&NodeError) -> bool>,
}

/// The shortest wait.
const LEAST: Duration = Duration::from_millis(1);
/// The longest: beyond any deadline, and within what a clock can add up.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Retry {
    /// Asks each node up to so many times in all; 1 asks none again. The first wait is up to 20 ms, and the longest up to 1 s.
    pub fn up_to(attempts: u32) -> Self {
        let backoff = Backoff { initial: Duration::from_millis(20), max: Duration::from_secs(1) };
        Self { attempts, backoff, filter: None }
    }

    /// Asks each node again as often as there is time before the deadline of the call: of use where nodes may be restarted, or
    /// elect a leader, which takes longer than a few attempts do.
    pub fn until_deadline() -> Self {
        Self::up_to(u32::MAX)
    }

    /// Waits as this tells before each further attempt, at least 1 ms.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Asks again only after errors that `filter` picks, of those after which it is safe.
    #[must_use]
    pub fn only(mut self, filter: fn(&NodeError) -> bool) -> Self {
        self.filter = Some(filter);
        self
    }

    fn wait(&self, failures: u32, dice: f64) -> Duration {
        self.backoff.wait(failures, dice).clamp(LEAST, LONGEST)
    }
}

/// What is known of one node of a call that is retried.
#[derive(Clone, Default)]
struct Asked {
    /// Attempts that have failed.
    failures: u32,
    last: Option<Fault>,
    /// An attempt may have taken effect.
    may_have_run: bool,
    /// When it is asked again.
    due: Option<Instant>,
}

/// The part of a call that asks nodes again. It is polled when the call looks for replies.
pub(crate) struct Retries {
    retry: Retry,
    template: Template,
    shared: Again,
    /// What interceptors made of the request for each node; nothing if there are none.
    own: Vec<Ask>,
    nodes: SmallVec<[Asked; 8]>,
    /// Made when there is something to wait for.
    alarm: Option<Alarm>,
    /// Absent outside of tests that are to be repeated exactly.
    dice: Option<StdRng>,
}

/// What wakes the call: the time of the next attempt, or that the nodes are being closed.
struct Alarm {
    timer: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What a node is asked again.
enum Ask {
    Shared,
    Own(Again),
    /// Its request cannot be encoded.
    Nothing,
}

/// A request that may be sent again.
struct Again {
    message: Message,
    metadata: Option<Box<MetadataMap>>,
}

/// What a request says: encoded, and, if a node is in this process, as it is.
struct Message {
    encoded: Bytes,
    local: Option<Payload>,
}

impl<Req, Resp> Description<Req, Resp> {
    /// What is needed to ask nodes again, if that is wanted.
    pub(crate) fn retries(&self, own: &[Own<Req>]) -> Option<Box<Retries>> {
        let retry = *self.options.retry.as_deref().filter(|retry| retry.attempts > 1 && self.size() > 0)?;
        let codec = &self.method.request;
        let has_local = self.targets.iter().any(|node| node.channel().is_local());
        // What cannot be encoded fails now, and each time.
        let again = |request: &Req, metadata: Option<&MetadataMap>| {
            let local = has_local.then(|| (codec.keep)((codec.copy)(request), codec));
            let message = Message { encoded: codec.encoded(request).ok()?, local };
            Some(Again { message, metadata: metadata.cloned().map(Box::new) })
        };
        let shared = again(&self.request, self.options.metadata.as_deref())?;
        let own = own.iter().map(|own| {
            let (request, metadata) = self.own_or_shared(Some(own));
            if own.is_shared() {
                Ask::Shared
            } else {
                again(request, metadata).map_or(Ask::Nothing, Ask::Own)
            }
        });
        Some(Box::new(Retries {
            retry,
            template: self.template(),
            shared,
            own: own.collect(),
            nodes: SmallVec::from_elem(Asked::default(), self.size()),
            alarm: None,
            dice: self.targets.get(0).channel().pool().options().jitter_seed.map(StdRng::seed_from_u64),
        }))
    }
}

impl Retries {
    /// Takes the failures that are to be made good out of what came.
    pub(crate) fn hold_back<Resp>(&mut self, call: &Call<Resp>, replies: RawReplies) -> RawReplies {
        replies.into_iter().filter_map(|reply| self.hold(call, reply)).collect()
    }

    fn hold<Resp>(&mut self, call: &Call<Resp>, reply: RawReply) -> Option<RawReply> {
        let RawReply { target, result } = reply;
        let fault = match result {
            Ok(payload) => return Some(RawReply { target, result: Ok(payload) }),
            Err(fault) => fault,
        };
        let asked = &mut self.nodes[target];
        asked.failures += 1;
        let error: NodeError = fault.clone().of(call.target(target));
        let is_safe = self.template.idempotent || !error.is_ambiguous();
        let is_wanted = error.is_transient() && self.retry.filter.is_none_or(|picks| picks(&error));
        let can_be_asked = !matches!(self.own.get(target), Some(Ask::Nothing));
        let is_closing = call.target(target).channel().pool().closing().is_cancelled();
        let tries_again =
            is_wanted && is_safe && can_be_asked && !is_closing && asked.failures < self.retry.attempts;
        if !tries_again || call.with(|entry| entry.reopen(target)).is_none() {
            return Some(RawReply { target, result: Err(self.after(target, fault)) });
        }
        let dice = self.dice.as_mut().map_or_else(rand::random, Rng::random);
        let wait = self.retry.wait(asked.failures, dice);
        if let Some(observed) = call.observed() {
            observed.retried(&error, wait);
        }
        asked.may_have_run |= error.is_ambiguous();
        asked.last = Some(fault);
        asked.due = Some(Instant::now() + wait);
        None
    }

    /// Asks the nodes whose time has come, and sees to it that the call is polled when the next one's has.
    pub(crate) fn poll<Resp>(&mut self, call: &mut Call<Resp>, cx: &mut Context<'_>) {
        loop {
            let Some(next) = self.nodes.iter().filter_map(|asked| asked.due).min() else { return };
            let closing = || call.target(0).channel().pool().closing().clone();
            let alarm = self.alarm.get_or_insert_with(|| Alarm {
                timer: Box::pin(sleep_until(next)),
                closing: Box::pin(closing().cancelled_owned()),
            });
            alarm.timer.as_mut().reset(next);
            let is_closing = alarm.closing.as_mut().poll(cx).is_ready();
            if !is_closing && alarm.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            let now = Instant::now();
            for target in 0..self.nodes.len() {
                if self.nodes[target].due.is_none_or(|due| !is_closing && due > now) {
                    continue;
                }
                self.nodes[target].due = None;
                if is_closing {
                    Self::close(call, target, now);
                } else {
                    self.ask(call, target, now);
                }
            }
        }
    }

    /// A node that is being closed is not asked again.
    fn close<Resp>(call: &Call<Resp>, target: usize, now: Instant) {
        if let Some(id) = call.reopened(target, now) {
            fail(call.target(target), id, Fault::unsent(NodeErrorKind::Closed, None));
        }
    }

    fn ask<Resp>(&self, call: &mut Call<Resp>, target: usize, now: Instant) {
        let again = match self.own.get(target) {
            None | Some(Ask::Shared) => &self.shared,
            Some(Ask::Own(own)) => own,
            Some(Ask::Nothing) => return,
        };
        let Some(id) = call.reopened(target, now) else { return };
        let timing = Timing::new(call.deadline(), now);
        let metadata = again.metadata.as_deref();
        let Message { encoded, local } = &again.message;
        let body = match local.as_ref().filter(|_| call.target(target).channel().is_local()) {
            Some(payload) => {
                let len = self.template.outline(id, timing, metadata).encoded_len(encoded.len());
                self.template.local(payload.clone(), timing, metadata, len)
            }
            None => self.template.copied(id, timing, metadata, encoded),
        };
        call.forget_place(target);
        offer_or_fail(call.target(target), &mut self.template.outgoing(id, body, Awaits::Reply, timing), now);
    }

    /// What a node has answered last, that is to be asked again.
    pub(crate) fn last(&self, target: usize) -> Option<&Fault> {
        self.nodes.get(target)?.last.as_ref()
    }

    /// The last fault of a node, after those that were held back.
    pub(crate) fn after(&self, target: usize, mut fault: Fault) -> Fault {
        fault.earlier |= self.nodes.get(target).is_some_and(|asked| asked.may_have_run);
        fault
    }
}
