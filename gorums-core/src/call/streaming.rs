//! The streaming quorum call: each node may reply any number of times.

use std::fmt;

use crate::call::correctable::Correctable;
use crate::call::description::Description;
use crate::call::intercept::call_interceptors;
use crate::call::options::{Timeout, common_options};
use crate::call::replies::Replies;
use crate::method::Method;
use crate::node::Targets;
use crate::router::entry::MailboxOverflow;

/// A call to all nodes of a configuration, each of which may reply any number of times.
///
/// Nodes of this implementation end their replies; a Go node cannot, and is waited for until the deadline.
#[must_use = "a call does nothing until `send()` or `correctable()` is called"]
pub struct StreamingCall<Req: 'static, Resp: 'static> {
    description: Description<Req, Resp>,
}

impl<Req, Resp> StreamingCall<Req, Resp> {
    pub(crate) fn new(targets: Targets, method: &'static Method<Req, Resp>, request: Req) -> Self {
        Self { description: Description::new(targets, method, request) }
    }

    common_options!();
    call_interceptors!(Resp);

    /// Lets the call last until it is dropped, the nodes end it, or their connections break.
    pub fn no_timeout(mut self) -> Self {
        self.description.options.timeout = Some(Timeout::Never);
        self
    }

    /// How many replies may wait to be read, and what happens when there are more. By default 1,024, and
    /// then the call fails as overrun. A caller that reads slowly never holds up others.
    pub fn mailbox(mut self, replies: usize, overflow: MailboxOverflow) -> Self {
        self.description.options.mailbox = Some((replies, overflow));
        self
    }

    /// Sends the request now. The replies can be read as a stream. With a terminal such as `majority()`, the
    /// first reply of each node counts.
    pub fn send(self) -> Replies<Resp> {
        Replies::new(self.description.start_streaming())
    }

    /// Sends the request now, and watches the reply improve, up to `level` replies. Of replies that were not
    /// looked at in time, only the newest of each node are kept.
    pub fn correctable(self, level: usize) -> Correctable<Resp> {
        self.send().correctable(level)
    }
}

impl<Req: fmt::Debug, Resp> fmt::Debug for StreamingCall<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamingCall").field(&self.description).finish()
    }
}
