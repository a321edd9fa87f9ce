//! Names that a method cannot have, as calls by it would find something else, or nothing for sure.
//!
//! An inherent method hides a trait's method of the same name, and two traits that have it make
//! the call ambiguous.

use crate::model::Target;

/// Methods of `Configuration` and of `QuorumConfiguration`.
pub const CONFIGURATION: &[&str] = &[
    "abort",
    "all",
    "close",
    "configuration",
    "contains",
    "difference",
    "extend",
    "first",
    "is_empty",
    "iter",
    "len",
    "majority",
    "node",
    "node_ids",
    "nodes",
    "only",
    "pending",
    "quorum",
    "sorted_by",
    "stats",
    "take",
    "threshold",
    "union",
    "wait_connected",
    "with_options",
    "without",
    "without_errors",
    "without_kinds",
];

/// Methods of `Node`.
pub const NODE: &[&str] = &[
    "address",
    "id",
    "is_connected",
    "last_error",
    "latency",
    "pending",
    "state",
    "states",
    "stats",
    "unreachable_because",
];

/// Methods of the traits that every file has in scope.
pub const PRELUDE: &[&str] = &["clone", "eq", "into", "into_iter", "ne", "to_owned", "to_string", "try_into"];

/// Whose method the name is, if calls on the target cannot have it.
pub(super) fn owner(name: &str, target: Target) -> Option<&'static str> {
    let (names, owner) = match target {
        Target::Configuration => (CONFIGURATION, "Configuration"),
        Target::Node => (NODE, "Node"),
    };
    (names.contains(&name) || PRELUDE.contains(&name)).then_some(owner)
}
