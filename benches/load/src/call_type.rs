//! What can be measured: the call types, by name.

use std::fmt;

use anyhow::{Result, bail};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// A way to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CallType {
    Rpc,
    QuorumFirst,
    QuorumMajority,
    QuorumAll,
    QuorumThreshold,
    Async,
    Correctable,
    Streaming,
    Unicast,
    UnicastQueued,
    Multicast,
    MulticastQueued,
    Local,
}

impl CallType {
    pub(crate) const ALL: [Self; 13] = [
        Self::Rpc,
        Self::QuorumFirst,
        Self::QuorumMajority,
        Self::QuorumAll,
        Self::QuorumThreshold,
        Self::Async,
        Self::Correctable,
        Self::Streaming,
        Self::Unicast,
        Self::UnicastQueued,
        Self::Multicast,
        Self::MulticastQueued,
        Self::Local,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rpc => "rpc",
            Self::QuorumFirst => "quorum-first",
            Self::QuorumMajority => "quorum-majority",
            Self::QuorumAll => "quorum-all",
            Self::QuorumThreshold => "quorum-threshold",
            Self::Async => "async",
            Self::Correctable => "correctable",
            Self::Streaming => "streaming",
            Self::Unicast => "unicast",
            Self::UnicastQueued => "unicast-queued",
            Self::Multicast => "multicast",
            Self::MulticastQueued => "multicast-queued",
            Self::Local => "local",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Rpc => "a call to the first node, which replies",
            Self::QuorumFirst => "a quorum call, until the first node has replied",
            Self::QuorumMajority => "a quorum call, until a majority has replied",
            Self::QuorumAll => "a quorum call, until all nodes have replied",
            Self::QuorumThreshold => "a quorum call, until --quorum-size nodes have replied",
            Self::Async => {
                "send() first and --quorum-size replies later: each caller has --pipeline calls open"
            }
            Self::Correctable => "a correctable call, up to level --quorum-size",
            Self::Streaming => "a streaming call: every node replies --updates times, and all of it is read",
            Self::Unicast => "a one-way message to the first node, until it was handed to the transport",
            Self::UnicastQueued => "a one-way message to the first node, until it was queued",
            Self::Multicast => "a one-way message to all nodes, until it was handed to the transports",
            Self::MulticastQueued => "a one-way message to all nodes, until it was queued",
            Self::Local => "a call to the own node, within the process",
        }
    }

    /// Nobody replies: what is counted is what the slowest server has got.
    pub(crate) fn is_one_way(self) -> bool {
        matches!(self, Self::Unicast | Self::UnicastQueued | Self::Multicast | Self::MulticastQueued)
    }

    /// Goes to one node only.
    pub(crate) fn is_to_one(self) -> bool {
        matches!(self, Self::Rpc | Self::Unicast | Self::UnicastQueued | Self::Local)
    }

    /// How many replies it waits for.
    pub(crate) fn needed(self, nodes: usize, quorum_size: usize) -> usize {
        match self {
            Self::Rpc | Self::QuorumFirst | Self::Local => 1,
            Self::QuorumMajority => nodes / 2 + 1,
            Self::QuorumAll | Self::Streaming => nodes,
            Self::QuorumThreshold | Self::Async | Self::Correctable => quorum_size,
            Self::Unicast | Self::UnicastQueued | Self::Multicast | Self::MulticastQueued => 0,
        }
    }

    /// The call types whose names a regular expression finds.
    pub(crate) fn matching(pattern: &Regex) -> Result<Vec<Self>> {
        let found: Vec<_> = Self::ALL.into_iter().filter(|call| pattern.is_match(call.name())).collect();
        if found.is_empty() {
            let names: Vec<_> = Self::ALL.map(Self::name).to_vec();
            bail!("no call type matches `{pattern}`: they are {}", names.join(", "));
        }
        Ok(found)
    }
}

impl fmt::Display for CallType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_types_are_chosen_by_regular_expression() {
        let matching = |pattern| CallType::matching(&Regex::new(pattern).unwrap());
        assert_eq!(matching("").unwrap(), CallType::ALL);
        assert_eq!(matching("^quorum-(first|all)$").unwrap(), [CallType::QuorumFirst, CallType::QuorumAll]);
        let error = matching("nothing").unwrap_err().to_string();
        assert!(error.starts_with("no call type matches `nothing`: they are rpc, quorum-first, "), "{error}");
    }

    #[test]
    fn names_are_those_of_the_serialized_form() {
        for call in CallType::ALL {
            assert_eq!(serde_json::to_string(&call).unwrap(), format!("\"{call}\""));
        }
    }
}
