//! Interceptors of one call: what they do to the request for each node, and to each reply.

use std::fmt;

use sync_wrapper::SyncWrapper;
use tonic::metadata::MetadataMap;

use crate::error::{Fault, NodeError, NodeErrorKind};
use crate::node::Node;

/// Sees the request for each node and each reply of one call, and may change or leave out any of them.
///
/// Added with `intercept` to a described call, before it is sent; closures can be added with `map_request`,
/// `map_metadata`, `map_reply`, `inspect_replies` and `filter_replies`. Those of one call act in the order in which they
/// were added, on requests as on replies.
///
/// What comes out of the last one is what the call has got: it is counted by terminals such as `majority()`, seen by
/// quorum functions, and read from `send()`.
///
/// ```
/// use gorums_core::{CallInterceptor, Node, NodeError, NodeRequest, Status};
///
/// /// Gives each node a share of a secret, and takes only replies that prove it.
/// struct Shares(Vec<String>);
///
/// impl CallInterceptor<String, String> for Shares {
///     fn request(&mut self, request: &mut NodeRequest<'_, String>) {
///         match self.0.get(request.node().id().get() as usize) {
///             Some(share) => request.set_message(format!("{} {share}", request.message())),
///             None => request.skip(),
///         }
///     }
///
///     fn reply(
///         &mut self,
///         node: &Node,
///         reply: Result<String, NodeError>,
///     ) -> Option<Result<String, NodeError>> {
///         let proves = |reply: String| {
///             if self.0.contains(&reply) { Ok(reply) } else { Err(Status::data_loss("a wrong share")) }
///         };
///         Some(reply.and_then(|reply| proves(reply).map_err(|status| NodeError::from_status(node, status))))
///     }
/// }
/// ```
pub trait CallInterceptor<Req, Resp>: Send + 'static {
    /// The request for one node: called for each node, in the order of the configuration, when the call starts; not
    /// for a node that an interceptor before this one has skipped.
    fn request(&mut self, request: &mut NodeRequest<'_, Req>) {
        let _ = request;
    }

    /// A reply or an error of a node, when the caller takes it; `None` leaves it out.
    ///
    /// Also called for nodes that were skipped, and at the deadline for those that have not replied by then. Not for what
    /// comes after the call was decided.
    fn reply(&mut self, node: &Node, reply: Result<Resp, NodeError>) -> Option<Result<Resp, NodeError>> {
        let _ = node;
        Some(reply)
    }
}

/// The request for one node, on its way through the interceptors of a call.
pub struct NodeRequest<'a, Req> {
    node: &'a Node,
    shared: &'a Req,
    metadata: Option<&'a MetadataMap>,
    own: Own<Req>,
}

/// What differs from the request that all nodes get.
pub(crate) struct Own<Req> {
    pub(crate) message: Option<Req>,
    pub(crate) metadata: Option<Box<MetadataMap>>,
    pub(crate) skipped: bool,
}

impl<Req> Own<Req> {
    /// The node gets what all get.
    pub(crate) fn is_shared(&self) -> bool {
        !self.skipped && self.message.is_none() && self.metadata.is_none()
    }
}

impl<Req> NodeRequest<'_, Req> {
    /// The node.
    pub fn node(&self) -> &Node {
        self.node
    }

    /// The request.
    pub fn message(&self) -> &Req {
        self.own.message.as_ref().unwrap_or(self.shared)
    }

    /// Replaces the request for this node.
    pub fn set_message(&mut self, message: Req) {
        self.own.message = Some(message);
    }

    /// The metadata for this node, to be changed.
    pub fn metadata_mut(&mut self) -> &mut MetadataMap {
        let shared = self.metadata;
        self.own.metadata.get_or_insert_with(|| Box::new(shared.cloned().unwrap_or_default()))
    }

    /// Leaves this node out: nothing is sent to it, and its reply is a [`NodeErrorKind::Skipped`].
    pub fn skip(&mut self) {
        self.own.skipped = true;
    }
}

impl<Req: fmt::Debug> fmt::Debug for NodeRequest<'_, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeRequest")
            .field("node", &self.node)
            .field("message", self.message())
            .field("skipped", &self.own.skipped)
            .finish_non_exhaustive()
    }
}

/// The interceptors of one call, in order.
pub(crate) struct Chain<Req: 'static, Resp: 'static> {
    /// Only touched by whoever owns the call.
    links: SyncWrapper<Vec<Box<dyn CallInterceptor<Req, Resp>>>>,
    /// One of them may want to see replies.
    takes_replies: bool,
}

impl<Req, Resp> Default for Chain<Req, Resp> {
    fn default() -> Self {
        Self { links: SyncWrapper::new(Vec::new()), takes_replies: false }
    }
}

impl<Req: 'static, Resp: 'static> Chain<Req, Resp> {
    pub(crate) fn add(&mut self, takes_replies: bool, link: impl CallInterceptor<Req, Resp>) {
        self.takes_replies |= takes_replies;
        self.links.get_mut().push(Box::new(link));
    }

    pub(crate) fn takes_replies(&self) -> bool {
        self.takes_replies
    }

    /// What is different about the request for `node`.
    pub(crate) fn request(&mut self, node: &Node, shared: &Req, metadata: Option<&MetadataMap>) -> Own<Req> {
        let own = Own { message: None, metadata: None, skipped: false };
        let mut request = NodeRequest { node, shared, metadata, own };
        for link in self.links.get_mut() {
            if !request.own.skipped {
                link.request(&mut request);
            }
        }
        request.own
    }
}

/// What a call has got from a node.
pub(crate) enum Received<Resp> {
    /// A reply or an error.
    Given(Result<Resp, NodeError>),
    /// An interceptor left it out, and no other one will come from this node.
    LeftOut(NodeError),
}

/// The part of a chain that replies go through.
pub(crate) trait ReplyChain<Resp>: Send + Sync {
    /// Takes a reply of a node, the `last` one or not. `None` if it is as if it had not come.
    fn receive(&mut self, node: &Node, reply: Result<Resp, NodeError>, last: bool) -> Option<Received<Resp>>;
}

impl<Req: 'static, Resp: 'static> ReplyChain<Resp> for Chain<Req, Resp> {
    fn receive(&mut self, node: &Node, reply: Result<Resp, NodeError>, last: bool) -> Option<Received<Resp>> {
        let failed = reply.as_ref().err().cloned();
        let mut reply = reply;
        for link in self.links.get_mut() {
            let error = reply.as_ref().err().cloned();
            reply = match link.reply(node, reply) {
                // The node has done what was asked all the same.
                Some(Err(error)) if failed.is_none() => Err(error.of_answer()),
                Some(reply) => reply,
                None if failed.is_none() && !last => return None,
                None => {
                    let filtered = || Fault::answered(NodeErrorKind::Filtered).of(node);
                    return Some(Received::LeftOut(error.or(failed).unwrap_or_else(filtered)));
                }
            };
        }
        Some(Received::Given(reply))
    }
}

pub(crate) struct MapRequest<F>(pub(crate) F);

impl<Req, Resp, F> CallInterceptor<Req, Resp> for MapRequest<F>
where
    F: FnMut(&Req, &Node) -> Option<Req> + Send + 'static,
{
    fn request(&mut self, request: &mut NodeRequest<'_, Req>) {
        match (self.0)(request.message(), request.node()) {
            Some(message) => request.set_message(message),
            None => request.skip(),
        }
    }
}

pub(crate) struct MapMetadata<F>(pub(crate) F);

impl<Req, Resp, F> CallInterceptor<Req, Resp> for MapMetadata<F>
where
    F: FnMut(&mut MetadataMap, &Node) + Send + 'static,
{
    fn request(&mut self, request: &mut NodeRequest<'_, Req>) {
        let node = request.node;
        (self.0)(request.metadata_mut(), node);
    }
}

/// Calls a closure with each reply.
pub(crate) struct TakeReply<F>(pub(crate) F);

impl<Req, Resp, F> CallInterceptor<Req, Resp> for TakeReply<F>
where
    F: FnMut(&Node, Result<Resp, NodeError>) -> Option<Result<Resp, NodeError>> + Send + 'static,
{
    fn reply(&mut self, node: &Node, reply: Result<Resp, NodeError>) -> Option<Result<Resp, NodeError>> {
        (self.0)(node, reply)
    }
}

/// The methods with which interceptors of requests are added, for a type with a field `description`.
macro_rules! request_interceptors {
    () => {
        /// Gives each node a request of its own; `None` skips the node: nothing is sent to it, and its error is
        /// [`NodeErrorKind::Skipped`](crate::NodeErrorKind::Skipped), which is no success.
        ///
        /// The closure is called for each node when the call starts, with what mappings before it gave. The requests are
        /// encoded one by one.
        pub fn map_request<F>(mut self, map: F) -> Self
        where
            F: FnMut(&Req, &crate::node::Node) -> Option<Req> + Send + 'static,
        {
            self.description.add_interceptor(false, crate::call::intercept::MapRequest(map));
            self
        }

        /// Gives each node metadata of its own, which starts as that of the call, after what mappings before it did. Set
        /// the call's own [`metadata`](Self::metadata) before or after; it is looked at when the call starts.
        pub fn map_metadata<F>(mut self, map: F) -> Self
        where
            F: FnMut(&mut ::tonic::metadata::MetadataMap, &crate::node::Node) + Send + 'static,
        {
            self.description.add_interceptor(false, crate::call::intercept::MapMetadata(map));
            self
        }
    };
}
pub(crate) use request_interceptors;

/// The methods with which interceptors are added, for a type with a field `description`.
macro_rules! call_interceptors {
    ($resp:ty) => {
        crate::call::intercept::request_interceptors!();

        /// Adds an interceptor of requests and replies.
        pub fn intercept(
            mut self,
            interceptor: impl crate::call::intercept::CallInterceptor<Req, $resp>,
        ) -> Self {
            self.description.add_interceptor(true, interceptor);
            self
        }

        /// Replaces each reply and each error of a node. A reply may become an error, and an error a reply; what comes
        /// out is what counts. [`NodeError::from_status`](crate::NodeError::from_status) makes errors.
        pub fn map_reply<F>(self, mut map: F) -> Self
        where
            F: FnMut(
                    Result<$resp, crate::error::NodeError>,
                    &crate::node::Node,
                ) -> Result<$resp, crate::error::NodeError>
                + Send
                + 'static,
        {
            self.take_replies(move |node, reply| Some(map(reply, node)))
        }

        /// Looks at each reply and each error of a node, in the order in which the call takes them. An error after which
        /// the node is [asked again](crate::Retry) is not taken.
        pub fn inspect_replies<F>(self, mut inspect: F) -> Self
        where
            F: FnMut(&Result<$resp, crate::error::NodeError>, &crate::node::Node) + Send + 'static,
        {
            self.take_replies(move |node, reply| {
                inspect(&reply, node);
                Some(reply)
            })
        }

        /// Leaves out replies and errors for which the closure says `false`. They are neither counted nor read. If the call
        /// fails, its error names a node whose reply was left out as
        /// [`NodeErrorKind::Filtered`](crate::NodeErrorKind::Filtered), and one whose error was left out by that error.
        pub fn filter_replies<F>(self, mut keep: F) -> Self
        where
            F: FnMut(&Result<$resp, crate::error::NodeError>, &crate::node::Node) -> bool + Send + 'static,
        {
            self.take_replies(move |node, reply| keep(&reply, node).then_some(reply))
        }

        fn take_replies<F>(mut self, take: F) -> Self
        where
            F: FnMut(
                    &crate::node::Node,
                    Result<$resp, crate::error::NodeError>,
                ) -> Option<Result<$resp, crate::error::NodeError>>
                + Send
                + 'static,
        {
            self.description.add_interceptor(true, crate::call::intercept::TakeReply(take));
            self
        }
    };
}
pub(crate) use call_interceptors;
