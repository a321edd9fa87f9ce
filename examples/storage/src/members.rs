//! Who belongs to a cluster, as one of its servers sees it.

use gorums::{System, SystemBuilder};

/// The servers of a cluster, of which this process is one. Their ids are their places in the list, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    addresses: Vec<String>,
    own: usize,
}

impl Members {
    /// The server at `own` and its peers. If these include it, they are in the order of the ids; else they
    /// are sorted together with it, so that each server has the same id everywhere.
    pub(crate) fn new(own: &str, peers: Vec<String>) -> Self {
        let mut addresses = peers;
        let place = |addresses: &[String]| addresses.iter().position(|address| address == own);
        if place(&addresses).is_none() {
            addresses.push(own.to_owned());
            addresses.sort();
        }
        let own = place(&addresses).unwrap_or_default();
        Self { addresses, own }
    }

    /// This server, with all members, in order.
    pub(crate) fn system(self) -> SystemBuilder {
        System::builder().own(id(self.own)).nodes(self.addresses)
    }
}

fn id(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_server_numbers_the_cluster_in_the_same_way() {
        let members = |addresses: &[&str], own| Members { addresses: list(addresses), own };
        let new = |own, peers: &[&str]| Members::new(own, list(peers));
        assert_eq!(new("b:1", &["c:1", "b:1", "a:1"]), members(&["c:1", "b:1", "a:1"], 1));
        assert_eq!(new("b:1", &["c:1", "a:1"]), members(&["a:1", "b:1", "c:1"], 1));
        assert_eq!(new("c:1", &["a:1", "b:1"]), members(&["a:1", "b:1", "c:1"], 2));
        assert_eq!(new("a:1", &[]), members(&["a:1"], 0));
    }
}
