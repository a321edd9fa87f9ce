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
/// # async fn run(configuration: Configuration, method: &'static Method<(), ()>) {
/// let everywhere = configuration.all();
/// let reply = everywhere.quorum_call(method, ()).await; // a generated method, in real life
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
pub trait QuorumTarget: sealed::Sealed {
    /// Whether calls have a quorum already: [`Undecided`] or [`Decided`].
    type Quorum;

    #[doc(hidden)]
    fn quorum_call<Req, Resp>(
        &self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> QuorumCall<Req, Resp, Self::Quorum>;

    #[doc(hidden)]
    fn streaming_call<Req, Resp>(
        &self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> StreamingCall<Req, Resp>;

    #[doc(hidden)]
    fn multicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Multicast<Req>;
}

impl QuorumTarget for Configuration {
    type Quorum = Undecided;

    fn quorum_call<Req, Resp>(
        &self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> QuorumCall<Req, Resp, Undecided> {
        QuorumCall::new(self.targets(), method, request, Undecided)
    }

    fn streaming_call<Req, Resp>(
        &self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> StreamingCall<Req, Resp> {
        StreamingCall::new(self.targets(), method, request)
    }

    fn multicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Multicast<Req> {
        Multicast::new(self.targets(), method, request, Quorum::All)
    }
}

impl QuorumTarget for QuorumConfiguration {
    type Quorum = Decided;

    fn quorum_call<Req, Resp>(
        &self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> QuorumCall<Req, Resp, Decided> {
        QuorumCall::new(self.configuration.targets(), method, request, Decided(self.quorum))
    }

    fn streaming_call<Req, Resp>(
        &self,
        method: &'static Method<Req, Resp>,
        request: Req,
    ) -> StreamingCall<Req, Resp> {
        self.configuration.streaming_call(method, request)
    }

    fn multicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Multicast<Req> {
        Multicast::new(self.configuration.targets(), method, request, self.quorum)
    }
}

/// What rpcs and unicasts can be made on: a [`Node`]. Generated client traits extend it.
pub trait NodeTarget: sealed::Sealed {
    #[doc(hidden)]
    fn rpc<Req, Resp>(&self, method: &'static Method<Req, Resp>, request: Req) -> Rpc<Req, Resp>;

    #[doc(hidden)]
    fn unicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Unicast<Req>;
}

impl NodeTarget for Node {
    fn rpc<Req, Resp>(&self, method: &'static Method<Req, Resp>, request: Req) -> Rpc<Req, Resp> {
        Rpc::new(Targets::One(self.clone()), method, request)
    }

    fn unicast<Req>(&self, method: &'static Method<Req, ()>, request: Req) -> Unicast<Req> {
        Unicast::new(Targets::One(self.clone()), method, request)
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
