//! Configurations with a quorum, and what calls can be made on.

use crate::call::tally::Quorum;
use crate::call::{Multicast, QuorumCall, Rpc, StreamingCall, Unicast};
use crate::configuration::Configuration;
use crate::method::Method;
use crate::node::{Node, Targets};

/// A configuration together with the quorum of the calls that are made on it.
///
/// ```no_run
/// # use gorums_core::{Configuration, codegen::*};
/// # trait ReadClient: QuorumTarget {
/// #     fn read(&self, request: ()) -> QuorumCall<(), (), Self::Quorum> {
/// #         const READ: Method<(), ()> = Method::prost("example.Read", CallType::QuorumCall);
/// #         QuorumTarget::quorum_call(self, &READ, request)
/// #     }
/// # }
/// # impl<T: QuorumTarget> ReadClient for T {}
/// # async fn run(configuration: Configuration) {
/// let everywhere = configuration.all();
/// let reply = everywhere.read(()).await; // a generated method
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumConfiguration {
    configuration: Configuration,
    quorum: Quorum,
}

impl QuorumConfiguration {
    pub(crate) fn new(configuration: Configuration, quorum: Quorum) -> Self {
        Self { configuration, quorum }
    }

    /// The nodes.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The quorum of calls that do not choose another one.
    pub fn quorum(&self) -> Quorum {
        self.quorum
    }
}

/// A call whose quorum is still to be chosen, with a terminal such as `majority()`.
#[derive(Clone, Copy, Debug)]
pub struct Undecided;

/// A call whose quorum was chosen on the configuration: it can be awaited as it is.
#[derive(Clone, Copy, Debug)]
pub struct Decided(pub(crate) Quorum);

/// What quorum calls and multicasts can be made on. Generated client traits extend it.
///
/// Its functions take no `self`, so that they do not get in the way of methods of a service.
#[diagnostic::on_unimplemented(
    message = "quorum calls and multicasts are made on a configuration, not on `{Self}`",
    label = "this needs a `Configuration`, such as `configuration.only([1])` for one node"
)]
pub trait QuorumTarget: sealed::Sealed {
    /// Whether calls have a quorum already: [`Undecided`] or [`Decided`].
    type Quorum;

    #[doc(hidden)]
    fn quorum_call<Req, Resp>(
        target: &Self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> QuorumCall<Req, Resp, Self::Quorum>;

    #[doc(hidden)]
    fn streaming_call<Req, Resp>(
        target: &Self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> StreamingCall<Req, Resp>;

    #[doc(hidden)]
    fn multicast<Req>(target: &Self, method: &'static Method<Req, ()>, request: Req) -> Multicast<Req>;
}

impl QuorumTarget for Configuration {
    type Quorum = Undecided;

    fn quorum_call<Req, Resp>(
        target: &Self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> QuorumCall<Req, Resp, Undecided> {
        QuorumCall::new(target.targets(), method, request, Undecided)
    }

    fn streaming_call<Req, Resp>(
        target: &Self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> StreamingCall<Req, Resp> {
        StreamingCall::new(target.targets(), method, request)
    }

    fn multicast<Req>(target: &Self, method: &'static Method<Req, ()>, request: Req) -> Multicast<Req> {
        Multicast::new(target.targets(), method, request, Quorum::All)
    }
}

impl QuorumTarget for QuorumConfiguration {
    type Quorum = Decided;

    fn quorum_call<Req, Resp>(
        target: &Self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> QuorumCall<Req, Resp, Decided> {
        QuorumCall::new(target.configuration.targets(), method, request, Decided(target.quorum))
    }

    fn streaming_call<Req, Resp>(
        target: &Self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> StreamingCall<Req, Resp> {
        Configuration::streaming_call(&target.configuration, method, request)
    }

    fn multicast<Req>(target: &Self, method: &'static Method<Req, ()>, request: Req) -> Multicast<Req> {
        Multicast::new(target.configuration.targets(), method, request, target.quorum)
    }
}

/// What rpcs and unicasts can be made on: a [`Node`]. Generated client traits extend it.
///
/// Its functions take no `self`, so that they do not get in the way of methods of a service.
#[diagnostic::on_unimplemented(
    message = "rpcs and unicasts are made on one node, not on `{Self}`",
    label = "take a node first: `configuration.node(1)`, or one of `configuration.nodes()`"
)]
pub trait NodeTarget: sealed::Sealed {
    #[doc(hidden)]
    fn rpc<Req, Resp>(target: &Self, method: &'static Method<Req, Resp>, request: Req) -> Rpc<Req, Resp>;

    #[doc(hidden)]
    fn unicast<Req>(target: &Self, method: &'static Method<Req, ()>, request: Req) -> Unicast<Req>;
}

impl NodeTarget for Node {
    fn rpc<Req, Resp>(target: &Self, method: &'static Method<Req, Resp>, request: Req) -> Rpc<Req, Resp> {
        Rpc::new(Targets::One(target.clone()), method, request)
    }

    fn unicast<Req>(target: &Self, method: &'static Method<Req, ()>, request: Req) -> Unicast<Req> {
        Unicast::new(Targets::One(target.clone()), method, request)
    }
}

impl Configuration {
    fn targets(&self) -> Targets {
        Targets::Many(self.members().clone())
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Configuration {}
    impl Sealed for super::QuorumConfiguration {}
    impl Sealed for super::Node {}
}
