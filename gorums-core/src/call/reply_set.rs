//! Quorum functions: what decides a call in another way than by counting.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::call::flight::Call;
use crate::call::intercept::Received;
use crate::call::replies::{NodeReply, Replies};
use crate::call::staged::Staged;
use crate::error::{NodeError, QuorumError, QuorumErrorKind};
use crate::id::NodeId;

/// The replies so far, as a quorum function sees them.
#[derive(Debug)]
pub struct ReplySet<Resp> {
    size: usize,
    successes: Vec<(NodeId, Resp)>,
    failures: Vec<NodeError>,
    left_out: Vec<NodeError>,
}

impl<Resp> ReplySet<Resp> {
    fn new(size: usize) -> Self {
        Self { size, successes: Vec::with_capacity(size), failures: Vec::new(), left_out: Vec::new() }
    }

    /// The replies of a configuration of `size` nodes, to test quorum functions with.
    pub fn from_replies(size: usize, replies: impl IntoIterator<Item = NodeReply<Resp>>) -> Self {
        let mut set = Self::new(size);
        replies.into_iter().for_each(|reply| set.add((reply.node, Received::Given(reply.result))));
        set
    }

    fn add(&mut self, (node, received): (NodeId, Received<Resp>)) {
        match received {
            Received::Given(Ok(value)) => self.successes.push((node, value)),
            Received::Given(Err(error)) if !error.is_left_out() => self.failures.push(error),
            Received::Given(Err(error)) | Received::LeftOut(error) => self.left_out.push(error),
        }
    }

    /// How many nodes were called.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The successful replies, in order of arrival.
    pub fn successes(&self) -> impl ExactSizeIterator<Item = (NodeId, &Resp)> {
        self.successes.iter().map(|(node, value)| (*node, value))
    }

    /// Takes the successful replies out, in order of arrival.
    pub fn take_successes(&mut self) -> Vec<(NodeId, Resp)> {
        std::mem::take(&mut self.successes)
    }

    /// The failures, in order of arrival.
    pub fn failures(&self) -> &[NodeError] {
        &self.failures
    }

    /// How many replies were successful. In a streaming call that is not the number of nodes, each of which may have
    /// replied more than once.
    pub fn success_count(&self) -> usize {
        self.successes.len()
    }

    /// How many nodes failed.
    pub fn failure_count(&self) -> usize {
        self.failures.len()
    }

    /// The nodes that the call's own interceptors have skipped, or whose reply they left out: neither successes nor
    /// failures.
    pub fn left_out(&self) -> &[NodeError] {
        &self.left_out
    }

    /// How many nodes may still reply. Of use for calls with one reply from each node.
    pub fn outstanding(&self) -> usize {
        self.size.saturating_sub(self.successes.len() + self.failures.len() + self.left_out.len())
    }
}

/// What a quorum function says of the replies so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<T> {
    /// More replies are needed.
    Pending,
    /// This is the result.
    Reached(T),
    /// Whatever the outstanding nodes reply, there will be no result.
    Impossible,
}

/// Decides a quorum call, reply by reply.
///
/// Closures `FnMut(&mut ReplySet<Resp>) -> Option<T>` are quorum functions that return `None` while they need
/// more; the call fails once every node has answered and they still do.
///
/// ```
/// use gorums_core::ReplySet;
///
/// /// The largest of `count` numbers.
/// fn largest_of(count: usize) -> impl FnMut(&mut ReplySet<u64>) -> Option<u64> {
///     move |replies| {
///         let largest = replies.successes().map(|(_, number)| *number).max();
///         largest.filter(|_| replies.success_count() >= count)
///     }
/// }
/// ```
pub trait QuorumFunction<Resp> {
    /// The result of the call.
    type Output;

    /// Called after each reply, and each failure, with all that came so far.
    fn decide(&mut self, replies: &mut ReplySet<Resp>) -> Decision<Self::Output>;
}

impl<Resp, T, F: FnMut(&mut ReplySet<Resp>) -> Option<T>> QuorumFunction<Resp> for F {
    type Output = T;

    fn decide(&mut self, replies: &mut ReplySet<Resp>) -> Decision<T> {
        self(replies).map_or(Decision::Pending, Decision::Reached)
    }
}

/// Resolves when a quorum function has decided; or when it no longer can, or the deadline has passed.
///
/// # Errors
///
/// [`QuorumErrorKind::Incomplete`] when the function finds the result out of reach, or when every node has answered and it
/// still needs more; [`QuorumErrorKind::DeadlineExceeded`] at the deadline; [`QuorumErrorKind::Cancelled`] if a handler
/// made the call and nobody waits for that any more.
///
/// # Cancel safety
///
/// Dropping it gives the call up: it is removed everywhere, and nodes that support it are told.
#[must_use = "futures do nothing unless awaited"]
pub struct ReachWith<Resp, F> {
    replies: Replies<Resp>,
    function: F,
    set: ReplySet<Resp>,
}

impl<Resp, F> ReachWith<Resp, F> {
    pub(crate) fn new(replies: Replies<Resp>, function: F) -> Self {
        let set = ReplySet::new(replies.size());
        Self { replies, function, set }
    }
}

impl<Resp, F> Unpin for ReachWith<Resp, F> {}

impl<Resp, F: QuorumFunction<Resp>> Staged for ReachWith<Resp, F> {
    type Resp = Resp;

    fn call(&self) -> &Call<Resp> {
        self.replies.call()
    }

    fn counts(&self) -> (usize, usize) {
        self.replies.counts()
    }
}

impl<Resp, F: QuorumFunction<Resp>> Future for ReachWith<Resp, F> {
    type Output = Result<F::Output, QuorumError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(received) = ready!(this.replies.poll_received(cx)) {
            this.set.add(received);
            match this.function.decide(&mut this.set) {
                Decision::Pending => {}
                Decision::Reached(value) => {
                    this.replies.call_mut().reached();
                    return Poll::Ready(Ok(value));
                }
                Decision::Impossible => break,
            }
        }
        this.replies.close().for_each(|received| this.set.add(received));
        let call = this.replies.call_mut();
        let mut nodes = std::mem::take(&mut this.set.failures);
        nodes.append(&mut this.set.left_out);
        let (kind, rest) = QuorumErrorKind::Incomplete.given(&nodes);
        nodes.extend(call.unsettled(&rest).into_iter().map(|(_, error)| error));
        let error = call.quorum_error(kind, (0, this.set.successes.len()), nodes);
        call.end();
        Poll::Ready(Err(error))
    }
}
