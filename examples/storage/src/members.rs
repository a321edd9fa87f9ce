//! Who belongs to a cluster, as one of its servers sees it.

use std::time::Duration;

use gorums::{ConfigError, Configuration, ConfigurationBuilder, Server};

use crate::proto::StorageServer;
use crate::service::{Membership, Replica};

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

    /// Tells the replica who it is, and lets it make calls on all members: on itself within the process, on
    /// the others over the network. They are dialled when they are first called.
    pub(crate) fn introduce_to(&self, replica: &Replica, timeout: Duration) -> Result<(), ConfigError> {
        let id = id(self.own);
        let peers = if self.addresses.len() > 1 { Some(self.configure(replica, timeout)?) } else { None };
        replica.join(Membership { id, peers });
        Ok(())
    }

    fn configure(&self, replica: &Replica, timeout: Duration) -> Result<Configuration, ConfigError> {
        let member = |builder: ConfigurationBuilder, (index, address): (usize, &String)| {
            let id = id(index);
            if index != self.own {
                return builder.node(id, address);
            }
            let service = StorageServer::new(replica.for_own_calls(id));
            builder.local_node(id, Server::builder().add_service(service))
        };
        let builder = Configuration::builder().timeout(timeout);
        self.addresses.iter().enumerate().fold(builder, member).connect_lazy()
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
