//! A network in memory with a link of its own from each node, and each client, to each node.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{Stream, select_all};
use gorums::testing::{Faults, Network, Traffic};
use gorums::{BoxedIo, Connector, Incoming};

use crate::types::Id;

/// The links between the nodes with the ids from 1 to some number, and from their clients to them.
#[derive(Clone, Debug)]
pub struct Links {
    network: Network,
    size: Id,
    faults: Arc<Mutex<HashMap<(Id, Id), Faults>>>,
}

/// The client's end of all links from clients.
const CLIENTS: Id = 0;

impl Links {
    /// Links between nodes with ids up to this one.
    pub fn new(size: Id) -> Self {
        Self { network: Network::new(), size, faults: Arc::default() }
    }

    /// The address of a node.
    pub fn address(id: Id) -> String {
        format!("node{id}:1")
    }

    /// The connections to a node.
    pub fn listen(&self, id: Id) -> impl Stream<Item = io::Result<Incoming>> + Send + 'static {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        select_all((CLIENTS..=self.size).map(|from| {
            let listener = self.network.listen(link(from, &Self::address(id)));
            faults.insert((from, id), listener.faults());
            listener
        }))
    }

    /// What connects from a node; from id 0, as a client.
    pub fn from(&self, id: Id) -> From {
        From { links: self.clone(), id }
    }

    /// The faults of the link from one node to another. There are none before the other one has listened.
    pub fn link(&self, from: Id, to: Id) -> Option<Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).get(&(from, to)).cloned()
    }

    /// Lets the bytes on all links between a node and the others, and not those of clients, go this way.
    pub fn set_around(&self, id: Id, traffic: Traffic) {
        for other in (1..=self.size).filter(|other| *other != id) {
            for link in [self.link(id, other), self.link(other, id)].into_iter().flatten() {
                link.set_both(traffic);
            }
        }
    }
}

fn link(from: Id, to: &str) -> String {
    format!("{from}-to-{to}")
}

/// Connects over the links from one node.
#[derive(Clone, Debug)]
pub struct From {
    links: Links,
    id: Id,
}

impl Connector for From {
    fn connect(&self, address: Arc<str>) -> BoxFuture<'static, io::Result<BoxedIo>> {
        self.links.network.connect(link(self.id, &address).into())
    }
}
