//! Calls: described, then sent, then decided.
//!
//! A generated method only describes a call. A terminal such as `majority()`, or `send()`, starts it: the
//! request is encoded once, registered once, and offered to the queue of each node, without waiting. From
//! then on a [`Call`](flight::Call) stands for it; dropping that removes the call everywhere.

mod correctable;
mod decide;
mod description;
mod flight;
mod intercept;
mod offer;
mod oneway;
mod options;
mod own_turn;
mod quorum;
mod reach;
mod replies;
mod reply_set;
mod retry;
mod rpc;
mod stage;
mod staged;
mod streaming;
pub(crate) mod tally;
mod template;

pub use self::correctable::Correctable;
pub use self::decide::{Decide, DecideFuture};
pub use self::intercept::{CallInterceptor, NodeRequest};
pub use self::oneway::{Multicast, Unicast};
pub use self::options::CallOptions;
pub use self::quorum::{QuorumCall, QuorumFunctionFuture, QuorumFuture};
pub use self::reach::Reach;
pub use self::replies::{NodeReply, Replies};
pub use self::reply_set::{Decision, QuorumFunction, ReachWith, ReplySet};
pub use self::retry::Retry;
pub use self::rpc::{Rpc, RpcFuture};
pub use self::stage::Stage;
pub use self::staged::{StagedCall, StagedDecideFuture, StagedFunctionFuture, StagedFuture};
pub use self::streaming::StreamingCall;

#[cfg(test)]
mod tests;
