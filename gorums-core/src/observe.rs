//! What production wants to see: spans of calls and handlers, metrics, and a snapshot of a configuration.
//!
//! Nobody who does not look pays for it: a call asks once whether it is watched, and carries nothing if it is not.

pub(crate) mod call;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod report;
pub(crate) mod trace;

pub(crate) use self::call::{CallOutcome, Observed};
