//! A library of quorum rules: what makes the replies to a call enough, and what they mean together.
//!
//! A [`QuorumRule`] is fed with the replies of a call one at a time, and says as early as it can be known that they are
//! enough, or that they never will be. `call.decide(rule)` is the terminal that runs one. The rules know nothing of
//! networks and clocks, so that those of a protocol can be tested on their own.
//!
//! | rule | decided by | output |
//! |---|---|---|
//! | [`any()`], [`majority()`], [`all()`], [`threshold(n)`](threshold) | so many successes | the [`Successes`] |
//! | [`gather(system)`](gather) | successes of a quorum of a [`QuorumSystem`] | the [`Successes`] |
//! | [`matching(n)`](matching), [`matching_by`], [`matching_by_hash`] | `n` replies that say the same | those [`Successes`] |
//! | [`newest(timestamp)`](newest), [`newest_of`] | successes of a quorum | the [`Newest`] reply |
//!
//! Quorum systems are [`Quorum`](crate::Quorum) (by count), [`Byzantine`], [`Weighted`], the rows and columns of a [`Grid`],
//! and [`Quorums`] that are listed one by one; [`QuorumSystem::and`] and [`QuorumSystem::or`] join them. That those who
//! write and those who read meet is checked by [`ReadWrite`] and [`disjoint_quorums`]. Rules are joined and changed by
//! [`QuorumRule::and`], [`QuorumRule::or`] and [`QuorumRule::map`].
//!
//! ```no_run
//! # use gorums_core::quorum::{self, QuorumRule, Successes};
//! # use gorums_core::{NodeId, QuorumCall, QuorumError};
//! # #[derive(Clone, PartialEq)] struct Value { version: u64, writer: u32 }
//! # async fn run(read: impl Fn() -> QuorumCall<(), Value>) -> Result<(), Box<dyn std::error::Error>> {
//! // The newest value that a majority knows.
//! let newest = read().decide(quorum::newest(|value: &Value| (value.version, value.writer))).await?;
//! // What at least one correct node says, if at most one of the nodes lies.
//! let certain = read().decide(quorum::matching(2)).await?;
//! // Everybody of a column, in a grid of four nodes.
//! let node = |id: u32| NodeId::try_from(id);
//! let grid = quorum::Grid::new([[node(1)?, node(2)?], [node(3)?, node(4)?]])?;
//! let column = read().decide(quorum::gather(grid.columns())).await?;
//! // A rule that sums up.
//! let highest = |replies: Successes<Value>| replies.into_iter().map(|(_, value)| value.version).max();
//! let version = read().decide(quorum::majority().map(highest)).await?;
//! # Ok(()) }
//! ```

mod combine;
mod gather;
mod intersection;
mod matching;
mod newest;
mod outstanding;
mod rule;
mod system;
#[cfg(test)]
mod tests;

pub use self::combine::{And, Map, OneOf, Or};
pub use self::gather::{Gather, Successes, all, any, gather, majority, threshold};
pub use self::intersection::{DisjointQuorums, NoReadWrite, ReadWrite, TooManyNodes, disjoint_quorums};
pub use self::matching::{Matching, matching, matching_by, matching_by_hash};
pub use self::newest::{Newest, NewestRule, newest, newest_of};
pub use self::rule::{QuorumRule, Reason, Verdict};
pub use self::system::{BothSystems, Byzantine, EitherSystem, Grid, NoGrid, QuorumSystem, Quorums, Weighted};
