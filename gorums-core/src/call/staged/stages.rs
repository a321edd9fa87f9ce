//! A staged call in flight: who was asked so far, and when the others are.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep};

use crate::call::description::Description;
use crate::call::flight::Call;
use crate::call::intercept::Own;
use crate::call::offer::{fail, offer_or_fail};
use crate::call::stage::{Stage, order};
use crate::call::template::Timing;
use crate::channel::queue::{Awaits, Body};
use crate::error::{Fault, NodeErrorKind};
use crate::id::MessageId;
use crate::router::entry::Mode;

/// Why there is nothing to tell of a node.
#[derive(Debug, thiserror::Error)]
#[error("it was never asked, as the call ended before its later stage")]
pub(crate) struct NeverAsked;

/// What waits for a staged call, and what it has seen of its replies.
pub(crate) trait Staged: Future {
    type Resp;

    fn call(&self) -> &Call<Self::Resp>;

    /// How many nodes have succeeded, and how many have failed.
    fn counts(&self) -> (usize, usize);
}

pin_project! {
    /// A call of which the first stage was sent.
    pub(crate) struct Sent<Req: 'static, Resp: 'static, R> {
        #[pin]
        reach: R,
        #[pin]
        delay: Sleep,
        stages: Stages<Req, Resp>,
    }
}

impl<Req, Resp, R: Staged<Resp = Resp>> Future for Sent<Req, Resp, R> {
    type Output = R::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R::Output> {
        let mut this = self.project();
        if let Poll::Ready(result) = this.reach.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if !this.stages.is_over() {
            let due = match this.delay.poll(cx) {
                Poll::Ready(()) => this.stages.order.len(),
                Poll::Pending => this.stages.due(this.reach.counts()),
            };
            // A node that fails at once wakes this call.
            this.stages.ask(this.reach.call(), due);
        }
        Poll::Pending
    }
}

/// The nodes in the order in which they are asked, and what they are asked.
struct Stages<Req: 'static, Resp: 'static> {
    description: Description<Req, Resp>,
    /// What interceptors have changed about the request for each node; nothing if there are none.
    own: Vec<Own<Req>>,
    /// The message that is common to all, once it was encoded.
    message: Option<Bytes>,
    order: SmallVec<[usize; 8]>,
    /// How many of them are asked, if none fails.
    width: usize,
    /// How many of them were asked.
    asked: usize,
}

impl<Req, Resp> Description<Req, Resp> {
    /// Starts a call that asks only the nodes of its first stage.
    pub(crate) fn start_staged<R: Staged<Resp = Resp>>(
        mut self,
        stage: Stage,
        width: usize,
        reach: impl FnOnce(Call<Resp>) -> R,
    ) -> Sent<Req, Resp, R> {
        let own = self.prepare();
        let is_skipped = |target: usize| own.get(target).is_some_and(|own| own.skipped);
        let targets = self.targets.clone();
        let nodes = targets.nodes();
        let mut order = order(nodes);
        order.retain(|target| !is_skipped(*target));
        let width = width.min(order.len());
        let delay = stage.delay(order[..width].iter().map(|&target| nodes[target].latency()));
        let width = if delay.is_zero() { order.len() } else { width };
        let now = Instant::now();
        let call = self.register(Mode::Each, now, |entry| entry.hold(&order[width..]));
        let left = call.deadline().map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
        let mut stages = Stages { description: self, own, message: None, order, width, asked: 0 };
        stages.skip(&call);
        stages.ask(&call, width);
        Sent { reach: reach(call), delay: sleep(delay.min(left / 2)), stages }
    }
}

impl<Req, Resp> Stages<Req, Resp> {
    /// Fails the call at the nodes that interceptors have skipped.
    fn skip(&self, call: &Call<Resp>) {
        let Some(id) = call.id() else { return };
        for (target, _) in self.own.iter().enumerate().filter(|(_, own)| own.skipped) {
            fail(call.target(target), id, Fault::unsent(NodeErrorKind::Skipped, None));
        }
    }

    /// Asks the first so many nodes, as far as that was not done.
    fn ask(&mut self, call: &Call<Resp>, count: usize) {
        let (from, to) = (self.asked, count.min(self.order.len()));
        let Some(id) = call.id().filter(|_| from < to) else { return };
        self.asked = to;
        let now = Instant::now();
        let timing = Timing::new(call.deadline(), now);
        let mut shared = None;
        for index in from..to {
            let target = self.order[index];
            if index >= self.width && call.with(|entry| entry.offered(target, now)) != Some(true) {
                continue;
            }
            let node = call.target(target);
            let own = self.own.get(target).filter(|own| !own.is_shared());
            let body = match own {
                own if node.channel().is_local() => self.description.local(id, timing, own),
                Some(own) => self.description.encode(id, timing, Some(own)),
                None => match &shared {
                    Some(shared) => Ok(Body::clone(shared)),
                    None => self.shared(id, timing).inspect(|body| shared = Some(body.clone())),
                },
            };
            match body {
                Ok(body) => {
                    let mut request = self.description.outgoing(id, body, Awaits::Reply, timing);
                    offer_or_fail(node, &mut request, now);
                }
                Err(fault) => fail(node, id, fault),
            }
        }
    }

    /// What all nodes get that get nothing of their own. The message is encoded once, and copied behind a new head when
    /// less time is left.
    fn shared(&mut self, id: MessageId, timing: Timing) -> Result<Body, Fault> {
        let Description { method, request, options, .. } = &self.description;
        let message = match &mut self.message {
            Some(message) => message,
            none => {
                let encoded = method.request.encoded(request);
                none.insert(encoded.map_err(|error| self.description.unencodable(error))?)
            }
        };
        Ok(self.description.template().copied(id, timing, options.metadata.as_deref(), message))
    }

    /// How many nodes have to be asked by now, whatever the clock says.
    fn due(&self, (successes, failures): (usize, usize)) -> usize {
        if successes >= self.width {
            // A quorum function needs more successes than it was taken for.
            return self.order.len();
        }
        let skipped = self.own.iter().filter(|own| own.skipped).count();
        self.width + failures.saturating_sub(skipped)
    }

    fn is_over(&self) -> bool {
        self.asked == self.order.len()
    }
}

#[cfg(test)]
mod tests;
